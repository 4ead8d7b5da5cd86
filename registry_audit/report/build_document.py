"""Builds the report's document from the rows of an audit."""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from registry_audit import __version__
from registry_audit.audit.comparing import Comparison, Kind
from registry_audit.audit.copies import CopySummary
from registry_audit.audit.judging import Finding, VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.rows import OutcomeTally, Rows
from registry_audit.audit.scope import Scope
from registry_audit.audit.signatures import SIGNATURE
from registry_audit.errors import AuditError, Stopped
from registry_audit.ledger.assess import Beside
from registry_audit.ledger.record import Recorded
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.version_history import PastAudit as Past
from registry_audit.printable import restored
from registry_audit.redact import redact_location
from registry_audit.registry.address import shown_address
from registry_audit.registry.mlflow_environment import mlflow_version
from registry_audit.registry.translate import reason_of
from registry_audit.report.document import (
    AuditDocument,
    BaselineDifferenceRow,
    BaselineDigests,
    BaselineSizes,
    Changes,
    CopyRow,
    Coverage,
    DifferenceRow,
    EventRow,
    FindingRow,
    LedgerRow,
    Outcome,
    PastAudit,
    Registry,
    ResolvedRow,
    SidedDigests,
    SidedSizes,
    Summary,
    Tool,
    VersionRow,
    WaiverRow,
)
from registry_audit.report.overview import is_uncompared
from registry_audit.report.words import NOTHING_COMPARED, SIGNATURE_WORDS
from registry_audit.report.write import SpooledRows
from registry_audit.verdict import BaselineStatus, ExitStatus, Severity, SignatureStatus, Verdict


