"""Out of one ledger and into another: the same chain, or nothing at all."""

import contextlib
import json
from pathlib import Path

import pytest
from support.ledgers import FILES, REGISTRY, import_lines, note, record, registry_audit, row, sqlite_file

from registry_audit.errors import AuditError, LedgerError, UsageError
from registry_audit.ledger import connecting
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.transfer import export_lines
from registry_audit.model.manifest import Manifest, ManifestEntry

_HOSTILE = Manifest((ManifestEntry('data/\n"ü\udcff\u2028', 1, "sha256:00"), ManifestEntry("what?", 2, "sha256:11")))


@pytest.fixture
def source(tmp_path: Path) -> Ledger:
    """Some audits, an accepted manifest with hostile names, and one that only a reading names."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'source.db'}", create=True)
    record(ledger, row(), row("caf\u00e9\u202e"), accept_new=True)
    record(ledger, row(files={**FILES, "new": b"1"}), row("caf\u00e9\u202e"))
    with ledger.writing() as writer:
        writer.keep_manifests({_HOSTILE.digest(): _HOSTILE})
        writer.append(
            [Draft(Kind.ACCEPTED, REGISTRY, "odd", "1", body={"manifest": _HOSTILE.digest(), "by": "ü", "reason": ""})]
        )
    return ledger


@pytest.fixture
def lines(source: Ledger) -> list[str]:
    return list(export_lines(source))


def contents(ledger: Ledger) -> tuple[list[Entry], list[tuple[str, str]]]:
    with ledger.reading() as reader:
        return list(reader.all_entries()), list(reader.manifest_rows())


def test_there_and_back(source: Ledger, lines: list[str], ledger: Ledger) -> None:
    assert all(line.isascii() and "\n" not in line for line in lines)
    assert import_lines(ledger, lines) == source.verify() == ledger.verify()
    assert contents(ledger) == contents(source)
    assert list(export_lines(ledger)) == lines
    with ledger.reading() as reader:
        assert reader.manifest(_HOSTILE.digest()) == _HOSTILE


def test_the_copy_goes_on(lines: list[str], ledger: Ledger) -> None:
    import_lines(ledger, lines)
    audits = record(ledger, row(), row("caf\u00e9\u202e"), accept_new=True).audits
    (audit,) = (audit for audit in audits if audit.version.name == "wine")
    assert audit.baseline is not None
    assert audit.baseline.status == "unchanged"
    ledger.verify()


def test_only_into_an_empty_ledger(lines: list[str], ledger: Ledger) -> None:
    ledger.append([note()])
    before = contents(ledger)
    with pytest.raises(UsageError, match="not empty: import into a new one"):
        import_lines(ledger, lines)
    assert contents(ledger) == before


def test_nothing_is_no_export(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="holds no entries"):
        import_lines(ledger, ["", "\n"])


def edited(line: str, **changes: object) -> str:
    content = json.loads(line)
    content.get("entry", content).update(changes)
    return json.dumps(content)


def place_of(lines: list[str], key: str) -> int:
    return next(number for number, line in enumerate(lines) if f'{{"{key}"' in line)


def must_refuse(ledger: Ledger, lines: list[str], error: type[AuditError]) -> None:
    with pytest.raises(error):
        import_lines(ledger, lines)
    assert contents(ledger) == ([], [])


@pytest.mark.parametrize("name", ["at", "body", "name", "previous", "digest", "registry", "audit_id"])
def test_a_changed_entry(lines: list[str], sqlite_ledger: Ledger, name: str) -> None:
    must_refuse(sqlite_ledger, [lines[0], edited(lines[1], **{name: "x"}), *lines[2:]], LedgerError)


@pytest.mark.parametrize("seq", ["2", None, 2.5])
def test_an_entry_numbered_by_something_else(lines: list[str], sqlite_ledger: Ledger, seq: object) -> None:
    place = next(number for number, line in enumerate(lines) if Kind.AUDIT_FINISHED in line)
    must_refuse(sqlite_ledger, [*lines[:place], edited(lines[place], seq=seq), *lines[place + 1 :]], LedgerError)


def test_a_removed_entry(lines: list[str], sqlite_ledger: Ledger) -> None:
    must_refuse(sqlite_ledger, [lines[0], *lines[2:]], LedgerError)


def test_a_repeated_entry(lines: list[str], sqlite_ledger: Ledger) -> None:
    must_refuse(sqlite_ledger, [lines[0], lines[0], *lines[1:]], LedgerError)


def test_a_changed_manifest(lines: list[str], sqlite_ledger: Ledger) -> None:
    place = place_of(lines, "manifest")
    text = json.loads(lines[place])["text"]
    changed = text.replace(" 2 ", " 3 ")
    assert changed != text
    must_refuse(sqlite_ledger, [*lines[:place], edited(lines[place], text=changed), *lines[place + 1 :]], LedgerError)


@pytest.mark.parametrize("line", ["not JSON", "[]", "5", "{}", '{"entry": {"seq": 1}}', '{"entry": 1}', '"entry"'])
def test_a_line_of_something_else(lines: list[str], sqlite_ledger: Ledger, line: str) -> None:
    must_refuse(sqlite_ledger, [line, *lines], UsageError)


@pytest.mark.parametrize("text", ["not a manifest", 5, None])
def test_a_manifest_that_is_none(lines: list[str], sqlite_ledger: Ledger, text: object) -> None:
    line = json.dumps({"manifest": "sha256:00", "text": text})
    with pytest.raises((UsageError, LedgerError)):
        import_lines(sqlite_ledger, [*lines, line])


def test_a_lost_manifest(lines: list[str], sqlite_ledger: Ledger) -> None:
    must_refuse(
        sqlite_ledger, [line for line in lines if _HOSTILE.digest() not in line or '"entry"' in line], LedgerError
    )


def test_an_export_that_was_cut_short(lines: list[str], sqlite_ledger: Ledger) -> None:
    with pytest.raises(AuditError):
        import_lines(sqlite_ledger, lines[:2])


def test_the_commands(source: Ledger, url: str, tmp_path: Path) -> None:
    exported = registry_audit("baseline", "export", "--ledger", source.url)
    (tmp_path / "copy.jsonl").write_text(exported.stdout, encoding="ascii")
    imported = registry_audit("baseline", "import", str(tmp_path / "copy.jsonl"), "--ledger", url)
    assert (exported.exit_status, imported.exit_status) == (0, 0), imported.stderr
    head = source.verify()
    assert head is not None
    assert f"imported {head.seq} entries; head {head.digest}" in imported.stdout
    assert head.digest in registry_audit("baseline", "verify", "--ledger", url).stdout


def test_a_lost_ledger_is_restored_from_its_export(tmp_path: Path, sqlite_url: str) -> None:
    ledger = open_ledger(sqlite_url, create=True)
    remember(ledger, record(ledger, row(), accept_new=True).head)
    (tmp_path / "copy.jsonl").write_text("\n".join(export_lines(ledger)), encoding="ascii")
    ledger.close()
    sqlite_file(sqlite_url).unlink()
    imported = registry_audit("baseline", "import", str(tmp_path / "copy.jsonl"), "--ledger", sqlite_url)
    assert imported.exit_status == 0, imported.stderr
    assert registry_audit("baseline", "verify", "--ledger", sqlite_url).exit_status == 0


def test_a_refused_import_leaves_no_ledger(lines: list[str], tmp_path: Path, sqlite_url: str) -> None:
    """An audit that finds nothing to compare with must not take that for a memory."""
    file = tmp_path / "cut.jsonl"
    file.write_text("\n".join(lines[:-1]))
    assert registry_audit("baseline", "import", str(file), "--ledger", sqlite_url).exit_status == 4
    with pytest.raises(LedgerError, match="there is no ledger"):
        open_ledger(sqlite_url, create=False)


def test_an_export_that_breaks_off_while_it_is_read(sqlite_url: str) -> None:
    imported = registry_audit("baseline", "import", "/proc/self/mem", "--ledger", sqlite_url)
    assert (imported.exit_status, "/proc/self/mem cannot be read: Input/output error" in imported.stderr) == (2, True)
    too_long = registry_audit("baseline", "verify", "--head", 300 * "x", "--ledger", sqlite_url)
    assert (too_long.exit_status, "is no head" in too_long.stderr) == (2, True)


def test_a_slow_reader_of_an_export_holds_nobody_up(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_BUSY_SECONDS", 1)
    ledger, other = open_ledger(sqlite_url, create=True), open_ledger(sqlite_url, create=False)
    ledger.append([note() for _ in range(3)])
    with contextlib.closing(export_lines(ledger)) as lines:
        next(lines)
        assert other.append([note()]).seq == 4
