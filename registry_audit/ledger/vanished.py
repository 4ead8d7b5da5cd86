"""Versions with a baseline that an audit's listing should have shown, and did not: gone, or of a renamed model."""

from collections.abc import Iterable
from functools import cached_property

from registry_audit.audit.options import AuditOptions, ModelChoice
from registry_audit.audit.scope import Scope
from registry_audit.ledger.chain import Kind
from registry_audit.ledger.entry_bodies import Accepted, body_of
from registry_audit.ledger.memory import Baseline, Key, baseline_of
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.printable import restored
from registry_audit.redact import redact_location
from registry_audit.registry.listed import KeySet
from registry_audit.registry.version import RegisteredVersion, version_key


class Expected:
    """What an audit's listing should hold; asked in the names of the ledger."""

    def __init__(self, scope: Scope, options: AuditOptions) -> None:
        self._listed = scope.listed
        self._everything_listed = options.filter is None and scope.listed_whole
        self._choice = ModelChoice(map(scope.own_spelling, options.models), scope.exact)

    def lacks(self, name: str, version: str) -> bool:
        """Whether a version should have been in the listing, and was not."""
        key = restored(name), restored(version)
        return key[0] in self._choice and self._everything_listed and key not in self._listed


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
    """Accepted versions that are no longer under their name, by what a new name does not change."""

    def __init__(self, reader: LedgerReader, registry: str, versions: Iterable[RegisteredVersion]) -> None:
        """
        Args:
            versions: those that are audited, under their names of now; read when they are needed, and more than once.
        """
        self._reader, self._registry, self._versions = reader, registry, versions

    def former_name(self, version: RegisteredVersion) -> Baseline | None:
        """The baseline that was accepted for this version under another name; None where there is none."""
        found = self._by_birth.get(_birth(version)) if version.creation_time_ms is not None else None
        return None if found is None else found[1]

    @cached_property
    def followed(self) -> frozenset[Key]:
        """The former names and numbers of the versions that were renamed: they did not vanish."""
        births = (_birth(version) for version in self._versions if version.creation_time_ms is not None)
        return frozenset(self._by_birth[birth][0] for birth in births if birth in self._by_birth)

    @cached_property
    def _by_birth(self) -> dict[_Birth, tuple[Key, Baseline]]:
        """The newest acceptance of each. A model made since under the old name is another one, and hides none."""
        there, found = KeySet(), dict[_Birth, tuple[Key, Baseline]]()
        for version in self._versions:
            there.add((version.name, f"{version.version} {version.creation_time_ms}"))
        for entry in self._reader.of_kind(Kind.ACCEPTED, registry=self._registry):
            body = body_of(entry, Accepted)
            if body.manifest is None or body.creation_time_ms is None:
                continue
            if (restored(entry.name), f"{entry.version} {body.creation_time_ms}") not in there:
                birth = entry.version, body.creation_time_ms, body.run_id, str(body.source)
                found[birth] = (entry.name, entry.version), baseline_of(entry)
        return found


def _birth(version: RegisteredVersion) -> _Birth:
    return version.version, version.creation_time_ms or 0, version.run_id, redact_location(version.source)
