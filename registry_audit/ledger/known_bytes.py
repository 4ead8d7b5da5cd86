"""Finds bytes that the ledger knows for a version without a baseline, so that `--accept-new` accepts no other bytes.

The ledger may know such a version in two ways: an earlier audit read it and nobody accepted it, or another registry of
the ledger has the same version, as a restored copy or a fork does. Two versions are the same if name, number, creation
time and run are the same.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from registry_audit.ledger.chain import Entry, Kind
from registry_audit.ledger.entry_bodies import Accepted, Read, body_of
from registry_audit.ledger.store import LedgerReader
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.registry.version import Key, RegisteredVersion
from registry_audit.verdict import Verdict

# A version with one of these findings is not accepted at first sight, and such a reading does not show good bytes.
_PASSING = frozenset(verdict.value for verdict in Verdict if verdict.passes)
DAMAGED = frozenset({"RA001", "RA002", "RA003", "RA007", "RA008", "RA009", "RA010", "RA011", "RA013", "RA014", "RA015"})

IsUnlisted = Callable[[str, str], bool]
_MOST_NAMES = 100  # names that are looked up for one version


@dataclass(frozen=True, slots=True)
class KnownBytes:
    """The ledger has this manifest for a version."""

    manifest: str  # digest
    at: str
    accepted: bool
    registry: str | None = None  # None: the registry that is audited

    @property
    def algorithm(self) -> str:
        return self.manifest.partition(":")[0]

    @property
    def problem(self) -> Problem:
        """Return the problem to report if the bytes are not the known ones."""
        message = f"its bytes are not {self._words}" + ("" if self.accepted else "; nobody had accepted them")
        return Problem("RA002", message, blocks=False)

    @property
    def not_comparable(self) -> Problem:
        """Return the problem to report if the bytes were read with another digest algorithm than the known ones."""
        message = f"its bytes cannot be compared with {self._words}, because those are known by {self.algorithm} only"
        remedy = f"Audit with --digest {self.algorithm}, or keep another ledger with --ledger."
        return Problem("RA009", message, blocks=False, remedy=remedy)

    @property
    def _words(self) -> str:
        where = "" if self.registry is None else f" in the registry {printable(self.registry)}"
        if self.accepted:
            return f"those that were accepted for this very version on {self.at[:10]}{where}"
        return f"those that the audit of {self.at[:10]} read{where}"


class OtherNames:
    """Finds the other names under which the ledger knows a version: number, creation time and run survive a rename.

    Many versions without a run may have been created at the same moment. So theirs is only a name that the audited
    registry no longer lists and under which nothing was accepted: an accepted version is also known by its source.
    """

    def __init__(self, reader: LedgerReader, registry: str, is_unlisted: IsUnlisted | None = None) -> None:
        """
        Args:
            registry: the audited registry.
            is_unlisted: says of a name and number whether that registry no longer lists them; None if it is unknown.
        """
        self._reader, self._audited, self._is_unlisted = reader, registry, is_unlisted
        self._of_registry: dict[str, dict[int, list[Key]]] = {}

    def of(self, registry: str, version: RegisteredVersion) -> list[Key]:
        can_be_known = version.run_id or (self._is_unlisted is not None and registry == self._audited)
        if version.creation_time_ms is None or not can_be_known:
            return []
        if registry not in self._of_registry:
            self._of_registry[registry] = self._by_birth(registry)
        own, birth = version.ledger_key[0], (version.version, version.creation_time_ms, version.run_id or None)
        return [key for key in self._of_registry[registry].get(hash(birth), ()) if key[0] != own]

    def _by_birth(self, registry: str) -> dict[int, list[Key]]:
        """Index the names by a hash of number, creation time and run. Callers must compare these again."""
        names: dict[int, list[Key]] = {}
        read = (
            entry
            for entries in (self._reader.first_of_versions, self._reader.latest_of_versions)
            for entry in entries(Kind.READING, registry)
        )
        accepted = set[Key]()
        for entry in chain(self._reader.of_kind(Kind.ACCEPTED, registry=registry), read):
            body = body_of(entry, Read if entry.kind == Kind.READING else Accepted)
            key = entry.name, entry.version
            if entry.kind == Kind.ACCEPTED:
                accepted.add(key)
            if not body.run_id and (key in accepted or not self._is_gone(registry, key)):
                continue
            known = names.setdefault(hash((entry.version, body.creation_time_ms, body.run_id or None)), [])
            if key not in known and len(known) < _MOST_NAMES:
                known.append(key)
        return names

    def _is_gone(self, registry: str, key: Key) -> bool:
        return registry == self._audited and self._is_unlisted is not None and self._is_unlisted(*key)


def known_bytes(
    reader: LedgerReader,
    registry: str,
    others: Iterable[str],
    versions: Iterable[RegisteredVersion],
    other_names: OtherNames,
) -> dict[Key, tuple[KnownBytes, ...]]:
    """Return the known bytes of some hundreds of versions that have no baseline in their registry.

    Args:
        others: the other registries of the ledger.
    """
    wanted = {version.ledger_key: version for version in versions}
    if not wanted:
        return {}
    found: dict[Key, list[KnownBytes]] = {}
    everywhere = (None, *others)  # None: the registry that is audited
    for other in everywhere:
        for key, known in _known_in(reader, registry, other, wanted):
            found.setdefault(key, []).append(known)
    for own, version in wanted.items() if len(found) < len(wanted) else ():
        for other in everywhere if own not in found else ():
            former = dict.fromkeys(other_names.of(other or registry, version), version)
            known_before = [known for _, known in _known_in(reader, registry, other, former, renamed=True)]
            if known_before:
                found.setdefault(own, []).extend(known_before)
    return {key: tuple(known) for key, known in found.items()}


def _known_in(
    reader: LedgerReader,
    registry: str,
    other: str | None,
    wanted: dict[Key, RegisteredVersion],
    *,
    renamed: bool = False,
) -> Iterator[tuple[Key, KnownBytes]]:
    """Yield what one registry has for these versions under these names.

    Args:
        registry: the audited registry.
        other: the registry to look into, if it is not the audited one.
        renamed: whether the names are former names of the versions.
    """
    accepted, elsewhere = set[Key](), other is not None or renamed
    place = other or registry
    # What was accepted in the audited registry under the current name is a baseline, so it is not looked up here.
    for entry in reader.latest_of_versions(Kind.ACCEPTED, place, wanted) if elsewhere and wanted else ():
        key = entry.name, entry.version
        body = body_of(entry, Accepted)
        if key in wanted and body.manifest and body.is_surely_of(wanted[key], with_run=True):
            accepted.add(key)
            yield key, KnownBytes(body.manifest, entry.at, accepted=True, registry=other)
    rest = {key: version for key, version in wanted.items() if key not in accepted}
    for key, manifest, at in _first_readings(reader, place, rest, with_run=elsewhere):
        yield key, KnownBytes(manifest, at, accepted=False, registry=other)


def _first_readings(
    reader: LedgerReader, registry: str, wanted: dict[Key, RegisteredVersion], *, with_run: bool = False
) -> Iterator[tuple[Key, str, str]]:
    """Yield the first reading of each version that found its model undamaged: key, digest of the manifest, and time."""
    if not wanted:
        return

    def whole(key: Key, entry: Entry) -> str | None:
        body = body_of(entry, Read)
        passed = body.verdict in _PASSING and DAMAGED.isdisjoint(body.rules)
        # Release 0.1.0 did not record creation times: its readings may be of another version with that number.
        return body.manifest if passed and body.is_surely_of(wanted[key], with_run=with_run) else None

    for first in reader.first_of_versions(Kind.READING, registry, wanted):
        key = first.name, first.version
        if key not in wanted:
            continue
        if manifest := whole(key, first):
            yield key, manifest, first.at
            continue
        # The model was damaged then, or it was an earlier version of that name and number: look at all readings.
        for entry in reader.of_version(registry, *key, Kind.READING):
            if manifest := whole(key, entry):
                yield key, manifest, entry.at
                break
