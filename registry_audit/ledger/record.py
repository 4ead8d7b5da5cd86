"""One audit, written into the ledger: begun before anything is read, and at its end everything at once.

The end is one transaction under the ledger's lock: what is said of a version is said beside the baselines of that
very moment, and of two audits that see a new version at the same time only the first accepts it. The rows pass by
some hundreds at a time, so that a registry of any size fits.
"""

import getpass
import heapq
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.outcome import OutcomeTally
from registry_audit.audit.scope import Scope
from registry_audit.errors import NotFound, UsageError
from registry_audit.ledger.absent import Expected, absent_keys
from registry_audit.ledger.assess import assess, is_acceptable, vanished
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.ledger.clock import clock_note
from registry_audit.ledger.drafts import ON_FIRST_SIGHT, accepted_draft, drafts_of, manifests_of
from registry_audit.ledger.identity import recognise
from registry_audit.ledger.known_bytes import known_bytes
from registry_audit.ledger.memory import Key, Memory, learn, load_findings, today
from registry_audit.ledger.renaming import Renamed
from registry_audit.ledger.resolving import Resolved, Resolving
from registry_audit.ledger.store import Ledger, LedgerReader, LedgerWriter
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable, storable
from registry_audit.registry.address import active_workspace, parse_address, registry_identity
from registry_audit.registry.version import version_key
from registry_audit.verdict import BaselineStatus

_AT_ONCE = 250  # rows

Keep = Callable[[VersionAudit], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An audit as it stands in the ledger."""

    resolved: tuple[Resolved, ...]
    head: Entry
    audit_id: str
    previous_audit_at: str | None
    accepted_count: int


def registry_of(registry_uri: str) -> str:
    """What a ledger knows the registry at an address by, unless it was given a name or has another address there.

    Raises:
        UsageError: no parser can read the address.
    """
    return registry_identity(parse_address(registry_uri), active_workspace())


def begin(ledger: Ledger, scope: Scope, options: AuditOptions, audit_id: str) -> tuple[Scope, Entry]:
    """Note that an audit began; one that never finishes stays visible as interrupted.

    Returns:
        The scope, its registry being the one that the ledger knows it as; and the new head.

    Raises:
        UsageError: the ledger's baselines were made with another digest algorithm.
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing() as writer:
        jumped = clock_note(writer.head())
        recognised = recognise(writer, scope.registry, options.registry_name, scope.everything or scope.versions)
        registry = recognised.key
        algorithm = algorithm_of(writer, registry) or options.digest
        if algorithm != options.digest:
            raise UsageError(
                f"the baselines in the ledger are {algorithm}: audit with --digest {algorithm}, "
                "or keep another ledger with --ledger"
            )
        known = {entry.name for entry in writer.latest_of_versions(Kind.ACCEPTED, registry)} if scope.missing else set()
        for name in scope.missing:
            if name not in known:
                raise NotFound(f"there is no registered model '{printable(name)}' in {printable(registry)}")
        body = {"options": options.reported(), "listed": scope.listed_count, "selected": len(scope.versions)}
        started = Draft(Kind.AUDIT_STARTED, registry, audit_id=audit_id, body=body)
        head = writer.append([started] if recognised.draft is None else [recognised.draft, started])
    notes = (*scope.notes, *(note for note in (recognised.note, jumped) if note is not None))
    return replace(scope, registry=registry, everything=(), notes=notes), head


def algorithm_of(reader: LedgerReader, registry: str) -> str | None:
    """The digest algorithm of a registry's baselines; None where there is none yet."""
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry):
        if accepted := entry.fields.get("manifest"):
            return str(accepted).partition(":")[0]
    return None


def finish(
    ledger: Ledger,
    scope: Scope,
    options: AuditOptions,
    audit_id: str,
    audits: Iterable[VersionAudit],
    keep: Keep,
    hidden: Mapping[Key, str] = MappingProxyType({}),
) -> Recorded:
    """Assess every row beside the ledger, and record the audit.

    Args:
        audits: sorted by name, then number.
        keep: told of every row as it was assessed, and of every version that vanished, in that same order.
        hidden: versions with a baseline that were not listed and are not known to be gone, and why.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    registry = scope.registry
    with ledger.writing(again=True) as writer:
        finishing = _Finishing(writer, registry, scope, options, audit_id, keep, hidden)
        head = writer.append(finishing.drafts(audits))
        return Recorded(
            resolved=finishing.resolved,
            head=head,
            audit_id=audit_id,
            previous_audit_at=finishing.memory.previous_audit.at if finishing.memory.previous_audit else None,
            accepted_count=finishing.accepted_count,
        )


def who() -> str:
    """Who accepts: the user of this process and its machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"unknown@{socket.gethostname()}"


