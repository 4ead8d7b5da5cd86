"""Bytes that the ledger knows of a version that has no baseline, so that other bytes are never taken for a first sight.

A version without a baseline may still be known: an earlier audit read it and nobody accepted it, or another registry
of the ledger has the very same version, as a restored copy or a fork does. What makes it the same one is its name, its
number, the time it was created and its run, which an address does not change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from registry_audit.ledger.chain import Entry, Kind
from registry_audit.ledger.entry_bodies import Accepted, Read, body_of
from registry_audit.ledger.store import LedgerReader
from registry_audit.model.listing import Problem
from registry_audit.printable import printable, storable
from registry_audit.registry.version import Key, RegisteredVersion
from registry_audit.verdict import Verdict

# What keeps a version from being accepted on first sight: readings with one of these say nothing of good bytes.
_PASSING = frozenset(verdict.value for verdict in Verdict if verdict.passes)
DAMAGED = frozenset({"RA001", "RA002", "RA003", "RA007", "RA008", "RA009", "RA010", "RA011", "RA013", "RA014", "RA015"})


@dataclass(frozen=True, slots=True)
class KnownBytes:
    """A manifest that the ledger has for a version, and where from."""

    manifest: str  # digest
    at: str
    accepted: bool
    registry: str | None = None  # None: the registry that is audited

    @property
    def problem(self) -> Problem:
        """What is to be said where the bytes are others now."""
        where = "" if self.registry is None else f" in the registry {printable(self.registry)}"
        if self.accepted:
            message = f"its bytes are not those that were accepted for this very version on {self.at[:10]}{where}"
        else:
            message = f"its bytes are not those that the audit of {self.at[:10]} read{where}; nobody had accepted them"
        return Problem("RA002", message, blocks=False)


def known_bytes(
    reader: LedgerReader, registry: str, others: Iterable[str], versions: Iterable[RegisteredVersion]
) -> dict[Key, tuple[KnownBytes, ...]]:
    """What the ledger knows of these versions, some hundreds that have no baseline in their registry.

    Args:
        others: the other registries of the ledger.
    """
    wanted = {(storable(version.name), version.version): version for version in versions}
    if not wanted:
        return {}
    found: dict[Key, list[KnownBytes]] = {}
    for key, manifest, at in _first_readings(reader, registry, wanted):
        found.setdefault(key, []).append(KnownBytes(manifest, at, accepted=False))
    for other in others:
        accepted = set[Key]()
        for entry in reader.latest_of_versions(Kind.ACCEPTED, other, wanted):
            key = entry.name, entry.version
            body = body_of(entry, Accepted)
            if key in wanted and body.manifest and body.is_surely_of(wanted[key], with_run=True):
                accepted.add(key)
                known = KnownBytes(body.manifest, entry.at, accepted=True, registry=other)
                found.setdefault(key, []).append(known)
        rest = {key: version for key, version in wanted.items() if key not in accepted}
        for key, manifest, at in _first_readings(reader, other, rest, with_run=True):
            known = KnownBytes(manifest, at, accepted=False, registry=other)
            found.setdefault(key, []).append(known)
    return {key: tuple(known) for key, known in found.items()}


def _first_readings(
    reader: LedgerReader, registry: str, wanted: dict[Key, RegisteredVersion], *, with_run: bool = False
) -> Iterator[tuple[Key, str, str]]:
    """The first reading of each version that found its model whole: its manifest, and when it was."""
    if not wanted:
        return

    def whole(key: Key, entry: Entry) -> str | None:
        body = body_of(entry, Read)
        passed = body.verdict in _PASSING and DAMAGED.isdisjoint(body.rules)
        # Release 0.1.0 did not record the time in its readings: they may be of another version of that number.
        return body.manifest if passed and body.is_surely_of(wanted[key], with_run=with_run) else None

    for first in reader.first_of_versions(Kind.READING, registry, wanted):
        key = first.name, first.version
        if key not in wanted:
            continue
        if manifest := whole(key, first):
            yield key, manifest, first.at
            continue
        # It was damaged then, or it is an earlier version of that name and number: look at all of its readings.
        for entry in reader.of_version(registry, *key, Kind.READING):
            if manifest := whole(key, entry):
                yield key, manifest, entry.at
                break
