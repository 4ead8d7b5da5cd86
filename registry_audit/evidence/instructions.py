"""Holds the text of `CHECK.txt`, which says how anybody can check a pack. A test runs every command in it."""

from registry_audit.evidence.signature import COMMANDS

TEXT = """\
How to check this evidence pack
===============================

This pack is evidence for what an audit of an MLflow model registry read, and when. To check it you do not need the
auditor's software. You need sha256sum (GNU coreutils), python3 (its standard library) and, for a time-stamp or a
signature, openssl. Unpack the pack into an empty directory and run the commands there. A command that finds something
wrong ends with an error. With -I Python takes no module from that directory. Whoever changes a pack can change this
file, too: read what you run, or take the commands from the documentation of mlflow-registry-audit, where they are the
same.

1. No file of the pack was changed or added since SHA256SUMS was written, and statement.json names that SHA256SUMS.

    sha256sum --quiet --strict -c SHA256SUMS
    python3 -I - <<'END'
    import hashlib, json, os, re
    text = open("statement.json").read()
    statement = json.loads(text)
    assert json.dumps(statement, indent=2, sort_keys=True) == text.rstrip(), "statement.json says something twice"
    sums = open("SHA256SUMS", "rb").read()
    named = statement["predicate"]["pack"]["digest"]["sha256"]
    assert named == hashlib.sha256(sums).hexdigest(), "statement.json is of another pack"
    *lines, rest = sums.decode("ascii").split(chr(10))
    is_plain = not rest and all(re.fullmatch("[0-9a-f]{64}  [a-zA-Z0-9./-]+", line) for line in lines)
    assert is_plain, "SHA256SUMS is not written as sha256sum does it"
    listed = [line[66:] for line in lines]
    found = [os.path.relpath(os.path.join(where, name)) for where, _, names in os.walk(".") for name in names]
    beside = {"SHA256SUMS", "statement.json", "statement.tsr", "statement.dsse.json"}
    yours = {"signed.bin", "signature.bin"}
    more = set(found) - set(listed) - beside - yours
    assert len(set(listed)) == len(listed) and not more, "files that no list names: %s" % sorted(more)
    known = {"CHECK.txt", "audit.html", "audit.json", "ledger.jsonl", "manifests", "listings"}
    assert known.issuperset(name.split("/")[0] for name in listed), "files that no pack holds"
    assert not any(os.path.islink(name) for name in found), "a link in place of a file"
    print("the statement covers every file of the pack")
    END

2. The pack has a list of files for every version in the statement, and no other, with the digest that the statement
   names, and its file in listings/ lists the same.

    python3 -I - <<'END'
    import hashlib, json, os
    slash, line_end = chr(92), chr(10)
    def line_of(entry):
        digest, _, path = entry.split(" ", 2)
        path = json.loads(path)
        escaped = path.replace(slash, 2 * slash).replace(line_end, slash + "n").replace(chr(13), slash + "r")
        line = (slash if escaped != path else "") + digest[7:] + "  " + escaped + line_end
        try:
            return line.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return line.encode("utf-8", "replace")
    checked, wanted = 0, set()
    for subject in json.load(open("statement.json"))["subject"]:
        for algorithm, value in subject["digest"].items():
            if subject["name"] == "ledger head":
                continue
            name = algorithm + "-" + value
            path = os.path.join("manifests", name + ".txt")
            wanted.add(path)
            text = open(path, "rb").read()
            if algorithm == "sha256":
                assert hashlib.sha256(text).hexdigest() == value, path + " was changed"
                wanted.add(os.path.join("listings", name + ".sha256"))
                listing = open(os.path.join("listings", name + ".sha256"), "rb").read()
                assert listing == b"".join(map(line_of, text.decode("ascii").splitlines())), "not the list of " + path
                checked += 1
            else:
                print("not checked here, for its digest is " + algorithm + ": " + path)
    folders = filter(os.path.isdir, ("manifests", "listings"))
    more = {os.path.join(folder, name) for folder in folders for name in os.listdir(folder)} - wanted
    assert not more, "lists of files of no version: %s" % sorted(more)
    print(checked, "lists of files have the digests that the statement names")
    END

3. The ledger's entries form one chain that ends in the head named in the statement. So no entry before it was changed,
   left out or added.

    python3 -I - <<'END'
    import hashlib, json
    names = ("seq", "at", "kind", "registry", "name", "version", "audit_id", "body", "previous")
    previous, seq = "0" * 64, 0
    for line in open("ledger.jsonl", encoding="ascii", newline=""):
        entry = json.loads(line)
        assert json.dumps(entry, sort_keys=True) + chr(10) == line, "a line says something else, or twice"
        digest = hashlib.sha256(json.dumps([entry[name] for name in names]).encode("ascii")).hexdigest()
        assert entry["seq"] == seq + 1 and entry["previous"] == previous, "entry %d does not follow" % entry["seq"]
        assert entry["digest"] == digest, "entry %d was changed" % entry["seq"]
        previous, seq = digest, entry["seq"]
    heads = [s["digest"]["sha256"] for s in json.load(open("statement.json"))["subject"] if s["name"] == "ledger head"]
    assert heads == [previous], "the chain ends in another head"
    print(seq, "entries lead to the head", previous)
    END

4. The report says of each version what the ledger recorded of its audit, which ends with the head; and the statement
   says what the report does. What the report says in words, and the page audit.html, are not checked here: where they
   say anything else, audit.json counts.

    python3 -I - <<'END'
    import hashlib, json, re, unicodedata
    slash = chr(92)
    def once(pairs):
        assert len(dict(pairs)) == len(pairs), "audit.json says something twice"
        return dict(pairs)
    def stored(name):  # as the ledger has a name that no database takes, or that looks like what becomes of one
        if not re.search("[%sx00%sud800-%sudfff]|%s%sx00|%s%sud[89a-f][0-9a-f]{2}" % (7 * (slash,)), name):
            return name
        def shown(char):
            if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
                return 2 * slash if char == slash else char
            number = ord(char)
            how = "x%02x" if number < 256 else "u%04x" if number < 65536 else "U%08x"
            return slash + how % number
        return "".join(map(shown, name))
    report = json.load(open("audit.json", encoding="utf-8"), object_pairs_hook=once)
    statement = json.load(open("statement.json"))
    predicate, subjects = statement["predicate"], statement["subject"]
    recorded, registries, entry = {}, set(), None
    for entry in map(json.loads, open("ledger.jsonl", encoding="ascii")):
        if entry["audit_id"] == report["ledger"]["audit_id"]:
            registries.add(entry["registry"])
            if entry["kind"] == "reading":
                recorded[entry["name"], entry["version"]] = json.loads(entry["body"])
    is_end = entry["audit_id"] == report["ledger"]["audit_id"] and entry["kind"] == "audit-finished"
    assert is_end, "the head is not the end of this audit"
    nothing = (
        None,
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    )
    due, unread = {("ledger head", "sha256:" + entry["digest"])}, []
    for row in report["versions"]:
        name = "%s/%s" % (row["name"], row["version"])
        said = recorded.pop((stored(row["name"]), stored(row["version"])), None)
        digests = [(row[copy] or {}).get("manifest_digest") for copy in ("reg_model", "run_model")]
        if said is None:
            assert row["verdict"] in ("unverifiable", "skipped") and not any(digests), name + " was not read"
        else:
            assert row["verdict"] == said["verdict"], name + " has another verdict in the ledger"
            assert row["baseline"] == said["baseline"], name + " has another baseline in the ledger"
            then = [said["manifest"], said.get("run_manifest", digests[1])]
            assert digests == [None if one in nothing else one for one in then], name + " had other bytes"
            rules = sorted({finding["rule"] for finding in row["findings"]})
            assert rules == said.get("rules", rules), name + " has other findings in the ledger"
            status = row.get("signature_status")
            assert status == said.get("signature", status), name + " has another signature in the ledger"
        if not any(digests):
            unread.append(name)
        if digests[0]:
            due.add((name, digests[0]))
        if digests[1] and digests[1] != digests[0]:
            due.add((name + " (run model)", digests[1]))
    assert not recorded, "the report leaves out %s" % sorted(recorded)
    named = {(one["name"], kind + ":" + value) for one in subjects for kind, value in one["digest"].items()}
    assert named == due, "the statement names other digests than the report"
    is_plain = len(subjects) == len(due) and all(set(one) == {"name", "digest"} for one in subjects)
    said = set(statement) == {"_type", "subject", "predicateType", "predicate"} and set(predicate) == set(
        "verifier timeVerified resourceUri policy inputs pack verificationResult coverage notRead summary".split()
    )
    assert is_plain and said, "the statement says more than the report"
    kinds = "https://in-toto.io/Statement/v1", "urn:mlflow-registry-audit:verification-summary:v1"
    assert (statement["_type"], statement["predicateType"]) == kinds, "statement.json is of another kind"
    inputs = [{"name": "audit.json", "digest": {"sha256": hashlib.sha256(open("audit.json", "rb").read()).hexdigest()}}]
    version = {"mlflow-registry-audit": report["tool"]["version"]}
    verifier = {"id": "urn:mlflow-registry-audit", "version": version}
    assert (predicate["inputs"], predicate["verifier"]) == (inputs, verifier), "the statement is of another report"
    told = {key: report[key] for key in ("options", "coverage", "summary")}
    told.update(timeVerified=report["generated_at"], resourceUri=report["registry"]["registry_uri"], notRead=unread)
    for key, value in told.items():
        there = predicate["policy"]["options"] if key == "options" else predicate[key]
        if isinstance(value, dict):  # a report of an older release may say less
            there = {name: there[name] for name in value}
        assert there == value, "the statement has another %s than the report" % key
    status = report["outcome"]["exit_status"]
    result = {0: "PASSED", 1: "FAILED"}.get(status, "INCOMPLETE")
    assert predicate["verificationResult"] == result, "the statement has another result than the report"
    assert json.loads(entry["body"])["exit_status"] == status, "the audit did not end as the report says"
    print("the report says what the ledger recorded of the registry", *registries)
    print("the audit ended at", entry["at"], "-", result)
    END

5. To check a copy of a model, go to its directory and run `sha256sum -c` with its file in listings/. statement.json
   says which digest belongs to which version. sha256sum does not notice extra files: compare the names yourself.
"""

