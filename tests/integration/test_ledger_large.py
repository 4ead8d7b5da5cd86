"""A ledger of 600,000 entries: whatever is done to one of its rows, the next command ends with 4, within seconds."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ledgers import REGISTRY, registry_audit, sqlite_file, tamper

from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.opening import open_ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_LEDGER = 4
_VERSIONS, _NIGHTS = 20_000, 29
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
    for night in range(_NIGHTS):
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
    assert (said.exit_status, len(said.stdout.splitlines())) == (0, 1 + _NIGHTS)
    assert took < _SECONDS


_COLUMNS = "at, kind, registry, name, version, audit_id, body, previous, digest"


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["DELETE FROM entries WHERE seq = 7"], id="deleted"),
        pytest.param([f"INSERT INTO entries SELECT 0, {_COLUMNS} FROM entries WHERE seq = 7"], id="inserted"),
        pytest.param(["UPDATE entries SET kind = 'reading' WHERE seq = 7"], id="changed"),
        pytest.param(
            [f"UPDATE entries SET seq = {to} WHERE seq = {seq}" for seq, to in ((7, -1), (8, 7), (-1, 8))],
            id="reordered",
        ),
    ],
)
def test_one_row_far_back_is_noticed(url: str, statements: list[str]) -> None:
    tamper(url, *statements)
    for command in (["list"], ["history", "m9/1"]):
        said = registry_audit("baseline", *command, "--ledger", url)
        assert (said.exit_status, said.stdout) == (_LEDGER, "")
        assert "chain is broken" in said.stderr