class _Finishing:
    """The end of one audit, while it holds the ledger's lock."""

    def __init__(
        self,
        writer: LedgerWriter,
        registry: str,
        scope: Scope,
        options: AuditOptions,
        audit_id: str,
        keep: Keep,
        hidden: Mapping[Key, str],
    ) -> None:
        self._writer, self._registry, self._scope, self._options = writer, registry, scope, options
        self._audit_id, self._keep, self._hidden = audit_id, keep, hidden
        self._day, self._who = today(), who()
        self._expected = Expected(scope, options)
        self._others = [other for other in writer.registries() if other != registry]
        self._renamed = Renamed(writer, registry, scope.listed)
        self.memory: Memory = load_findings(writer, registry)
        self.accepted_count = 0
        self.resolved: tuple[Resolved, ...] = ()

    def drafts(self, audits: Iterable[VersionAudit]) -> Iterator[Draft]:
        resolving, outcome = Resolving(self.memory.open_findings), OutcomeTally(self._options.fail_on)
        for row, accepted in map(self._accepted, self._assessed(audits)):
            self._keep(row)
            last = self.memory.last_readings.get(_key(row))
            resolving.show(row, last.manifest if last else None)
            outcome.add(row)
            yield from drafts_of(self._registry, self._audit_id, row)
            yield from accepted
        self.resolved = resolving.resolved(self._expected)
        for gone in self.resolved:
            body = {"rule": gone.rule, "path": gone.path, "first_seen": gone.first_seen, "by": gone.by}
            yield Draft(Kind.FINDING_RESOLVED, self._registry, gone.name, gone.version, self._audit_id, body)
        ending = outcome.outcome(listed_whole=self._scope.answered)
        yield Draft(
            Kind.AUDIT_FINISHED,
            self._registry,
            audit_id=self._audit_id,
            body={
                "exit_status": int(ending.exit_status),
                "verdicts": {verdict.value: count for verdict, count in outcome.verdicts.items()},
                "listed": self._scope.listed_count,
                "baselines": self._writer.baselines().as_body(),
            },
        )

    def _assessed(self, audits: Iterable[VersionAudit]) -> Iterator[VersionAudit]:
        """Every row beside its baseline, and among them the versions that are gone."""
        absent = absent_keys(self._writer, self._registry, self._expected)
        gone = [key for key in absent if key not in self._renamed.followed(self._scope.versions)]
        everything: tuple[Iterable[VersionAudit | Key], ...] = (audits, gone)
        rows = heapq.merge(*everything, key=_order)
        fetch = _remembering(self._writer)
        while some := list(islice(rows, _AT_ONCE)):
            learn(self.memory, self._writer, self._registry, [_key(row) for row in some])
            audited = [row for row in some if not isinstance(row, tuple)]
            self._follow_renames(audited)
            self._learn_known_bytes(audited)
            assessed = [self._vanished(*row) if isinstance(row, tuple) else self._assess(row, fetch) for row in some]
            manifests: dict[str, Manifest] = {}
            for row in assessed:
                manifests |= manifests_of(row)
            self._writer.keep_manifests(manifests)
            yield from assessed

    def _follow_renames(self, rows: Iterable[VersionAudit]) -> None:
        """What was accepted under a model's former name is the baseline under its new one."""
        for row in rows:
            key = _key(row)
            former = self._renamed.former_name(row.version) if key not in self.memory.baselines else None
            if former is not None:
                self.memory.baselines[key] = former

    def _learn_known_bytes(self, rows: Iterable[VersionAudit]) -> None:
        baselines = self.memory.baselines
        new = [row.version for row in rows if (known := baselines.get(_key(row))) is None or known.manifest is None]
        self.memory.known_bytes = known_bytes(self._writer, self._registry, self._others, new)

    def _assess(self, audit: VersionAudit, fetch: Callable[[str], Manifest]) -> VersionAudit:
        return assess(audit, self.memory, fetch, today=self._day)

    def _vanished(self, name: str, version: str) -> VersionAudit:
        baseline, hidden = self.memory.baselines[name, version], self._hidden.get((name, version))
        return vanished(name, version, baseline, self.memory, today=self._day, hidden=hidden)

    def _accepted(self, row: VersionAudit) -> tuple[VersionAudit, tuple[Draft, ...]]:
        """The row, which says so where this audit accepts it, and the entry that does."""
        manifest = row.reg_model.manifest if row.reg_model else None
        if (
            self._options.accept_new
            and row.baseline is not None
            and row.baseline.status is BaselineStatus.NEW
            and manifest is not None
            and is_acceptable(row)
        ):
            self.accepted_count += 1
            draft = accepted_draft(self._registry, self._audit_id, row, manifest, self._who, ON_FIRST_SIGHT)
            view = replace(row.baseline, accepted_by=self._who, reason=ON_FIRST_SIGHT, accepted_now=True)
            return replace(row, baseline=view), (draft,)
        return row, ()


def _order(row: VersionAudit | Key) -> tuple[str, int, str]:
    return version_key(*row) if isinstance(row, tuple) else row.version.key


def _key(row: VersionAudit | Key) -> Key:
    return row if isinstance(row, tuple) else (storable(row.version.name), row.version.version)


def _remembering(reader: LedgerReader) -> Callable[[str], Manifest]:
    """Manifests by digest; only those that a version differs from are ever asked for."""
    fetched: dict[str, Manifest] = {}

    def fetch(digest: str) -> Manifest:
        if digest not in fetched:
            if len(fetched) >= _AT_ONCE:
                fetched.clear()
            fetched[digest] = reader.manifest(digest)
        return fetched[digest]

    return fetch