class DocumentBuilder:
    """Takes the rows of an audit one at a time, in the order of the report, and then makes the document."""

    def __init__(self, options: AuditOptions, scope: Scope, *, directory: Path | None = None) -> None:
        """Start without rows.

        Args:
            directory: where rows are kept if they do not fit in memory.
        """
        self._options, self._scope = options, scope
        self._rows = SpooledRows(directory)
        self._outcome = OutcomeTally(options.fail_on)
        self._rules, self._statuses = Counter[str](), Counter[BaselineStatus]()
        self._lives = Counter[bool]()
        self._waived_count = self._trusted_count = self._listed_count = 0
        self._signatures = Counter[SignatureStatus]()
        # Count by storage, not by version: versions that share a storage read it once. Keep hashes, as identities are
        # long.
        self._storages = set[int]()
        self._files_read = self._bytes_read = 0

    def add(self, audit: VersionAudit) -> None:
        self._rows.append(version_row(audit))
        self._outcome.add(audit)
        self._rules.update(finding.rule for finding in audit.findings)
        self._lives.update(bool(finding.new) for finding in audit.findings)
        self._waived_count += sum(1 for finding in audit.findings if finding.waiver)
        if audit.baseline is not None:
            self._statuses[audit.baseline.status] += 1
        self._listed_count += audit.only_listed
        copies = [copy for copy in (audit.run_model, audit.reg_model) if copy is not None]
        self._trusted_count += any(copy.trusted_since for copy in copies)
        self._signatures.update([audit.signature.status] if audit.signature else [])
        for copy in copies:
            if copy.was_read and hash(copy.identity) not in self._storages:
                self._storages.add(hash(copy.identity))
                self._files_read += copy.files_read
                self._bytes_read += copy.bytes_read

    def document(
        self,
        *,
        recorded: Recorded | None = None,
        ledger_url: str = "",
        interruption: tuple[ExitStatus, tuple[str, ...]] | None = None,
        generated_at: datetime | None = None,
    ) -> AuditDocument:
        """Make the document from all rows.

        Args:
            interruption: exit status and reasons, if the audit did not finish.
        """
        scope, verdicts = self._scope, self._outcome.verdicts
        outcome = self._outcome.outcome(listed_whole=scope.answered and interruption is None)
        exit_status = outcome.exit_status if interruption is None else interruption[0]
        return AuditDocument(
            generated_at=(generated_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            tool=tool(),
            registry=Registry(
                tracking_uri=shown_address(scope.tracking_uri),
                registry_uri=shown_address(scope.registry_uri),
                known_as=scope.registry or None,
                workspace=scope.workspace,
                mlflow_server=scope.mlflow_server,
            ),
            options=self._options.reported(),
            outcome=Outcome(exit_status=int(exit_status), state=outcome.state),  # type: ignore[arg-type]
            coverage=self._coverage(interruption[1] if interruption else None),
            summary=Summary(
                verdicts={verdict: verdicts[verdict] for verdict in Verdict},
                baseline={status: self._statuses[status] for status in BaselineStatus} if self._statuses else {},
                findings={rule: self._rules[rule] for rule in sorted(self._rules)},
            ),
            ledger=_ledger_row(recorded, ledger_url) if recorded else None,
            changes=self._changes(recorded) if recorded else None,
            resolved=tuple(
                ResolvedRow(
                    name=restored(gone.name),
                    version=restored(gone.version),
                    rule=gone.rule,
                    path=gone.path,
                    first_seen=gone.first_seen,
                    by=gone.by,
                )
                for gone in (recorded.resolved if recorded else ())
            ),
            history=tuple(map(_past_audit, recorded.past)) if recorded else (),
            versions=self._rows,
        )

    def _coverage(self, interruption: tuple[str, ...] | None) -> Coverage:
        scope, verdicts = self._scope, self._outcome.verdicts
        not_audited = verdicts[Verdict.UNVERIFIABLE] + verdicts[Verdict.SKIPPED]
        return Coverage(
            listed=scope.listed_count,
            audited=len(self._rows) - not_audited,
            unverifiable=verdicts[Verdict.UNVERIFIABLE],
            skipped=verdicts[Verdict.SKIPPED],
            not_sampled=scope.listed_count - len(scope.versions),
            not_reached=0 if interruption is None else len(scope.versions) - len(self._rows),
            only_listed=self._listed_count,
            not_read=self._trusted_count,
            files_read=self._files_read,
            bytes_read=self._bytes_read,
            storages_read=len(self._storages),
            notes=(*(interruption or ()), *scope.notes, *_signature_note(self._signatures)),
        )

    def _changes(self, recorded: Recorded) -> Changes:
        return Changes(
            new=self._lives[True],
            known=self._lives[False],
            resolved=len(recorded.resolved),
            waived=self._waived_count,
            since=recorded.previous_audit_at,
        )


def tool() -> Tool:
    return Tool(
        name="mlflow-registry-audit", version=__version__, mlflow=mlflow_version(), python=platform.python_version()
    )


def version_row(audit: VersionAudit) -> VersionRow:
    row = _version_row(audit)
    if not is_uncompared(row):
        return row
    reason = f"{row.reason}; nothing was compared" if row.reason else NOTHING_COMPARED
    return row.model_copy(update={"reason": reason})


def _version_row(audit: VersionAudit) -> VersionRow:
    version = audit.version
    return VersionRow(
        name=version.name,
        version=version.version,
        status=version.status,
        stage=version.stage,
        aliases=version.aliases,
        run_id=version.run_id,
        verdict=audit.verdict,
        reason=audit.reason,
        baseline=audit.baseline.status if audit.baseline else None,
        storage=audit.storage,
        compared_by=audit.comparison.compared_by if audit.comparison else None,
        run_model=_copy_row(audit.run_model),
        reg_model=_copy_row(audit.reg_model),
        differences=difference_rows(audit.comparison),
        findings=finding_rows(audit.findings),
        baseline_differences=_baseline_difference_rows(audit),
        accepted_at=audit.baseline.accepted_at if audit.baseline else None,
        accepted_by=audit.baseline.accepted_by if audit.baseline else None,
        accepted_reason=audit.baseline.reason if audit.baseline else None,
        accepted_now=audit.baseline.accepted_now if audit.baseline else None,
        read_at=f"{audit.read_at[:19]}Z" if audit.read_at else None,
        last_read_at=audit.baseline.last_read_at if audit.baseline else None,
        signature=SIGNATURE if audit.signature else None,
        signature_status=audit.signature.status if audit.signature else None,
        signature_reason=audit.signature.reason if audit.signature else None,
        seconds=audit.seconds,
        history=tuple(EventRow(at=event.at, kind=event.kind, what=event.what) for event in audit.life),
    )


def finding_rows(findings: Iterable[Finding]) -> tuple[FindingRow, ...]:
    return tuple(
        FindingRow(
            rule=f.rule,
            name=f.name,
            severity=f.severity,
            message=f.message,
            remedy=f.remedy,
            path=f.path,
            first_seen=f.first_seen,
            new=f.new,
            waived=WaiverRow(by=f.waiver.by, reason=f.waiver.reason, until=f.waiver.until) if f.waiver else None,
        )
        for f in findings
    )


def difference_rows(comparison: Comparison | None) -> tuple[DifferenceRow, ...]:
    kinds = {
        Kind.ONLY_LEFT: "only_in_run_model",
        Kind.ONLY_RIGHT: "only_in_reg_model",
        Kind.CONTENT: "content",
        Kind.TYPE: "type",
    }
    return tuple(
        DifferenceRow(
            path=difference.path,
            kind=kinds[difference.kind],  # type: ignore[arg-type]
            expected_by=difference.expected_by,
            sizes=SidedSizes(run_model=difference.sizes[0], reg_model=difference.sizes[1]),
            digests=SidedDigests(run_model=difference.digests[0], reg_model=difference.digests[1]),
        )
        for difference in (comparison.differences if comparison else ())
    )


def _baseline_difference_rows(audit: VersionAudit) -> tuple[BaselineDifferenceRow, ...]:
    kinds = {Kind.ONLY_LEFT: "removed", Kind.ONLY_RIGHT: "added", Kind.CONTENT: "content"}
    return tuple(
        BaselineDifferenceRow(
            path=difference.path,
            kind=kinds[difference.kind],  # type: ignore[arg-type]
            expected_by=difference.expected_by,
            sizes=BaselineSizes(baseline=difference.sizes[0], now=difference.sizes[1]),
            digests=BaselineDigests(baseline=difference.digests[0], now=difference.digests[1]),
        )
        for difference in (audit.baseline.differences if audit.baseline else ())
    )


def _ledger_row(recorded: Recorded, url: str) -> LedgerRow:
    return LedgerRow(
        url=shown_address(url),
        head=recorded.head.digest,
        entries=recorded.head.seq,
        audit_id=recorded.audit_id,
        accepted_new=recorded.accepted_count,
    )


def _past_audit(past: Past) -> PastAudit:
    not_audited = (Verdict.UNVERIFIABLE.value, Verdict.SKIPPED.value)
    return PastAudit(
        at=past.at,
        exit_status=past.exit_status,
        listed=past.listed,
        audited=sum(number for verdict, number in past.verdicts.items() if verdict not in not_audited),
        unverifiable=past.verdicts.get(Verdict.UNVERIFIABLE.value, 0),
        findings=None
        if past.findings is None
        else {Severity(severity): number for severity, number in past.findings.items()},
    )


def _copy_row(copy: CopySummary | None) -> CopyRow | None:
    if copy is None:
        return None
    return CopyRow(
        uri=redact_location(copy.uri),
        root=" + ".join(map(redact_location, copy.roots)) or None,
        manifest_digest=copy.manifest_digest if copy.manifest is not None and copy.manifest.entries else None,
        files=copy.file_count,
        bytes=copy.listed_bytes,
    )


def _signature_note(statuses: Counter[SignatureStatus]) -> tuple[str, ...]:
    if not statuses:
        return ()
    versions = "1 version carries" if statuses.total() == 1 else f"{statuses.total()} versions carry"
    told = ", ".join(f"{statuses[status]} {SIGNATURE_WORDS[status]}" for status in SignatureStatus if statuses[status])
    way = ", for no key was given (--signing-key)" if SignatureStatus.NOT_VERIFIED in statuses else ""
    return (f"{versions} a signature ({SIGNATURE}): {told}{way}.",)


_AT_ONCE = 250  # rows processed at a time


# An interrupted audit gets a report, too.


@dataclass(frozen=True, slots=True)
class Interruption:
    """Says why an audit or a comparison did not finish."""

    why: str
    exit_status: ExitStatus

    @classmethod
    def by(cls, error: BaseException, what: str = "the audit") -> "Interruption":
        if isinstance(error, Stopped) or not isinstance(error, Exception):  # Ctrl-C, or a signal to the process
            return cls(f"{what} was interrupted", ExitStatus.INTERRUPTED)
        status = error.exit_status if isinstance(error, AuditError) else ExitStatus.INCOMPLETE
        return cls(f"{what} was broken off: {reason_of(error)}", status)


def interrupted_report(
    ledger: Ledger | None,
    options: AuditOptions,
    scope: Scope,
    rows: Rows,
    error: BaseException,
    directory: Path | None = None,
) -> AuditDocument:
    """Make the report on the rows that exist. Nothing is recorded; the ledger is only read, if possible.

    Args:
        rows: of some of the versions of the scope, in its order.
        error: what ended the audit.
        directory: where the report's rows are kept if they do not fit in memory.
    """
    interruption = Interruption.by(error)
    notes = [f"{interruption.why}. Nothing of it was recorded in the ledger" if ledger else interruption.why]
    if ledger is not None:
        try:
            with ledger.reading() as reader:
                beside = Beside(reader, scope.registry, scope.versions)
                return _document(options, scope, _assessed(beside, rows), interruption, notes, directory)
        except AuditError as unusable:
            if unusable.message not in interruption.why:
                notes.append(f"the ledger could not be read: {unusable.message}")
            notes.append("no version was compared with its baseline")
    return _document(options, scope, rows, interruption, notes, directory)


def _assessed(beside: Beside, rows: Iterable[VersionAudit]) -> Iterator[VersionAudit]:
    remaining = iter(rows)
    while some := list(islice(remaining, _AT_ONCE)):
        yield from beside(some)


def _document(
    options: AuditOptions,
    scope: Scope,
    rows: Iterable[VersionAudit],
    interruption: Interruption,
    notes: list[str],
    directory: Path | None,
) -> AuditDocument:
    builder = DocumentBuilder(options, scope, directory=directory)
    for row in rows:
        builder.add(row)
    return builder.document(interruption=(interruption.exit_status, tuple(notes)))
