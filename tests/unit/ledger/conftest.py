"""A new ledger for each test, on both databases where the database matters."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.store import Ledger


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What this machine remembers of ledgers begins with the test."""
    directory = tmp_path / "home"
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(directory))
    return directory


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be; there is none yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    postgres: str = request.getfixturevalue("postgres_url")
    return postgres


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = open_ledger(url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_ledger(sqlite_url: str) -> Iterator[Ledger]:
    opened = open_ledger(sqlite_url, create=True)
    yield opened
    opened.close()
