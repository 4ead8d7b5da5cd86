"""Versions with a baseline that an audit's listing should have shown, and did not."""

from registry_audit.audit.options import AuditOptions, ModelChoice
from registry_audit.audit.scope import Scope
from registry_audit.ledger.chain import Kind
from registry_audit.ledger.entry_bodies import Accepted, body_of
from registry_audit.ledger.memory import Key
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.registry.version import version_key


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
