"""Records one audit in the ledger: its beginning before anything is read, and all results at its end.

The end is one transaction under the ledger's lock. So versions are compared with the baselines of that moment, and if
two audits see a new version at the same time, only the first one accepts it. Rows are processed some hundreds at a
time, so memory does not grow with the registry.
"""

import getpass
import heapq
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.named_versions import VersionPair
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.rows import OutcomeTally
from registry_audit.audit.scope import Scope
from registry_audit.audit.session import Session
from registry_audit.audit.signatures import SIGNATURE
from registry_audit.errors import NotFound, UsageError, did_you_mean
from registry_audit.ledger.assess import Beside, is_acceptable, key_of
from registry_audit.ledger.audit_entries import (
    ON_FIRST_SIGHT,
    Resolved,
    Resolving,
    accepted_draft,
    drafts_of,
    is_settled,
    manifests_of,
)
from registry_audit.ledger.chain import Draft, Entry, Kind, clock_note
from registry_audit.ledger.connecting import remember
from registry_audit.ledger.entry_bodies import (
    Accepted,
    AuditFinished,
    AuditStarted,
    FindingResolved,
    Grade,
    Read,
    body_of,
)
from registry_audit.ledger.identity import recognise, registry_key, versions_to_recognise, why_another
from registry_audit.ledger.memory import FindingKey, Key, Memory, finding_key
from registry_audit.ledger.store import Ledger, LedgerReader, LedgerWriter
from registry_audit.ledger.version_history import (
    Expected,
    PastAudit,
    absent_keys,
    counted,
    lives,
    past_audits,
    with_drafts,
)
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable, restored, storable
from registry_audit.registry.address import active_workspace, parse_address, registry_identity, shown_address
from registry_audit.registry.connection import Server, identity_of
from registry_audit.registry.version import version_key
from registry_audit.verdict import BaselineStatus

_AT_ONCE = 250  # rows processed at a time

Keep = Callable[[VersionAudit], None]
Tell = Callable[[Collection[FindingKey]], None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """This is the audit as the ledger recorded it."""

    resolved: tuple[Resolved, ...]
    head: Entry
    audit_id: str
    previous_audit_at: str | None
    accepted_count: int
    past: tuple[PastAudit, ...] = ()  # the last audits of the same selection, including this one


def registry_of(registry_uri: str) -> str:
    """Return the identity of the registry at an address, without connecting to it. Locks and interrupted audits use it.

    Raises:
        UsageError: the address cannot be parsed.
    """
    return registry_identity(parse_address(registry_uri), active_workspace())


def begin(ledger: Ledger, scope: Scope, options: AuditOptions, audit_id: str) -> tuple[Scope, Entry]:
    """Record that an audit began. An audit that never finishes stays visible as interrupted.

    Returns:
        The scope, with the registry replaced by the ledger's key for it; and the new head.

    Raises:
        UsageError: the ledger's baselines use another digest algorithm, or the registry may be a copy of one that the
            ledger knows.
        NotFound: a model named by the audit is neither in the registry nor in the ledger.
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing() as writer:
        jumped = clock_note(writer.head())
        listed = scope.everything or scope.versions
        recognised = recognise(writer, scope.registry, options.registry_name, listed)
        registry = recognised.key
        another = None
        if options.accept_new and options.registry_name is None:
            whole = options.filter is None and scope.listed_whole
            another = why_another(writer, registry, scope.registry, listed, whole=whole)
        algorithm = algorithm_of(writer, registry) or options.digest
        if algorithm != options.digest:
            raise UsageError(
                f"the baselines in the ledger are {algorithm}: audit with --digest {algorithm}, "
                "or keep another ledger with --ledger"
            )
        accepted = writer.latest_of_versions(Kind.ACCEPTED, registry) if scope.missing else ()
        known = {restored(entry.name) for entry in accepted}
        for name in scope.missing:
            if name not in known:
                close = did_you_mean(name, {version.name for version in listed})
                raise NotFound(f"there is no registered model '{printable(name)}' in {printable(registry)}{close}")
        started = AuditStarted(
            options=options.reported(),
            listed=scope.listed_count,
            selected=len(scope.versions),
            tracking_uri=shown_address(scope.tracking_uri),
            registry_uri=shown_address(scope.registry_uri),
            workspace=scope.workspace,
        ).draft(registry, audit_id=audit_id)
        head = writer.append([started] if recognised.draft is None else [recognised.draft, started])
    notes = (*scope.notes, *(note for note in (recognised.note, another, jumped) if note is not None))
    return replace(scope, registry=registry, accepts_new=another is None, everything=(), notes=notes), head


def algorithm_of(reader: LedgerReader, registry: str) -> str | None:
    """Return the digest algorithm of a registry's baselines, or None if it has no baseline."""
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry):
        if accepted := body_of(entry, Accepted).manifest:
            return accepted.partition(":")[0]
    return None


