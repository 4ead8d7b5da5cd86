"""Heads that somebody still knows: whole, abbreviated or in a report, for `verify` and for `import`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.ledgers import FILES, Said, checkpointed_copy, note, record, registry_audit, row

from registry_audit.errors import LedgerError
from registry_audit.ledger import chain
from registry_audit.ledger.chain import Entry, clock_note, link, row_of
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.transfer import export_lines
from registry_audit.ledger.verified_chain import CheckedChain, memory_file

_USAGE, _LEDGER = 2, 4


@pytest.fixture
def heads(sqlite_ledger: Ledger) -> list[Entry]:
    """Of three audits, each of which this machine remembers at its end."""
    made = []
    for data in (b"a", b"b", b"c"):
        made.append(record(sqlite_ledger, row(files={**FILES, "x": data})).head)
        remember(sqlite_ledger, made[-1])
    return made


def verify(url: str, *heads: str) -> Said:
    return registry_audit("baseline", "verify", "--ledger", url, *(part for head in heads for part in ("--head", head)))


def report(path: Path, ledger: object) -> str:
    path.write_text(json.dumps({"schema_version": 1, "ledger": ledger}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("at", ["9999-99-99T99:99:99Z", "2026-02-30T00:00:00Z", "2026-01-01T24:30:00Z", "yesterday"])
def test_an_entry_dated_on_no_day(at: str) -> None:
    rows = map(row_of, link([note()], after=None, at=at))
    with pytest.raises(LedgerError, match=f"entry 1 of the ledger cannot be read: it is dated {at}"):
        CheckedChain().continue_with(rows)


def test_a_head_is_completed(sqlite_url: str, heads: list[Entry], tmp_path: Path) -> None:
    stated = report(tmp_path / "audit.json", {"head": heads[1].digest, "entries": heads[1].seq})
    said = verify(sqlite_url, heads[0].digest[:16] + "...", heads[2].digest[:8].upper(), stated)
    assert said.exit_status == 0
    assert all(head.digest in said.stdout for head in heads)


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        ("ffffffff", _USAGE, "is abbreviated, and no entry begins like that"),
        ("f" * 64, _LEDGER, "is not in the ledger's chain"),
        ("abc", _USAGE, "is no head"),
        ("%%%%%%%%", _USAGE, "is no head"),
        ("nothing.json", _USAGE, "cannot be read"),
    ],
)
def test_what_is_not_found(sqlite_url: str, heads: list[Entry], given: str, status: int, message: str) -> None:
    said = verify(sqlite_url, heads[0].digest, given)
    assert (said.exit_status, message in said.stderr) == (status, True)


@pytest.mark.parametrize("ledger", [None, {}, [], {"head": "abc"}, {"head": None}])
def test_a_report_without_a_head(sqlite_url: str, heads: list[Entry], tmp_path: Path, ledger: object) -> None:
    said = verify(sqlite_url, report(tmp_path / "audit.json", ledger))
    assert (said.exit_status, "states no head" in said.stderr) == (_USAGE, True)


@pytest.fixture
def old_export(sqlite_url: str, sqlite_ledger: Ledger, heads: list[Entry], tmp_path: Path) -> Path:
    """An export that was made before the newest audit."""
    file = tmp_path / "export.jsonl"
    file.write_text("\n".join(export_lines(sqlite_ledger)) + "\n", encoding="ascii")
    remember(sqlite_ledger, record(sqlite_ledger, row(files={**FILES, "x": b"d"})).head)
    return file


def do_import(url: str, file: Path, *heads: str) -> Said:
    given = (part for head in heads for part in ("--head", head))
    return registry_audit("baseline", "import", str(file), "--ledger", url, *given)


def test_an_old_export_is_refused_wherever_it_is_put(sqlite_url: str, old_export: Path, tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'elsewhere.db'}", f"sqlite:///{tmp_path / 'a-third.db'}"):
        said = do_import(url, old_export)
        assert (said.exit_status, "has lost entries" in said.stderr) == (_LEDGER, True)
        refused = open_ledger(url, create=True, restore=True)
        assert refused.verify() is None
        refused.close()


def test_where_nothing_is_remembered_a_report_is_held_against_it(
    sqlite_ledger: Ledger, old_export: Path, heads: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = sqlite_ledger.verify()
    assert newest is not None
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "another-machine"))
    stated = report(tmp_path / "audit.json", {"head": newest.digest, "entries": newest.seq})
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    assert do_import(url, old_export, heads[0].digest, stated).exit_status == _LEDGER
    said = do_import(url, old_export, heads[0].digest, heads[2].digest[:12])
    assert said.exit_status == 0
    assert "2 known heads are in it" in said.stderr
    assert "cannot show what was recorded later" in said.stderr


def test_another_ledger_of_this_machine_is_no_obstacle(
    sqlite_ledger: Ledger, heads: list[Entry], tmp_path: Path
) -> None:
    other = open_ledger(f"sqlite:///{tmp_path / 'other.db'}", create=True)
    other.append([note()])
    file = tmp_path / "export.jsonl"
    file.write_text("\n".join(export_lines(other)) + "\n", encoding="ascii")
    other.close()
    said = do_import(f"sqlite:///{tmp_path / 'restored.db'}", file)
    assert (said.exit_status, "it was not checked against any known head" in said.stderr) == (0, True)


def test_a_clock_that_jumped_is_said(
    sqlite_url: str, sqlite_ledger: Ledger, heads: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clock_note(heads[-1]) is None
    assert "clock" not in verify(sqlite_url).stdout
    future = (datetime.now(UTC) + timedelta(days=400)).strftime(chain.TIME_FORMAT)
    with sqlite_ledger.writing() as writer:
        writer.append_verbatim(chain.link([note()], after=writer.head(), at=future))
    said = verify(sqlite_url)
    assert (said.exit_status, "a clock has jumped" in said.stdout) == (0, True)
    assert record(sqlite_ledger, row()).head.at == future


def test_a_memory_of_0_1_0_knows_only_its_own_place(sqlite_ledger: Ledger, heads: list[Entry], tmp_path: Path) -> None:
    file = memory_file(sqlite_ledger.url)
    known = json.loads(file.read_text(encoding="ascii"))
    assert known.pop("first") == sqlite_ledger.first_digest
    file.write_text(json.dumps(known), encoding="ascii")
    checkpointed_copy(sqlite_ledger.url, tmp_path / "copy.db")
    assert verify(sqlite_ledger.url).exit_status == 0
