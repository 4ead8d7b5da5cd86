"""`CHECK.txt`: how a stranger checks a pack. A test runs every command in it."""

TEXT = """\
How to check this evidence pack
===============================

This pack is evidence for what an audit of an MLflow model registry read, and when. To check it you do not need the
auditor's software. You need sha256sum (GNU coreutils), python3 (its standard library) and, for a time-stamp, openssl.
Unpack the pack into an empty directory and run the commands there. A command that finds something wrong ends with an
error.

1. No file of the pack was changed since SHA256SUMS was written, and statement.json names that SHA256SUMS.

    sha256sum --quiet --strict -c SHA256SUMS
    python3 - <<'END'
    import hashlib, json
    statement = json.load(open("statement.json"))
    sums = hashlib.sha256(open("SHA256SUMS", "rb").read()).hexdigest()
    assert statement["predicate"]["pack"]["digest"]["sha256"] == sums, "statement.json is of another pack"
    print("the statement covers every file of the pack")
    END

2. The pack has a list of files for every version in the statement, with the digest that the statement names.

    python3 - <<'END'
    import hashlib, json, os
    checked = 0
    for subject in json.load(open("statement.json"))["subject"]:
        for algorithm, value in subject["digest"].items():
            if subject["name"] == "ledger head":
                continue
            path = os.path.join("manifests", algorithm + "-" + value + ".txt")
            text = open(path, "rb").read()
            if algorithm == "sha256":
                assert hashlib.sha256(text).hexdigest() == value, path + " was changed"
                checked += 1
            else:
                print("not checked here, for its digest is " + algorithm + ": " + path)
    print(checked, "lists of files have the digests that the statement names")
    END

3. The ledger's entries form one chain that ends in the head named in the statement. So no entry before it was changed,
   left out or added.

    python3 - <<'END'
    import hashlib, json
    names = ("seq", "at", "kind", "registry", "name", "version", "audit_id", "body", "previous")
    previous, seq = "0" * 64, 0
    for line in open("ledger.jsonl", encoding="ascii"):
        entry = json.loads(line)
        digest = hashlib.sha256(json.dumps([entry[name] for name in names]).encode("ascii")).hexdigest()
        assert entry["seq"] == seq + 1 and entry["previous"] == previous, "entry %d does not follow" % entry["seq"]
        assert entry["digest"] == digest, "entry %d was changed" % entry["seq"]
        previous, seq = digest, entry["seq"]
    heads = [s["digest"]["sha256"] for s in json.load(open("statement.json"))["subject"] if s["name"] == "ledger head"]
    assert heads == [previous], "the chain ends in another head"
    print(seq, "entries lead to the head", previous)
    END

4. To check a copy of a model, go to its directory and run `sha256sum -c` with its file in listings/. statement.json
   says which digest belongs to which version. sha256sum does not notice extra files: compare the names yourself.
"""

STAMPED = """
5. A time-stamp authority signed the digest of statement.json. Get the authority's root certificate from the authority,
   not from whoever gave you this pack, and save it as tsa-ca.pem. The second command shows the time that was signed.

    openssl ts -verify -data statement.json -in statement.tsr -CAfile tsa-ca.pem
    openssl ts -reply -in statement.tsr -text
"""

NOT_STAMPED = """
5. There is no time-stamp in this pack, so nothing proves when it was made.
"""

LIMITS = """
These checks show that the pack has not been changed since it was made. They cannot show whether a model is good or
safe, what was overwritten before the first audit, or whether the auditor's machine told the truth.
"""


def check_text(*, stamped: bool) -> bytes:
    return (TEXT + (STAMPED if stamped else NOT_STAMPED) + LIMITS).encode("ascii")