STAMPED = """
{step}. A time-stamp authority signed the digest of statement.json. Get the authority's root certificate from the
   authority, not from whoever gave you this pack, and save it as tsa-ca.pem in the directory above this one, where no
   file of the pack can take its place. The last command shows the time that was signed. The authority must have been
   valid at that time, not today: a certificate that has expired since is no fault of the stamp, and one that had
   expired before is an error. Whether its key was stolen meanwhile, only the authority can say.

    at=$(openssl ts -reply -in statement.tsr -token_out -text | python3 -I -c 'import calendar, re, sys, time
    said = re.search("^Time stamp: (.*)$", sys.stdin.read(), re.M)[1]
    print(calendar.timegm(time.strptime(re.sub("[.][0-9]+", "", said), "%b %d %H:%M:%S %Y GMT")))')
    openssl ts -verify -attime "$at" -data statement.json -in statement.tsr -CAfile ../tsa-ca.pem
    openssl ts -reply -in statement.tsr -token_out -text
"""

NOT_STAMPED = """
{step}. There is no time-stamp in this pack, so there is no proof of when it was made.
"""

SIGNED = """
{step}. Somebody signed statement.json. Get their public key from them, not from whoever gave you this pack, and save it
   as signer.pem in the directory above this one, where no file of the pack can take its place.

    python3 -I - <<'END'
    import base64, json
    envelope = json.load(open("statement.dsse.json"))
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    assert payload == open("statement.json", "rb").read(), "another statement was signed"
    assert kind == b"application/vnd.in-toto+json" and len(envelope["signatures"]) == 1, "another kind of signature"
    open("signed.bin", "wb").write(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    open("signature.bin", "wb").write(base64.b64decode(envelope["signatures"][0]["sig"]))
    END
    {command}
"""