def algorithm_in_use(reader: LedgerReader, registry: str) -> str | None:
    """Return the digest algorithm of a registry's baselines or else of its readings, or None if it has neither."""
    if (algorithm := algorithm_of(reader, registry)) is not None:
        return algorithm
    for entry in reader.latest_of_versions(Kind.READING, registry):
        if read := body_of(entry, Read).manifest:
            return read.partition(":")[0]
    return None


def finish(
    ledger: Ledger,
    scope: Scope,
    options: AuditOptions,
    audit_id: str,
    audits: Iterable[VersionAudit],
    keep: Keep,
    hidden: Mapping[Key, str] = MappingProxyType({}),
    tell: Tell | None = None,
) -> Recorded:
    """Compare every row with the ledger, and record the audit.

    Args:
        audits: sorted by name, then number.
        keep: called with every assessed row and every vanished version, in that same order.
        hidden: versions with a baseline or an open finding that were not listed and are not known to be gone, each
            with the reason.
        tell: set by a caller that notifies people of new findings. Called after recording, with the findings that are
            not new but of which nobody was notified, because only a check or a command has found them.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    registry = scope.registry
    with ledger.writing(again=True) as writer:
        finishing = _Finishing(writer, registry, scope, options, audit_id, keep, hidden, tells=tell is not None)
        head = writer.append(finishing.drafts(audits))
        recorded = Recorded(
            resolved=finishing.resolved,
            head=head,
            audit_id=audit_id,
            previous_audit_at=finishing.memory.previous_audit.at if finishing.memory.previous_audit else None,
            accepted_count=finishing.accepted_count,
            past=past_audits(writer, registry, audit_id),
        )
    if tell is not None:
        tell(finishing.untold)
    return recorded


def who() -> str:
    """Return the user and the machine of this process, as `user@host`: the default for who accepts."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"unknown@{socket.gethostname()}"


