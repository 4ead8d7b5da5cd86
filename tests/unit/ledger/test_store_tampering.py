"""What the database refuses, and what `verify` finds of what it could not refuse."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy.exc import DBAPIError
from support.ledgers import FILES, REGISTRY, database, execute, insert, record, registry_audit, row, tamper

from registry_audit.errors import LedgerError
from registry_audit.ledger.chain import Draft, Entry, Kind, canonical, check_chain, entry_digest, link, row_of
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.ledger.verified_chain import CheckedChain
from registry_audit.model.manifest import Manifest, ManifestEntry

_LEDGER = 4
_OTHER_BODY = "seq, at, kind, registry, name, version, audit_id, '{}', previous, digest"


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Two versions accepted; one was overwritten afterwards."""
    record(ledger, row(), row(version="2"), accept_new=True)
    remember(ledger, record(ledger, row(), row(version="2", files={**FILES, "new.txt": b"?"})).head)
    return ledger


def entries_of(ledger: Ledger) -> list[Entry]:
    with ledger.reading() as reader:
        return list(reader.all_entries())


def test_what_was_recorded_verifies(filled: Ledger) -> None:
    entries = entries_of(filled)
    assert filled.verify() == check_chain(entries) == entries[-1]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '{}' WHERE seq = 2",
        "UPDATE manifests SET text = ''",
        "DELETE FROM entries WHERE seq = 2",
        "DELETE FROM entries",
        "DELETE FROM manifests",
    ],
)
def test_the_database_refuses(filled: Ledger, url: str, statement: str) -> None:
    before = entries_of(filled)
    with pytest.raises(DBAPIError, match="append-only"):
        execute(url, statement)
    assert entries_of(filled) == before
    filled.verify()


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE entries",
        "TRUNCATE manifests",
        "INSERT INTO entries SELECT * FROM entries WHERE seq = 1 ON CONFLICT (seq) DO UPDATE SET body = '{}'",
    ],
)
def test_postgres_refuses(filled: Ledger, url: str, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        execute(url, statement)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        f"REPLACE INTO entries SELECT {_OTHER_BODY} FROM entries WHERE seq = 2",
        "REPLACE INTO manifests SELECT digest, '' FROM manifests",
    ],
)
def test_sqlite_refuses_to_replace(filled: Ledger, url: str, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        execute(url, statement)


_ACCEPTED = "(SELECT max(seq) FROM entries WHERE kind = 'accepted')"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f"UPDATE entries SET body = '{{}}' WHERE seq = {_ACCEPTED}", "was changed after it was written"),
        (f"UPDATE entries SET at = '2020-01-01T00:00:00Z' WHERE seq = {_ACCEPTED}", "was changed after"),
        (f"UPDATE entries SET name = 'other' WHERE seq = {_ACCEPTED}", "was changed after it was written"),
        (f"DELETE FROM entries WHERE seq = {_ACCEPTED}", "is missing"),
        ("DELETE FROM entries WHERE seq = 1", "entry 1 is missing"),
        ("UPDATE entries SET seq = seq + 1000 WHERE seq = 3", "entry 3 is missing"),
        ("UPDATE manifests SET text = replace(text, ' 5 ', ' 6 ')", "was changed after it was written"),
        ("UPDATE manifests SET text = ''", "was changed after it was written"),
        (f"INSERT INTO manifests VALUES ('sha256:{'0' * 64}', '')", "was changed after it was written"),
        ("DELETE FROM manifests", "has lost the manifest"),
    ],
)
def test_verify_finds(filled: Ledger, url: str, statement: str, said: str) -> None:
    tamper(url, statement)
    with pytest.raises(LedgerError, match=said):
        filled.verify()
    command = registry_audit("baseline", "verify", "--ledger", url)
    assert command.exit_status == _LEDGER
    assert said in command.stderr


def test_verify_finds_the_lost_manifest_of_a_reading(filled: Ledger, url: str) -> None:
    newest = entries_of(filled)
    read = [json.loads(entry.body)["manifest"] for entry in newest if entry.kind == Kind.READING][-1]
    accepted = [json.loads(entry.body)["manifest"] for entry in newest if entry.kind == Kind.ACCEPTED]
    assert read not in accepted
    tamper(url, f"DELETE FROM manifests WHERE digest = '{read}'")
    with pytest.raises(LedgerError, match="has lost the manifest"):
        filled.verify()


def test_verify_finds_a_question_mark_that_became_another_letter(ledger: Ledger, url: str) -> None:
    manifest = Manifest((ManifestEntry("what?.txt", 1, "sha256:00"),))
    with ledger.writing() as writer:
        writer.keep_manifests({manifest.digest(): manifest})
    tamper(url, "UPDATE manifests SET text = replace(text, '?', 'é')")
    with pytest.raises(LedgerError, match="was changed after it was written"):
        ledger.verify()


