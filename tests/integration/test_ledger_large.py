"""A ledger of 600,000 entries: whatever is done to one of its rows, the next command ends with 4, within seconds."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.auditing import Auditor
from support.ledgers import REGISTRY, database, registry_audit, sqlite_file, tamper
from support.registry import Registry
from support.servers import MlflowServer

from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.connecting import open_ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_LEDGER = 4
_VERSIONS, _NIGHTS = int(os.environ.get("LARGE_LEDGER_VERSIONS", 20_000)), 29
_SECONDS = 60.0  # some three on an idle machine; a whole order of magnitude for a busy one
_BODY = {"verdict": "same_storage", "baseline": "unchanged", "manifest": None, "run_manifest": None, "rules": []}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twenty thousand baselines, and the readings of 29 nights."""
    url = f"sqlite:///{tmp_path_factory.mktemp('large') / 'ledger.db'}"
    with contextlib.closing(open_ledger(url, create=True)) as ledger, ledger.writing() as writer:
        writer.append(_drafts())
    return url


def _drafts() -> Iterator[Draft]:
    accepted = {"manifest": None, "by": "me", "reason": "known"}
    for number in range(_VERSIONS):
        yield Draft(Kind.ACCEPTED, REGISTRY, f"m{number}", "1", "first", accepted)
    waived = {"rule": "RA002", "path": None, "by": "me", "reason": "known", "until": "2099-01-01"}
    finished = {"exit_status": 0, "verdicts": {}, "listed": _VERSIONS}
    for night in range(_NIGHTS):
        yield Draft(Kind.WAIVED, REGISTRY, f"m{night}", "1", "", waived)
        yield Draft(Kind.AUDIT_FINISHED, REGISTRY, audit_id=f"night-{night - 1}", body=finished)
        for number in range(_VERSIONS):
            yield Draft(Kind.READING, REGISTRY, f"m{number}", "1", f"night-{night}", _BODY)


@pytest.fixture
def url(large: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of it, on a machine that has never seen it."""
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    shutil.copy(sqlite_file(large), tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def test_it_is_checked_within_seconds(url: str) -> None:
    began = time.monotonic()
    said = registry_audit("baseline", "history", "m7/1", "--ledger", url)
    took = time.monotonic() - began
    assert (said.exit_status, len(said.stdout.splitlines())) == (0, 1 + _NIGHTS + 1)
    assert took < _SECONDS


_COLUMNS = "at, kind, registry, name, version, audit_id, body, previous, digest"
_FIRST, _MIDDLE, _LAST = "min(seq)", "CAST(avg(seq) AS INTEGER)", "max(seq)"
_COMMANDS = {
    "list": [],
    "show": ["m9/1"],
    "history": ["m9/1"],
    "accept": ["m9/1", "--by", "me", "--reason", "known", "--tracking-uri", "http://127.0.0.1:9"],
    "waive": ["m9/1", "--rule", "RA002", "--by", "me", "--reason", "known", "--until", "2099-01-01"],
}


def _statements(act: str, seq: int) -> list[str]:
    match act:
        case "deleted":
            return [f"DELETE FROM entries WHERE seq = {seq}"]
        case "inserted":
            return [f"INSERT INTO entries SELECT -{seq}, {_COLUMNS} FROM entries WHERE seq = {seq}"]
        case "changed":
            return [f"UPDATE entries SET body = '{{}}' WHERE seq = {seq}"]
        case _:  # with the entry before it, or after the first one
            other = seq - 1 if seq > 1 else 2
            return [
                f"UPDATE entries SET seq = {to} WHERE seq = {at}" for at, to in ((seq, 0), (other, seq), (0, other))
            ]


@pytest.mark.parametrize("act", ["deleted", "inserted", "changed", "reordered"])
@pytest.mark.parametrize("kind", ["accepted", "reading", "waived", "audit-finished"])
@pytest.mark.parametrize("place", [_FIRST, _MIDDLE, _LAST], ids=["first", "middle", "last"])
def test_one_row_is_noticed_wherever_it_is(url: str, act: str, kind: str, place: str) -> None:
    """By one command each, in turn: `test_store_tampering.py` has every command on a small ledger."""
    with database(url) as connection:
        seq = connection.exec_driver_sql(f"SELECT {place} FROM entries WHERE kind = '{kind}'").scalar()
        if act == "deleted" and seq == connection.exec_driver_sql("SELECT max(seq) FROM entries").scalar():
            return  # only who has seen a later head can know: `test_verified_chain.py`
    tamper(url, *_statements(act, seq))
    command = sorted(_COMMANDS)[(len(act) + len(kind) + len(place)) % len(_COMMANDS)]
    said = registry_audit("baseline", command, *_COMMANDS[command], "--ledger", url)
    assert (said.exit_status, said.stdout) == (_LEDGER, ""), command
    assert "chain is broken" in said.stderr


def test_an_audit_notices_it_too(url: str, mlflow_local: MlflowServer, audit: Auditor) -> None:
    version = Registry(mlflow_local).add()
    tamper(url, f"DELETE FROM entries WHERE seq = {_VERSIONS}")
    audited = audit(mlflow_local.uri, "--model", version.name, "--ledger", url)
    assert audited.exit_status == _LEDGER
    assert "chain is broken" in audited.stderr
