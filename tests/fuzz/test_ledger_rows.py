"""Whatever somebody writes into the rows of a ledger: a broken ledger, or one that says what was written; no crash."""

import contextlib
import json
import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.fuzzing import changed, fuzzed, texts
from support.ledgers import FILES, record, registry_audit, row, sqlite_file, tamper

from registry_audit.errors import LedgerError
from registry_audit.ledger.chain import Entry, entry_digest
from registry_audit.ledger.connecting import open_ledger

LEDGER = 4
COLUMNS = ("seq", "at", "kind", "registry", "name", "version", "audit_id", "body", "previous", "digest")
utf8 = texts.filter(lambda text: not re.search(r"[\ud800-\udfff]", text))
cells = st.none() | st.integers(-3, 2**62) | st.floats(allow_nan=False) | st.binary(max_size=20) | utf8


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three audits: two versions accepted, one overwritten, its finding waived and resolved."""
    directory = tmp_path_factory.mktemp("ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_AUDIT_HOME", str(directory / "home"))
        url = f"sqlite:///{directory / 'ledger.db'}"
        with contextlib.closing(open_ledger(url, create=True)) as ledger:
            record(ledger, row(), row(version="2"), accept_new=True)
            record(ledger, row(), row(version="2", files={**FILES, "new.txt": b"?"}))
        waive = ("wine/2", "--rule", "RA002", "--reason", "known", "--until", "2099-01-01", "--by", "me")
        assert registry_audit("baseline", "waive", *waive, "--ledger", url).exit_status == 0
        with contextlib.closing(open_ledger(url, create=False)) as ledger:
            record(ledger, row(), row(version="2"))
        tamper(url)  # without the triggers that refuse
    return sqlite_file(url)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    return tmp_path


def everything_said(url: str) -> None:
    """Each command ends with a status of its own: 4, wherever one of them finds the ledger broken at all."""
    for command in (["list"], ["show", "wine/1"], ["history", "wine/2"], ["verify"], ["export"], ["registries"]):
        said = registry_audit("baseline", *command, "--ledger", url)
        assert "internal error" not in said.stderr, (command, said.stderr)
        assert "Traceback" not in said.stderr
        assert said.exit_status in (0, 2, LEDGER), (command, said.stderr)
    with contextlib.suppress(LedgerError), contextlib.closing(open_ledger(url, create=False)) as ledger:
        record(ledger, row(), row(version="2"), accept_new=True)


def entries_of(file: Path) -> list[Entry]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [Entry(*found) for found in database.execute(f"SELECT {', '.join(COLUMNS)} FROM entries ORDER BY seq")]


@fuzzed(25)
@given(st.sampled_from(COLUMNS), st.integers(1, 30), cells)
def test_any_value_in_any_cell(filled: Path, home: Path, column: str, seq: int, value: Any) -> None:
    """Changed without a change of its digest: found, whatever was changed."""
    file, before = home / "ledger.db", entries_of(filled)
    shutil.copy(filled, file)
    seq = (seq - 1) % len(before) + 1
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        try:
            database.execute(f"UPDATE entries SET {column} = ? WHERE seq = ?", (value, seq))
        except sqlite3.Error:
            return  # the database itself refuses it
    with contextlib.closing(sqlite3.connect(file)) as database:
        after = database.execute(f"SELECT {', '.join(COLUMNS)} FROM entries ORDER BY seq").fetchall()
    assume(after != [tuple(getattr(entry, name) for name in COLUMNS) for entry in before])
    url = f"sqlite:///{file}"
    assert registry_audit("baseline", "list", "--ledger", url).exit_status == LEDGER
    everything_said(url)


@fuzzed(25)
@given(st.data())
def test_any_entry_with_a_chain_that_fits(filled: Path, home: Path, data: st.DataObject) -> None:
    """Forged by somebody who knows how: whatever it says, it is read whole or refused."""
    file, chain = home / "ledger.db", entries_of(filled)
    shutil.copy(filled, file)
    seq = data.draw(st.integers(1, len(chain)), "entry")
    entry = chain[seq - 1]
    storable = utf8.filter(lambda text: "\0" not in text)
    forged = data.draw(
        changed(json.loads(entry.body)).map(lambda body: replace(entry, body=json.dumps(body, sort_keys=True)))
        | storable.map(lambda body: replace(entry, body=body))
        | st.tuples(st.sampled_from(["at", "kind", "registry", "name", "version", "audit_id"]), storable).map(
            lambda told: replace(entry, **{told[0]: told[1]})  # type: ignore[arg-type]
        ),
        "forged",
    )
    previous = forged.previous
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        for one in [forged, *chain[seq:]]:
            fields = (one.seq, one.at, one.kind, one.registry, one.name, one.version, one.audit_id, one.body, previous)
            digest = entry_digest(*fields)
            names = ", ".join(f"{name} = ?" for name in COLUMNS)
            database.execute(f"UPDATE entries SET {names} WHERE seq = ?", (*fields, digest, one.seq))
            previous = digest
    everything_said(f"sqlite:///{file}")


@fuzzed(15)
@given(st.sampled_from(["digest", "text"]), cells)
def test_any_value_of_a_manifest(filled: Path, home: Path, column: str, value: Any) -> None:
    file = home / "ledger.db"
    shutil.copy(filled, file)
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        try:
            database.execute(f"UPDATE manifests SET {column} = ? WHERE rowid = 1", (value,))
        except sqlite3.Error:
            return
    url = f"sqlite:///{file}"
    assert registry_audit("baseline", "verify", "--ledger", url).exit_status == LEDGER
    everything_said(url)


def test_the_ledger_is_whole_before(filled: Path, home: Path) -> None:
    shutil.copy(filled, home / "ledger.db")
    url = f"sqlite:///{home / 'ledger.db'}"
    assert registry_audit("baseline", "verify", "--ledger", url).exit_status == 0
    everything_said(url)
