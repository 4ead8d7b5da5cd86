"""From the rows of an audit to the report's document."""

import platform
from collections import Counter
from datetime import UTC, datetime

from registry_audit import __version__
from registry_audit.audit.comparing import Comparison, Kind
from registry_audit.audit.copies import ModelCopy
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.outcome import outcome_of
from registry_audit.audit.scope import Scope
from registry_audit.audit.signatures import SIGNATURE
from registry_audit.ledger.record import Recorded
from registry_audit.redact import redact
from registry_audit.report.document import (
    AuditDocument,
    BaselineDifferenceRow,
    BaselineDigests,
    BaselineSizes,
    Changes,
    CopyRow,
    Coverage,
    DifferenceRow,
    FindingRow,
    LedgerRow,
    Outcome,
    Registry,
    ResolvedRow,
    SidedDigests,
    SidedSizes,
    Summary,
    Tool,
    VersionRow,
    WaiverRow,
)
from registry_audit.report.words import SIGNATURE_WORDS
from registry_audit.verdict import BaselineStatus, SignatureStatus, Verdict


def build_document(
    audits: tuple[VersionAudit, ...],
    options: AuditOptions,
    scope: Scope,
    *,
    recorded: Recorded | None = None,
    ledger_url: str = "",
    generated_at: datetime | None = None,
) -> AuditDocument:
    """The report of an audit; the same for the same rows in any order, but for `generated_at`."""
    ordered = sorted(audits, key=lambda audit: audit.version.key)
    outcome = outcome_of(ordered, options.fail_on, listed_whole=scope.listed_whole)
    verdicts = Counter(audit.verdict for audit in ordered)
    rules = Counter(finding.rule for audit in ordered for finding in audit.findings)
    return AuditDocument(
        generated_at=(generated_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool=tool(),
        registry=Registry(
            tracking_uri=redact(scope.tracking_uri),
            registry_uri=redact(scope.registry_uri),
            mlflow_server=scope.mlflow_server,
        ),
        options=options.reported(),
        outcome=Outcome(exit_status=int(outcome.exit_status), state=outcome.state),  # type: ignore[arg-type]
        coverage=_coverage(ordered, scope, verdicts),
        summary=Summary(
            verdicts={verdict: verdicts[verdict] for verdict in Verdict},
            baseline=_baseline_counts(ordered),
            findings={rule: rules[rule] for rule in sorted(rules)},
        ),
        ledger=_ledger_row(recorded, ledger_url) if recorded else None,
        changes=_changes(ordered, recorded) if recorded else None,
        resolved=tuple(
            ResolvedRow(
                name=gone.name, version=gone.version, rule=gone.rule, path=gone.path, first_seen=gone.first_seen
            )
            for gone in (recorded.resolved if recorded else ())
        ),
        versions=tuple(version_row(audit, options.digest) for audit in ordered),
    )


def tool() -> Tool:
    from mlflow.version import VERSION as MLFLOW_VERSION

    return Tool(
        name="mlflow-registry-audit", version=__version__, mlflow=MLFLOW_VERSION, python=platform.python_version()
    )


def version_row(audit: VersionAudit, algorithm: str) -> VersionRow:
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
        run_model=_copy_row(audit.run_model, algorithm),
        reg_model=_copy_row(audit.reg_model, algorithm),
        differences=difference_rows(audit.comparison),
        findings=finding_rows(audit),
        baseline_differences=_baseline_difference_rows(audit),
        accepted_at=audit.baseline.accepted_at if audit.baseline else None,
        accepted_by=audit.baseline.accepted_by if audit.baseline else None,
        last_read_at=audit.baseline.last_read_at if audit.baseline else None,
        signature=SIGNATURE if audit.signature else None,
        signature_status=audit.signature.status if audit.signature else None,
        signature_reason=audit.signature.reason if audit.signature else None,
    )


def finding_rows(audit: VersionAudit) -> tuple[FindingRow, ...]:
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
        for f in audit.findings
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


def _baseline_counts(audits: list[VersionAudit]) -> dict[BaselineStatus, int]:
    statuses = Counter(audit.baseline.status for audit in audits if audit.baseline)
    return {status: statuses[status] for status in BaselineStatus} if statuses else {}


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
        url=redact(url),
        head=recorded.head.digest,
        entries=recorded.head.seq,
        audit_id=recorded.audit_id,
        accepted_new=recorded.accepted_count,
    )


def _changes(audits: list[VersionAudit], recorded: Recorded) -> Changes:
    findings = [finding for audit in audits for finding in audit.findings]
    return Changes(
        new=sum(1 for finding in findings if finding.new),
        known=sum(1 for finding in findings if not finding.new),
        resolved=len(recorded.resolved),
        waived=sum(1 for finding in findings if finding.waiver),
        since=recorded.previous_audit_at,
    )


def _copy_row(copy: ModelCopy | None, algorithm: str) -> CopyRow | None:
    if copy is None:
        return None
    manifest = copy.manifest(algorithm)
    return CopyRow(
        uri=redact(copy.location.uri),
        root=redact(" + ".join(copy.location.roots)) or None,
        manifest_digest=manifest.digest() if manifest is not None and manifest.entries else None,
        files=len(copy.listing.files),
        bytes=copy.listing.bytes,
    )


def _signature_note(audits: list[VersionAudit]) -> tuple[str, ...]:
    statuses = Counter(audit.signature.status for audit in audits if audit.signature)
    if not statuses:
        return ()
    versions = "1 version carries" if statuses.total() == 1 else f"{statuses.total()} versions carry"
    told = ", ".join(f"{statuses[status]} {SIGNATURE_WORDS[status]}" for status in SignatureStatus if statuses[status])
    way = ", for no key was given (--signing-key)" if SignatureStatus.NOT_VERIFIED in statuses else ""
    return (f"{versions} a signature ({SIGNATURE}): {told}{way}.",)


def _was_trusted(audit: VersionAudit) -> bool:
    return any(copy and copy.reading and copy.reading.trusted_since for copy in (audit.run_model, audit.reg_model))


def _coverage(audits: list[VersionAudit], scope: Scope, verdicts: Counter[Verdict]) -> Coverage:
    # Counted by storage, not by version: what several versions share was read once.
    read = {
        copy.identity: copy.reading
        for audit in audits
        for copy in (audit.run_model, audit.reg_model)
        if copy is not None and copy.reading is not None
    }
    not_audited = verdicts[Verdict.UNVERIFIABLE] + verdicts[Verdict.SKIPPED]
    return Coverage(
        listed=scope.listed_count,
        audited=len(audits) - not_audited,
        unverifiable=verdicts[Verdict.UNVERIFIABLE],
        skipped=verdicts[Verdict.SKIPPED],
        not_sampled=scope.listed_count - len(scope.versions),
        not_read=sum(1 for audit in audits if _was_trusted(audit)),
        files_read=sum(reading.files_read for reading in read.values()),
        bytes_read=sum(reading.bytes_read for reading in read.values()),
        storages_read=len(read),
        notes=(*scope.notes, *_signature_note(audits)),
    )
