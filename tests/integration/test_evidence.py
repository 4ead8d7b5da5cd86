"""An evidence pack of a real audit: made, checked by our software, and checked by a stranger with none of it."""

import hashlib
import json
import re
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.registry import Registry
from support.servers import sqlite_store
from support.timestamps import Authority, timestamp_authority

from registry_audit.evidence.statement import make_statement, statement_bytes
from registry_audit.evidence.verifying import verify_pack
from registry_audit.report.document import AuditDocument

CLEAN, BROKEN, USAGE, NOT_CHECKED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Made:
    report: Path
    ledger: str
    directory: Path
    name: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "registry_audit", "evidence", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.directory)

    def pack(self, output: Path, *options: str) -> Path:
        done = self.run(str(self.report), "-o", str(output), "--ledger", self.ledger, *options)
        assert done.returncode == 0, done.stderr
        return output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("evidence")
    store = sqlite_store(directory)
    registry = Registry(store)
    name = registry.new_name("Wine \\ Käse")
    registry.add(name, seed=1, logged=registry.log_run_model(seed=1, files={"data/back\\slash.txt": b"x"}))
    registry.add(name, seed=2, separate=True)
    ledger = f"sqlite:///{directory / 'ledger.db'}"
    command = [sys.executable, "-m", "registry_audit", "audit", "--tracking-uri", store.uri, "--ledger", ledger]
    for _ in range(2):  # the second audit's chain is longer than its own entries
        subprocess.run(
            [*command, "--accept-new", "--report-dir", str(directory / "report")], capture_output=True, check=False
        )
    return Made(directory / "report" / "audit.json", ledger, directory, name)


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
    done = subprocess.run([*command, "--accept-new", "--report-dir", str(reports)], capture_output=True, check=False)
    assert done.returncode == 1
    packed = Made(reports / "audit.json", ledger, tmp_path, "").pack(tmp_path / "pack.zip")
    assert verify_pack(packed).broken == []


def _commands(text: str) -> str:
    """The indented blocks of CHECK.txt."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    return "set -e\n" + "\n".join(textwrap.dedent(block) for block in blocks)


def _by_a_stranger(pack: Path, directory: Path, authority: Authority | None) -> subprocess.CompletedProcess[str]:
    """The commands of CHECK.txt, with Python's standard library and nothing of ours."""
    directory.mkdir()
    subprocess.run(["/usr/bin/env", "python3", "-m", "zipfile", "-e", str(pack), str(directory)], check=True)
    if authority is not None:
        (directory / "tsa-ca.pem").write_bytes(authority.certificates.read_bytes())
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


def _remade(pack: Path, output: Path, change: Callable[[dict[str, Any]], None], drop: str | None = None) -> Path:
    """The pack as somebody makes it anew who has our software: another report, and everything else to match it."""
    with zipfile.ZipFile(pack) as old:
        files = {info.filename: old.read(info) for info in old.infolist() if info.filename != "statement.tsr"}
    report = json.loads(files["audit.json"])
    change(report)
    files["audit.json"] = json.dumps(report).encode()
    if drop is not None:
        files = {name: content for name, content in files.items() if drop.replace(":", "-") not in name}
    del files["SHA256SUMS"], files["statement.json"]
    document = AuditDocument.model_validate(report)
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    digests = hashlib.sha256(files["audit.json"]).hexdigest(), hashlib.sha256(sums).hexdigest()
    files["SHA256SUMS"] = sums
    files["statement.json"] = statement_bytes(make_statement(document, report["ledger"]["head"], *digests))
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in files.items():
            new.writestr(name, content)
    return output


def _swap(report: dict[str, Any]) -> None:
    one, two = report["versions"]
    for copy in ("run_model", "reg_model"):
        one[copy]["manifest_digest"], two[copy]["manifest_digest"] = (
            two[copy]["manifest_digest"], one[copy]["manifest_digest"],
        )  # fmt: skip


FORGED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "verdict": (lambda r: r["versions"][0].update(verdict="match"), "another verdict of"),
    "baseline": (lambda r: r["versions"][0].update(baseline="changed"), "another baseline of"),
    "exit-status": (lambda r: r["outcome"].update(exit_status=1), "the ledger recorded 0"),
    "listed": (lambda r: r["coverage"].update(listed=7), "says 7 versions, and the ledger recorded 2"),
    "who-accepted": (lambda r: r["versions"][1].update(accepted_by="the board"), "as the ledger did not record it"),
    "swapped": (_swap, "another registry model, run model of"),
    "findings": (
        lambda r: r["versions"][0]["findings"].append(
            {"rule": "RA004", "name": "run-deleted", "severity": "high", "message": "m", "remedy": "r"}
        ),
        "another findings of",
    ),
}


def _must_not_hold(pack: Path, said: str) -> None:
    checked = verify_pack(pack)
    assert checked.exit_status == BROKEN
    assert any(said in sentence for sentence in checked.broken), checked


@pytest.mark.parametrize("forged", FORGED)
def test_a_report_that_contradicts_its_ledger(stamped: Path, tmp_path: Path, forged: str) -> None:
    """A head that is known from elsewhere is enough to find a report that was changed, and everything with it."""
    change, said = FORGED[forged]
    assert verify_pack(_remade(stamped, tmp_path / "same.zip", lambda report: None)).exit_status == CLEAN
    _must_not_hold(_remade(stamped, tmp_path / "forged.zip", change), said)


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
        "unfolds into more than a pack can hold",
    ),
    "comment": (lambda archive: setattr(archive, "comment", b"PK"), "something behind its files"),
}


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