@pytest.mark.parametrize("key", ["md5:00", "blake3:00", ""])
def test_a_manifest_under_a_strange_digest_is_a_damaged_ledger(filled: Ledger, url: str, key: str) -> None:
    tamper(url, f"INSERT INTO manifests VALUES ('{key}', 'no manifest')")
    with pytest.raises(LedgerError):
        filled.verify()


def rewritten(entries: list[Entry], seq: int, body: str, *, stated: bool = True) -> list[Entry]:
    """The chain with one body changed and every digest from there on made to fit.

    Args:
        stated: whether what audits stated of the baselines is made to fit as well.
    """
    chain, previous, checked = entries[: seq - 1], entries[seq - 1].previous, CheckedChain()
    checked.continue_with(map(row_of, chain))
    for entry in entries[seq - 1 :]:
        text = body if entry.seq == seq else entry.body
        if stated and entry.kind == Kind.AUDIT_FINISHED:
            checked.continue_with(map(row_of, chain[checked.seq :]))
            text = canonical(json.loads(entry.body) | {"baselines": checked.baselines().model_dump()})
        fields = (entry.seq, entry.at, entry.kind, entry.registry, entry.name, entry.version, entry.audit_id, text)
        previous_digest, previous = previous, entry_digest(*fields, previous)
        chain.append(Entry(*fields, previous_digest, previous))
    return chain


def test_a_chain_that_was_rewritten_whole_is_known_by_its_head(filled: Ledger, url: str) -> None:
    before = entries_of(filled)
    accepted = next(entry for entry in before if entry.kind == Kind.ACCEPTED)
    forged = rewritten(before, accepted.seq, accepted.body.replace("first sight", "second thoughts"))
    assert check_chain(forged) == forged[-1] != before[-1]
    tamper(url, "DELETE FROM entries")
    insert(url, *forged)
    with pytest.raises(LedgerError, match="has lost entries that this process has read"):
        filled.verify()
    # By itself it is whole: nothing in a chain without a secret can tell.
    assert Ledger(filled._engine, url).verify() == forged[-1]
    # The machine that used it remembers another head; whoever kept a report has one too.
    with pytest.raises(LedgerError, match="has lost entries"):
        open_ledger(url, create=False)
    assert registry_audit("baseline", "verify", "--ledger", url).exit_status == _LEDGER


def test_the_baselines_that_an_audit_stated_are_looked_for(filled: Ledger, url: str) -> None:
    before = entries_of(filled)
    accepted = next(entry for entry in before if entry.kind == Kind.ACCEPTED)
    forged = rewritten(before, accepted.seq, accepted.body.replace("first", "second"), stated=False)
    tamper(url, "DELETE FROM entries")
    insert(url, *forged)
    with pytest.raises(LedgerError, match=r"are not those that the audit of .* stated"):
        Ledger(filled._engine, url).verify()


@pytest.mark.parametrize("seq", [0, -1, -(2**40)])
def test_an_entry_outside_of_the_chain_is_found_and_never_shown(filled: Ledger, url: str, seq: int) -> None:
    """Inserted with an ordinary statement, its own digest being right."""
    before = entries_of(filled)
    (forged,) = link([Draft(Kind.WAIVED, REGISTRY, "wine", "2")], after=None, at=before[0].at)
    fields = (seq, *row_of(forged)[1:-1])
    insert(url, Entry(*fields, entry_digest(*fields)))
    with filled.reading() as reader:  # which was checked by this process before
        assert list(reader.all_entries()) == before
        assert list(reader.of_kind(Kind.WAIVED)) == []
    for ledger in (filled, Ledger(filled._engine, url)):
        with pytest.raises(LedgerError, match=f"entry {seq} is outside of it"):
            ledger.verify()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_bytes_in_place_of_text_are_a_changed_entry(filled: Ledger, url: str) -> None:
    tamper(url, "UPDATE entries SET body = CAST(body AS BLOB) WHERE seq = 2")
    with pytest.raises(LedgerError, match="entry 2 was changed after it was written"):
        filled.verify()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", ["digest", "text"])
def test_bytes_in_place_of_a_manifest_are_a_changed_manifest(filled: Ledger, url: str, column: str) -> None:
    tamper(url, f"UPDATE manifests SET {column} = CAST({column} AS BLOB)")
    for command in ("verify", "export"):
        said = registry_audit("baseline", command, "--ledger", url)
        assert (said.exit_status, "internal error" in said.stderr) == (_LEDGER, False)
    with pytest.raises(LedgerError):
        record(filled, row(), row(version="2", files={**FILES, "new.txt": b"!"}))


