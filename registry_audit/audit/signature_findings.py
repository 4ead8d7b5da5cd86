"""The signatures in a version's copies, and the findings they make."""

from dataclasses import replace

from registry_audit.audit.copies import Copy, ModelCopy
from registry_audit.audit.judging import VersionAudit, findings_of, sorted_findings
from registry_audit.audit.signatures import SIGNATURE, SignatureVerifier, SignatureView, judge_signature
from registry_audit.model.listing import Problem
from registry_audit.verdict import SignatureStatus, Storage


def with_signature(audit: VersionAudit, run: Copy, reg: Copy, verifier: SignatureVerifier | None) -> VersionAudit:
    """The row with what is to be said of its signature: of two copies' the worse one.

    That a version has none is no finding: without a signature nobody promised one.
    """
    copies = [copy for copy in _copies(audit, run, reg) if isinstance(copy, ModelCopy)]
    judged = [(copy, view) for copy in copies if (view := judge_signature(copy, verifier))]
    if not judged:
        return audit
    copy, worst = max(judged, key=lambda pair: pair[1].status.rank)
    if audit.storage is not Storage.SHARED:
        worst = SignatureView(worst.status, f"{copy.role.words}: {worst.reason}")
    findings = findings_of(audit.version, _problems(copy, worst))
    return replace(audit, signature=worst, findings=sorted_findings((*audit.findings, *findings)))


def _copies(audit: VersionAudit, run: Copy, reg: Copy) -> tuple[Copy, ...]:
    """The registry model first: it is what the version serves."""
    one_storage = audit.storage is Storage.SHARED and isinstance(reg, ModelCopy)
    return (reg,) if one_storage else (reg, run)


def _problems(copy: ModelCopy, view: SignatureView) -> list[Problem]:
    match view.status:
        case SignatureStatus.INVALID:
            return [Problem("RA014", f"its signature does not hold: {view.reason}", SIGNATURE, blocks=False)]
        # What was not read has a finding of its own already.
        case SignatureStatus.UNVERIFIABLE if not any(problem.blocks for problem in copy.problems):
            return [Problem("RA009", f"its signature cannot be verified: {view.reason}", SIGNATURE, blocks=False)]
        case _:
            return []
