"""Entries, each carrying the digest of the one before: changing any of the past changes everything after it."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from registry_audit.errors import LedgerError
from registry_audit.printable import printable, storable

GENESIS = "0" * 64
_encode = json.JSONEncoder().encode  # half the time of json.dumps, which every entry of every ledger pays
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # UTC; sorts as text


class Kind(StrEnum):
    AUDIT_STARTED = "audit-started"
    AUDIT_FINISHED = "audit-finished"
    READING = "reading"  # what an audit said of one version
    ACCEPTED = "accepted"  # a baseline; with no manifest, that the version is gone on purpose
    FINDING_OPENED = "finding-opened"
    FINDING_RESOLVED = "finding-resolved"
    WAIVED = "waived"
    REGISTRY = "registry"  # another address or name of a registry


_TEXTS = frozenset({str, Kind})


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a place in the chain. Its names are those of the ledger: see `storable`."""

    kind: Kind
    registry: str = ""
    name: str = ""
    version: str = ""
    audit_id: str = ""
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    seq: int  # from 1, without gaps
    at: str
    kind: str
    registry: str
    name: str
    version: str
    audit_id: str
    body: str  # JSON text, as chained; see registry_audit.ledger.entry_bodies
    previous: str
    digest: str


def link(drafts: Iterable[Draft], *, after: Entry | None, at: str) -> Iterator[Entry]:
    """The drafts as entries that continue the chain after its head.

    Args:
        at: UTC, ISO 8601; never before the head's, so that the chain is ordered in time whatever the clocks say.
    """
    seq, previous = (after.seq, after.digest) if after else (0, GENESIS)
    at = max(at, after.at) if after else at
    for draft in drafts:
        seq += 1
        named = draft.registry, draft.name, draft.version, storable(draft.audit_id)
        body = canonical(draft.body or {})
        digest = entry_digest(seq, at, draft.kind, *named, body, previous)
        yield Entry(seq, at, draft.kind, *named, body, previous, digest)
        previous = digest


def entry_digest(*fields: Any) -> str:
    """Hex sha256 over every field but the digest itself, as one JSON list, so that no two lists are one text."""
    return hashlib.sha256(_encode(fields).encode("ascii")).hexdigest()


def canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def check_chain(entries: Iterable[Entry]) -> Entry | None:
    """The head of a whole chain; None of an empty one.

    Raises:
        LedgerError: an entry was changed, removed, added or moved; the message names the first such place.
    """
    head: Entry | None = None
    seq, previous = 0, GENESIS
    for head in entries:
        seq, previous = check_link(row_of(head), seq, previous)
    return head


def check_link(row: Sequence[Any], seq: int, previous: str) -> tuple[int, str]:
    """Number and digest of an entry that was checked to continue the chain.

    Args:
        row: the fields of an entry in their order, as they are in the database.
        seq, previous: of the entry before; 0 and zeros before the first.

    Raises:
        LedgerError: it does not follow, or is not what its own digest says.
    """
    number = row[0]
    if type(number) is not int or number <= seq:
        raise LedgerError(f"the ledger's chain is broken: entry {printable(str(number))} is outside of it")
    if number != seq + 1:
        raise LedgerError(f"the ledger's chain is broken: entry {seq + 1} is missing")
    if row[8] != previous:
        raise LedgerError(f"the ledger's chain is broken: entry {seq + 1} does not follow entry {seq}")
    check_row(row)
    return seq + 1, row[9]


def check_row(row: Sequence[Any]) -> None:
    """Raises: LedgerError: the entry is not what its own digest says."""
    if not _TEXTS.issuperset(map(type, row[1:])):  # SQLite takes any value into any column
        raise LedgerError(f"the ledger's chain is broken: entry {row[0]} was changed after it was written")
    try:
        digest = hashlib.sha256(_encode(tuple(row[:9])).encode("ascii")).hexdigest()
    except (TypeError, ValueError):  # a number that is none: nothing that this program ever wrote
        digest = None
    if row[9] != digest:
        raise LedgerError(f"the ledger's chain is broken: entry {row[0]} was changed after it was written")


def row_of(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.seq, entry.at, entry.kind, entry.registry, entry.name, entry.version,
        entry.audit_id, entry.body, entry.previous, entry.digest,
    )  # fmt: skip


# Clocks that disagree with the ledger, whose entries never go back in time: a clock that was ahead leaves its date.

_TOLERATED = timedelta(minutes=5)


def clock_note(head: Entry | None) -> str | None:
    """What a reader must know where the newest entry is dated later than this machine's clock; None where it is not."""
    now = datetime.now(UTC)
    if head is None or head.at <= (now + _TOLERATED).strftime(TIME_FORMAT):
        return None
    return (
        f"a clock has jumped: the ledger's newest entry is dated {head.at}, and it is {now.strftime(TIME_FORMAT)} on "
        "this machine. Entries from now on carry the later date; --quick trusts no reading that is dated in the future"
    )
