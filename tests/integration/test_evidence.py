"""An evidence pack of a real audit: made, checked by our software, and checked by a stranger with none of it."""

import json
import re
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.registry import Registry
from support.servers import sqlite_store
from support.timestamps import Authority, timestamp_authority

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
    import hashlib

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
        new.writestr("statement.json", json.dumps(statement))
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