NOT_SIGNED = """
{step}. There is no signature in this pack, so there is no proof of who made it.
"""

LIMITS = """
What these checks cannot tell: whether what was read is good or safe; what was overwritten before the first audit;
whether the auditor's machine told the truth. Anybody can make a whole pack anew: compare the head that step 3 prints
with one that you have from elsewhere, or rely on a time-stamp. Later packs of the same ledger hold that head as one of
their entries. With a head that you know, this pack says what the ledger says that the audit found.
"""


def check_texts(*, stamped: bool, signed: bool) -> frozenset[bytes]:
    """Return every `CHECK.txt` that this release may write into a pack with or without a time-stamp and a signature."""
    commands = COMMANDS.values() if signed else (None,)
    return frozenset(check_text(stamped=stamped, signed=command) for command in commands)


def check_text(*, stamped: bool, signed: str | None) -> bytes:
    """Return the `CHECK.txt` of a pack.

    Args:
        signed: the command that checks a signature made with the signer's kind of key; None without a signature.
    """
    signature = SIGNED.replace("{command}", signed) if signed else NOT_SIGNED
    parts = (
        TEXT,
        (STAMPED if stamped else NOT_STAMPED).replace("{step}", "6"),
        signature.replace("{step}", "7"),
        LIMITS,
    )
    return "".join(parts).encode("ascii")