class _Finishing:
    """Ends one audit while it holds the ledger's lock."""

    def __init__(
        self,
        writer: LedgerWriter,
        registry: str,
        scope: Scope,
        options: AuditOptions,
        audit_id: str,
        keep: Keep,
        hidden: Mapping[Key, str],
        *,
        tells: bool,
    ) -> None:
        self._writer, self._registry, self._scope, self._options = writer, registry, scope, options
        self._audit_id, self._keep, self._who = audit_id, keep, who()
        self._expected, self._hidden = Expected(scope, options), hidden
        self._beside = Beside(writer, registry, scope.versions, hidden, self._expected.is_unlisted)
        self._tells = tells
        self.accepted_count = 0
        self.resolved: tuple[Resolved, ...] = ()
        self.untold: list[FindingKey] = []  # findings that are not new, but of which nobody was notified before

    @property
    def memory(self) -> Memory:
        return self._beside.memory

    def drafts(self, audits: Iterable[VersionAudit]) -> Iterator[Draft]:
        resolving, outcome = Resolving(self.memory, self._hidden), OutcomeTally(self._options.fail_on)
        findings = Counter[Grade]()
        for row, accepted in map(self._accepted, self._assessed(audits)):
            drafts = [*drafts_of(self._registry, self._audit_id, row), *accepted]
            self._keep(replace(row, life=with_drafts(row.life, drafts, self._writer.at)))
            resolving.show(row)
            outcome.add(row)
            standing = [finding for finding in row.findings if finding.waiver is None]
            findings.update(finding.severity.value for finding in standing)
            keys = (finding_key(row.version, finding) for finding in standing if not finding.new)
            self.untold += (key for key in keys if key in self.memory.untold)
            yield from drafts
        gone_now = resolving.resolved(self._expected)
        self.resolved = (*gone_now, *resolving.waived)
        for gone in gone_now:
            resolved = FindingResolved(rule=gone.rule, path=gone.path, first_seen=gone.first_seen, by=gone.by)
            yield resolved.draft(self._registry, gone.name, gone.version, self._audit_id)
        ending = outcome.outcome(listed_whole=self._scope.answered)
        finished = AuditFinished(
            exit_status=int(ending.exit_status),
            verdicts={verdict.value: count for verdict, count in outcome.verdicts.items()},
            listed=self._scope.listed_count,
            baselines=self._writer.baselines(),
            findings=counted(findings),
            told=tuple(self.untold) if self._tells else None,
        )
        yield finished.draft(self._registry, audit_id=self._audit_id)

    def _assessed(self, audits: Iterable[VersionAudit]) -> Iterator[VersionAudit]:
        """Yield every row compared with its baseline and, in order, the versions that vanished."""
        absent = absent_keys(self._writer, self._registry, self._expected)
        gone = [key for key in absent if key not in self._beside.renamed.followed]
        everything: tuple[Iterable[VersionAudit | Key], ...] = (audits, gone)
        rows = heapq.merge(*everything, key=_order)
        while some := list(islice(rows, _AT_ONCE)):
            assessed = self._beside(some)
            manifests: dict[str, Manifest] = {}
            for row in assessed:
                manifests |= manifests_of(row)
            self._writer.keep_manifests(manifests)
            known = lives(self._writer, self._registry, [key_of(row) for row in assessed])
            yield from (replace(row, life=known.get(key_of(row), ())) for row in assessed)

    def _accepted(self, row: VersionAudit) -> tuple[VersionAudit, tuple[Draft, ...]]:
        """Return the row, and an entry if this audit accepts it; the row then says so too."""
        manifest = row.reg_model.manifest if row.reg_model else None
        if (
            self._options.accept_new
            and self._scope.accepts_new
            and row.baseline is not None
            and row.baseline.status is BaselineStatus.NEW
            and manifest is not None
            and is_acceptable(row)
            and not self._is_known_not_to_hold(row)
        ):
            self.accepted_count += 1
            draft = accepted_draft(self._registry, self._audit_id, row, manifest, self._who, ON_FIRST_SIGHT)
            view = replace(
                row.baseline,
                accepted_at=self._writer.at,
                accepted_by=self._who,
                reason=ON_FIRST_SIGHT,
                accepted_now=True,
            )
            return replace(row, baseline=view), (draft,)
        return row, ()

    def _is_known_not_to_hold(self, row: VersionAudit) -> bool:
        """Say whether an audit with a key found the signature invalid, and this audit did not check it."""
        found = (*key_of(row), "RA014", SIGNATURE) in self.memory.open_findings
        return found and not is_settled(row, "RA014", SIGNATURE)


def _order(row: VersionAudit | Key) -> tuple[str, int, str]:
    return version_key(*row) if isinstance(row, tuple) else row.version.key


# `check` and `compare` compare a single version with its baseline and record it.


