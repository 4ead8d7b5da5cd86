"""Rows of an audit beside what the ledger remembers of their versions, some hundreds at a time."""

from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType

from registry_audit.audit.judging import VersionAudit
from registry_audit.ledger.assess import assess, vanished
from registry_audit.ledger.known_bytes import known_bytes
from registry_audit.ledger.memory import Key, Memory, learn, load_findings, today
from registry_audit.ledger.renamed_models import Renamed
from registry_audit.ledger.store import LedgerReader
from registry_audit.model.manifest import Manifest
from registry_audit.printable import storable

_MANIFESTS_KEPT = 250


class Beside:
    """Assesses rows as of one view of the ledger. `memory` is of the rows that came last."""

    def __init__(
        self,
        reader: LedgerReader,
        registry: str,
        listed: Container[Key],
        hidden: Mapping[Key, str] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            registry: its key in the ledger.
            listed: name and number of everything that the registry listed.
            hidden: versions with a baseline that were not listed and are not known to be gone, and why.
        """
        self._reader, self._registry, self._hidden = reader, registry, hidden
        self._others = [other for other in reader.registries() if other != registry]
        self._fetch = _remembering(reader)
        self._day = today()
        self.renamed = Renamed(reader, registry, listed)
        self.memory: Memory = load_findings(reader, registry)

    def __call__(self, rows: Sequence[VersionAudit | Key]) -> list[VersionAudit]:
        """Each row beside its baseline; and for a name and number, the row of a version that vanished."""
        learn(self.memory, self._reader, self._registry, [key_of(row) for row in rows])
        audited = [row for row in rows if not isinstance(row, tuple)]
        self._follow_renames(audited)
        self._learn_known_bytes(audited)
        return [self._vanished(*row) if isinstance(row, tuple) else self._assess(row) for row in rows]

    def _follow_renames(self, rows: Sequence[VersionAudit]) -> None:
        """What was accepted under a model's former name is the baseline under its new one."""
        for row in rows:
            key = key_of(row)
            former = self.renamed.former_name(row.version) if key not in self.memory.baselines else None
            if former is not None:
                self.memory.baselines[key] = former

    def _learn_known_bytes(self, rows: Sequence[VersionAudit]) -> None:
        baselines = self.memory.baselines
        new = [row.version for row in rows if (known := baselines.get(key_of(row))) is None or known.manifest is None]
        self.memory.known_bytes = known_bytes(self._reader, self._registry, self._others, new)

    def _assess(self, audit: VersionAudit) -> VersionAudit:
        return assess(audit, self.memory, self._fetch, today=self._day)

    def _vanished(self, name: str, version: str) -> VersionAudit:
        baseline, hidden = self.memory.baselines[name, version], self._hidden.get((name, version))
        return vanished(name, version, baseline, self.memory, today=self._day, hidden=hidden)


def key_of(row: VersionAudit | Key) -> Key:
    """Name and number of a row's version, in the names of the ledger."""
    return row if isinstance(row, tuple) else (storable(row.version.name), row.version.version)


def _remembering(reader: LedgerReader) -> Callable[[str], Manifest]:
    """Manifests by digest; only those that a version differs from are ever asked for."""
    fetched: dict[str, Manifest] = {}

    def fetch(digest: str) -> Manifest:
        if digest not in fetched:
            if len(fetched) >= _MANIFESTS_KEPT:
                fetched.clear()
            fetched[digest] = reader.manifest(digest)
        return fetched[digest]

    return fetch
