"""Versions with a baseline that an audit's listing should have shown, and did not: gone, or of a renamed model."""

from collections.abc import Container, Iterable

from registry_audit.audit.options import AuditOptions, ModelChoice
from registry_audit.audit.scope import Scope
from registry_audit.ledger.chain import Entry, Kind
from registry_audit.ledger.entry_bodies import Accepted, body_of
from registry_audit.ledger.memory import Baseline, Key, baseline_of
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.printable import storable
from registry_audit.redact import redact_location
from registry_audit.registry.version import RegisteredVersion, version_key


class Expected:
    """What an audit's listing should hold, in the names of the ledger."""

    def __init__(self, scope: Scope, options: AuditOptions) -> None:
        self._listed = scope.listed
        self._everything_listed = options.filter is None and scope.listed_whole
        self._choice = ModelChoice(options.models, scope.exact)

    def lacks(self, name: str, version: str) -> bool:
        """Whether a version should have been in the listing, and was not."""
        return name in self._choice and self._everything_listed and (name, version) not in self._listed


def absent_keys(reader: LedgerReader, registry: str, expected: Expected) -> list[Key]:
    """Sorted as a report is: by name, then number."""
    found = [
        (entry.name, entry.version)
        for entry in reader.latest_of_versions(Kind.ACCEPTED, registry)
        if expected.lacks(entry.name, entry.version) and body_of(entry, Accepted).manifest is not None
    ]
    return sorted(found, key=lambda key: version_key(*key))


def absent_versions(ledger: Ledger, registry: str, scope: Scope, options: AuditOptions) -> tuple[Key, ...]:
    with ledger.reading() as reader:
        return tuple(absent_keys(reader, registry, Expected(scope, options)))


# Models that were renamed: MLflow keeps number, time of creation, run and source, so the baseline follows.

_Birth = tuple[str, int, str | None, str]  # number, time of creation, run, source without credentials


class Renamed:
    """Accepted versions that the registry no longer has under their name, by what a new name does not change."""

    def __init__(self, reader: LedgerReader, registry: str, listed: Container[Key]) -> None:
        """
        Args:
            listed: name and number of everything that the registry listed.
        """
        self._by_birth: dict[_Birth, tuple[Key, Baseline]] = {}
        self._followed: frozenset[Key] | None = None
        for newest in reader.latest_of_versions(Kind.ACCEPTED, registry):
            key = newest.name, newest.version
            accepted = newest if body_of(newest, Accepted).manifest else _last_bytes(reader, registry, key)
            birth = _birth_of(accepted) if accepted is not None and key not in listed else None
            if accepted is not None and birth is not None:
                self._by_birth[birth] = key, baseline_of(accepted)

    def former_name(self, version: RegisteredVersion) -> Baseline | None:
        """The baseline that was accepted for this version under another name; None where there is none."""
        found = self._by_birth.get(_birth(version)) if version.creation_time_ms is not None else None
        return None if found is None else found[1]

    def followed(self, versions: Iterable[RegisteredVersion]) -> frozenset[Key]:
        """The former names and numbers of those versions that were renamed: they did not vanish."""
        if not self._by_birth:
            return frozenset()
        if self._followed is None:
            births = (_birth(version) for version in versions if version.creation_time_ms is not None)
            self._followed = frozenset(self._by_birth[birth][0] for birth in births if birth in self._by_birth)
        return self._followed


def _birth(version: RegisteredVersion) -> _Birth:
    return version.version, version.creation_time_ms or 0, version.run_id, redact_location(version.source)


def _birth_of(entry: Entry) -> _Birth | None:
    body = body_of(entry, Accepted)
    if body.creation_time_ms is None:
        return None
    return entry.version, body.creation_time_ms, body.run_id, str(body.source)


def _last_bytes(reader: LedgerReader, registry: str, key: Key) -> Entry | None:
    """The newest entry that accepted bytes, before the version was accepted as gone."""
    entries = reader.of_version(registry, storable(key[0]), key[1], Kind.ACCEPTED)
    return next((entry for entry in reversed(entries) if body_of(entry, Accepted).manifest), None)
