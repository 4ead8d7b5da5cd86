"""Chains entries by digest: each contains the digest of the one before, so a change breaks all entries after it."""

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
_encode = json.JSONEncoder().encode  # takes half the time of json.dumps, and runs for every entry of every ledger
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # UTC; sorts as text


class Kind(StrEnum):
    AUDIT_STARTED = "audit-started"
    AUDIT_FINISHED = "audit-finished"
    READING = "reading"  # the result of an audit for one version
    ACCEPTED = "accepted"  # a baseline; without a manifest, it says that the version was removed on purpose
    FINDING_OPENED = "finding-opened"
    FINDING_RESOLVED = "finding-resolved"
    WAIVED = "waived"
    REGISTRY = "registry"  # another address or name of a registry


_TEXTS = frozenset({str, Kind})


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft is an entry that has no place in the chain yet. Names are stored as `storable` spells them."""

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
    """Yield the drafts as entries that continue the chain after its head.

    Args:
        after: the head of the chain; None if the chain is empty.
        at: UTC, ISO 8601. The time of the head is used if it is later, so that the chain is ordered in time even when
            clocks disagree.
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
    """Return the hex sha256 of all fields but the digest, encoded as one JSON list so that no two lists collide."""
    return hashlib.sha256(_encode(fields).encode("ascii")).hexdigest()


def canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def check_chain(entries: Iterable[Entry]) -> Entry | None:
    """Check a whole chain and return its head, or None if the chain is empty.

    Raises:
        LedgerError: an entry was changed, removed, added or moved; the message names the first such place.
    """
    head: Entry | None = None
    seq, previous = 0, GENESIS
    for head in entries:
        seq, previous = check_link(row_of(head), seq, previous)
    return head


def check_link(row: Sequence[Any], seq: int, previous: str) -> tuple[int, str]:
    """Check that an entry continues the chain, and return its number and digest.

    Args:
        row: the fields of an entry in their order, as they are in the database.
        seq, previous: number and digest of the entry before; 0 and `GENESIS` before the first entry.

    Raises:
        LedgerError: the entry does not follow, or does not match its own digest.
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
    """Check an entry against its own digest. Raises: LedgerError: they do not match."""
    if not _TEXTS.issuperset(map(type, row[1:])):  # SQLite accepts a value of any type in any column
        raise LedgerError(f"the ledger's chain is broken: entry {row[0]} was changed after it was written")
    try:
        digest = hashlib.sha256(_encode(tuple(row[:9])).encode("ascii")).hexdigest()
    except (TypeError, ValueError):  # not JSON-encodable, so this program did not write it
        digest = None
    if row[9] != digest:
        raise LedgerError(f"the ledger's chain is broken: entry {row[0]} was changed after it was written")


def row_of(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.seq, entry.at, entry.kind, entry.registry, entry.name, entry.version,
        entry.audit_id, entry.body, entry.previous, entry.digest,
    )  # fmt: skip


# Entries never go back in time, so a clock that was once ahead leaves its date in the ledger.

_TOLERATED = timedelta(minutes=5)


def clock_note(head: Entry | None) -> str | None:
    """Return a warning if the newest entry is dated later than this machine's clock, else None."""
    now = datetime.now(UTC)
    if head is None or head.at <= (now + _TOLERATED).strftime(TIME_FORMAT):
        return None
    return (
        f"a clock has jumped: the ledger's newest entry is dated {head.at}, and it is {now.strftime(TIME_FORMAT)} on "
        "this machine. Entries from now on carry the later date; --quick trusts no reading that is dated in the future"
    )