def remembered(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> VersionAudit:
    """Return the row of one version compared with its baseline, and record it as an audit of that version alone.

    A row of only one of the two copies is not recorded: half a reading would replace the last full one.

    Raises:
        UsageError: the registry may be a copy of one that the ledger knows, and `--registry-name` has to say which it
            is.
        CouldNotVerify: the registry is new to the ledger and cannot be listed.
        LedgerError: the ledger cannot be read or written; nothing was recorded.
    """
    if audit.of_one_copy:
        return _looked_up(ledger, options, session, audit)
    # With a filter set, a version that is not listed does not count as gone.
    asked = options.model_copy(
        update={"models": (), "latest": None, "subset": None, "filter": f"version {storable(audit.version.label)}"}
    )
    audit_id, rows = uuid.uuid4().hex, list[VersionAudit]()
    scope, head = begin(ledger, _scope_of(ledger, options, session, audit), asked, audit_id)
    remember(ledger, head)
    recorded = finish(ledger, scope, asked, audit_id, [audit], rows.append)
    remember(ledger, recorded.head)
    return next(row for row in rows if key_of(row) == key_of(audit))


def pair_remembered(
    ledger: Ledger, options: tuple[AuditOptions, AuditOptions], sessions: tuple[Session, Session], pair: VersionPair
) -> VersionPair:
    """Return two versions that were compared, each compared with its baseline too and recorded.

    Raises:
        UsageError, CouldNotVerify, LedgerError: see `remembered`.
    """
    one, two = (remembered(ledger, *with_row) for with_row in zip(options, sessions, pair.versions, strict=True))
    return pair.with_versions(one, two)


def with_digest_of(ledger: Ledger | None, options: AuditOptions, server: Server | None = None) -> AuditOptions:
    """Return the options with the digest algorithm that the ledger has for the registry: digests can be compared then.

    Args:
        server: the server with its credentials, if the options do not contain all of it.
    """
    if ledger is None:
        return options
    algorithm = _algorithm_for(ledger, options, server or options.server)
    return options if algorithm is None else options.model_copy(update={"digest": algorithm})


def one_digest(
    ledger: Ledger | None, options: tuple[AuditOptions, AuditOptions], servers: tuple[Server, Server]
) -> tuple[AuditOptions, AuditOptions]:
    """Return the options of two versions to compare, with the digest algorithm that the ledger has for both.

    Raises:
        UsageError: the ledger has different algorithms for the two registries.
    """
    if ledger is None:
        return options
    known = (_algorithm_for(ledger, *each) for each in zip(options, servers, strict=True))
    chosen = [algorithm for algorithm in known if algorithm is not None]
    if len(set(chosen)) > 1:
        raise UsageError(
            f"the ledger knows the first registry by {chosen[0]} and the second by {chosen[1]}: compare with "
            "--ledger none, and check each version by itself"
        )
    one, two = (each.model_copy(update={"digest": chosen[0]}) if chosen else each for each in options)
    return one, two


def _algorithm_for(ledger: Ledger, options: AuditOptions, server: Server) -> str | None:
    identity = identity_of(server)
    with ledger.reading() as reader:
        key = registry_key(reader, identity, options.registry_name)
        return algorithm_in_use(reader, key) if key else None


def _looked_up(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> VersionAudit:
    scope = _scope_of(ledger, options, session, audit)
    with ledger.reading() as reader:
        found = recognise(reader, scope.registry, options.registry_name, scope.everything)
        (row,) = Beside(reader, found.key, scope.versions)([audit])
    return row


def _scope_of(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> Scope:
    version, connection = audit.version, session.connection
    return Scope(
        versions=(version,),
        everything=versions_to_recognise(ledger, session, options.registry_name, (version,)),
        tracking_uri=connection.tracking_uri,
        registry_uri=connection.registry_uri,
        registry=connection.identity,
        workspace=connection.workspace,
        mlflow_server=None,
        listed_count=1,
        listed=frozenset({(version.name, version.version)}),
    )