_COMMANDS = {
    "list": [],
    "show": ["wine/1"],
    "history": ["wine/1"],
    "export": [],
    "verify": [],
    "registries": [],
    "name-registry": [REGISTRY, "--name", "prod"],
    "waive": ["wine/2", "--rule", "RA002", "--reason", "known", "--until", "2099-01-01"],
    "accept": ["wine/2", "--reason", "meant", "--tracking-uri", "http://127.0.0.1:9"],
}


@pytest.mark.parametrize("command", _COMMANDS)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE seq = 2",
        "UPDATE entries SET kind = 'reading' WHERE kind = 'accepted' AND version = '1'",
        "UPDATE entries SET seq = -seq WHERE seq = 3",
    ],
)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_no_command_believes_a_broken_chain(filled: Ledger, url: str, command: str, statement: str) -> None:
    tamper(url, statement)
    said = registry_audit("baseline", command, *_COMMANDS[command], "--ledger", url)
    assert (said.exit_status, said.stdout) == (_LEDGER, "")
    assert "chain is broken" in said.stderr


def test_a_head_from_a_report_is_looked_for(filled: Ledger, url: str) -> None:
    entries = entries_of(filled)
    for entry in (entries[2], entries[-1]):
        assert registry_audit("baseline", "verify", "--ledger", url, "--head", entry.digest).exit_status == 0
    gone = registry_audit("baseline", "verify", "--ledger", url, "--head", "f" * 64)
    assert (gone.exit_status, "is not in the ledger's chain" in gone.stderr) == (_LEDGER, True)


def test_an_entry_appended_by_hand_continues_the_chain_or_breaks_it(filled: Ledger, url: str) -> None:
    head = filled.verify()
    wrong = link([Draft(Kind.ACCEPTED, REGISTRY, "wine", "1")], after=None, at="2026-01-01T00:00:00Z")
    assert head is not None
    insert(url, *(Entry(head.seq + 1, *row_of(entry)[1:]) for entry in wrong))
    with pytest.raises(LedgerError, match=f"entry {head.seq + 1} does not follow entry {head.seq}"):
        filled.verify()


def test_verify_while_an_audit_ends_finds_no_damage(filled: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest and the entry that names it arrive between two statements of `verify`."""
    manifest_rows = LedgerReader.manifest_rows
    late = row("late", files={**FILES, "late.txt": b"late"})
    with ThreadPoolExecutor(1) as pool:
        audits = []

        def meanwhile(reader: LedgerReader) -> Iterator[tuple[str, str]]:
            yield from manifest_rows(reader)
            audits.append(pool.submit(record, filled, late, accept_new=True))
            wait(audits, timeout=2)  # longer only where the audit has to wait for who reads

        monkeypatch.setattr(LedgerReader, "manifest_rows", meanwhile)
        filled.verify()
        assert audits[0].result().accepted_count == 1


@pytest.mark.parametrize("what", ["the baseline points to other bytes", "no JSON"])
def test_an_audit_notices_an_edited_baseline(filled: Ledger, url: str, what: str) -> None:
    """Who overwrote a version makes the ledger say that the new bytes were accepted."""
    changed = row(version="2", files={**FILES, "new.txt": b"?"})
    now = changed.reg_model.manifest if changed.reg_model else None
    with filled.reading() as reader:
        (accepted,) = reader.of_version(REGISTRY, "wine", "2", Kind.ACCEPTED)
    body = (
        "{"
        if what == "no JSON"
        else accepted.body.replace(json.loads(accepted.body)["manifest"], now.digest() if now else "")
    )
    assert body != accepted.body
    tamper(url, "UPDATE entries SET body = '" + body + f"' WHERE seq = {accepted.seq}")
    with pytest.raises(LedgerError):
        record(filled, row(), changed)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE seq = 3",
        "UPDATE entries SET audit_id = 'other' WHERE seq = 2",
        "UPDATE entries SET body = '{}' WHERE kind = 'finding-opened'",
    ],
)
def test_an_audit_begins_by_checking_the_chain(filled: Ledger, url: str, statement: str) -> None:
    tamper(url, statement)
    with pytest.raises(LedgerError, match="chain is broken"):
        record(filled, row())


def test_an_audit_notices_an_edited_manifest(filled: Ledger, url: str) -> None:
    tamper(url, "UPDATE manifests SET text = replace(text, ' 5 ', ' 6 ')")
    with pytest.raises(LedgerError, match="was changed after it was written"):
        record(filled, row(), row(version="2", files={**FILES, "new.txt": b"!"}))


def test_tampering_leaves_what_it_did_not_touch(filled: Ledger, url: str) -> None:
    """The tool of these tests does no more than it says."""
    before = entries_of(filled)
    tamper(url)
    assert entries_of(filled) == before
    with database(url) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entries").scalar() == len(before)
