"""Files that anybody may have made: a report, an export of a ledger, a pack of evidence. Refused, or read; no crash."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.answering import Answers, answering
from support.fuzzing import changed, fuzzed
from support.ledgers import registry_audit

from registry_audit.api import audit_registry
from registry_audit.audit.options import AuditOptions
from registry_audit.evidence.pack import CHAIN, REPORT, STATEMENT, SUMS
from registry_audit.report.write import write_report

USAGE, LEDGER = 2, 4
NESTED = b"[" * 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the report, the export and the pack of one audit."""
    directory, answers = tmp_path_factory.mktemp("made"), Answers()
    answers.add("good")
    answers.add("other", source="runs:/none")
    ledger = f"sqlite:///{directory / 'ledger.db'}"
    with pytest.MonkeyPatch.context() as patch, answering(answers) as uri:
        patch.setenv("REGISTRY_AUDIT_HOME", str(directory / "home"))
        write_report(audit_registry(AuditOptions(tracking_uri=uri, ledger=ledger, accept_new=True)), directory)
        (directory / "export.jsonl").write_text(registry_audit("baseline", "export", "--ledger", ledger).stdout)
        pack = ("evidence", str(directory / REPORT), "-o", str(directory / "pack.zip"), "--ledger", ledger)
        assert registry_audit(*pack).exit_status == 0
    return directory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    return tmp_path


def says(*arguments: str, statuses: tuple[int, ...]) -> int:
    said = registry_audit(*arguments)
    assert "internal error" not in said.stderr, said.stderr
    assert "Traceback" not in said.stderr, said.stderr
    assert said.exit_status in statuses, said
    return said.exit_status


@fuzzed(10)
@given(data=st.data())
def test_any_report(made: Path, home: Path, data: st.DataObject) -> None:
    report = json.loads((made / REPORT).read_bytes())
    (home / "audit.json").write_text(json.dumps(data.draw(changed(report))))
    form = data.draw(st.sampled_from(["html", "junit", "markdown", "csv", "text"]))
    says("report", str(home / "audit.json"), "--format", form, statuses=(0, USAGE))


@fuzzed(10)
@given(data=st.data())
def test_any_line_of_an_export(made: Path, home: Path, data: st.DataObject) -> None:
    lines = (made / "export.jsonl").read_bytes().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1), "line")
    other = changed(json.loads(lines[at])).map(lambda line: json.dumps(line, sort_keys=True).encode())
    lines[at] = data.draw(other | st.binary(max_size=40) | st.just(NESTED) | st.just(b"9" * 5_000), "other")
    (home / "export.jsonl").write_bytes(b"\n".join(lines))
    (home / "new.db").unlink(missing_ok=True)
    url = f"sqlite:///{home / 'new.db'}"
    if says("baseline", "import", str(home / "export.jsonl"), "--ledger", url, statuses=(0, USAGE, LEDGER)) == 0:
        says("baseline", "verify", "--ledger", url, statuses=(0,))
    for memory in (home / "home").rglob("*.json"):
        memory.unlink()


def test_an_export_without_bottom(made: Path, home: Path) -> None:
    (home / "export.jsonl").write_bytes(NESTED)
    url = f"sqlite:///{home / 'new.db'}"
    says("baseline", "import", str(home / "export.jsonl"), "--ledger", url, statuses=(USAGE,))


def repacked(pack: Path, to: Path, name: str, content: bytes) -> None:
    """The pack with another content of one file, and with sums that fit, as far as its makers could make them fit."""
    with zipfile.ZipFile(pack) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()} | {name: content}
    if name not in (SUMS, STATEMENT):
        files[SUMS] = b"".join(
            f"{hashlib.sha256(files[one]).hexdigest()}  {one}\n".encode()
            for one in sorted(files)
            if one not in (SUMS, STATEMENT)
        )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, body in files.items():
            archive.writestr(one, body)
    to.write_bytes(written.getvalue())


@fuzzed(15)
@given(data=st.data())
def test_any_file_of_a_pack(made: Path, home: Path, data: st.DataObject) -> None:
    pack = made / "pack.zip"
    with zipfile.ZipFile(pack) as archive:
        name = data.draw(st.sampled_from([STATEMENT, REPORT, CHAIN, SUMS]), "name")
        before = archive.read(name)
    content: Any = st.binary(max_size=60) | st.just(NESTED)
    if name == CHAIN:
        lines = before.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(lines) - 1), "line")
        line = data.draw(changed(json.loads(lines[at])), "entry")
        content = st.just(b"".join([*lines[:at], json.dumps(line, sort_keys=True).encode() + b"\n", *lines[at + 1 :]]))
    elif name != SUMS:
        content |= changed(json.loads(before)).map(lambda said: json.dumps(said).encode())
    found = data.draw(content, "content")
    repacked(pack, home / "pack.zip", name, found)
    status = says("evidence", "verify", str(home / "pack.zip"), statuses=(0, 1, 3))
    assert (status == 0) <= (found == before)


@fuzzed(10)
@given(content=st.binary(max_size=200))
@example(content=b"PK\x05\x06" + bytes(18))
def test_any_bytes_for_a_pack(home: Path, content: bytes) -> None:
    (home / "pack.zip").write_bytes(content)
    says("evidence", "verify", str(home / "pack.zip"), statuses=(1,))
