"""Entries, each carrying the digest of the one before: changing any of the past changes everything after it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from registry_audit.errors import LedgerError
from registry_audit.printable import storable

GENESIS = "0" * 64
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


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a place in the chain."""

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
    body: str  # JSON text, as chained
    previous: str
    digest: str

    @property
    def fields(self) -> dict[str, Any]:
        loaded = json.loads(self.body)
        return loaded if isinstance(loaded, dict) else {}


def link(drafts: Iterable[Draft], *, after: Entry | None, at: str) -> Iterator[Entry]:
    """The drafts as entries that continue the chain after its head.

    Args:
        at: UTC, ISO 8601; never before the head's, so that the chain is ordered in time whatever the clocks say.
    """
    seq, previous = (after.seq, after.digest) if after else (0, GENESIS)
    at = max(at, after.at) if after else at
    for draft in drafts:
        seq += 1
        named = (storable(draft.registry), storable(draft.name), storable(draft.version), storable(draft.audit_id))
        body = canonical(draft.body or {})
        digest = entry_digest(seq, at, draft.kind, *named, body, previous)
        yield Entry(seq, at, draft.kind, *named, body, previous, digest)
        previous = digest


def entry_digest(*fields: Any) -> str:
    """Hex sha256 over every field but the digest itself, as one JSON list, so that no two lists are one text."""
    return hashlib.sha256(json.dumps(fields).encode("ascii")).hexdigest()


def canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def check_chain(entries: Iterable[Entry], *, whole: bool = True) -> Entry | None:
    """The head of a whole chain; None of an empty one.

    Args:
        whole: whether the entries begin with the first of the chain; else they are its end.

    Raises:
        LedgerError: an entry was changed, removed, added or moved; the message names the first such place.
    """
    head: Entry | None = None
    for entry in entries:
        if head is None:
            seq, previous = (0, GENESIS) if whole else (entry.seq - 1, entry.previous)
        else:
            seq, previous = head.seq, head.digest
        if entry.seq != seq + 1:
            raise LedgerError(f"the ledger's chain is broken: entry {seq + 1} is missing")
        if entry.previous != previous:
            raise LedgerError(f"the ledger's chain is broken: entry {entry.seq} does not follow entry {seq}")
        check_entry(entry)
        head = entry
    return head


def check_entry(entry: Entry) -> None:
    """Raises: LedgerError: the entry is not what its own digest says."""
    fields = (
        entry.seq, entry.at, entry.kind, entry.registry, entry.name, entry.version,
        entry.audit_id, entry.body, entry.previous,
    )  # fmt: skip
    if entry.digest != entry_digest(*fields):
        raise LedgerError(f"the ledger's chain is broken: entry {entry.seq} was changed after it was written")
