"""From the rows of an audit to how it ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from registry_audit.audit.judging import Finding
from registry_audit.verdict import ExitStatus, Severity, Verdict

_NOT_AUDITED = (Verdict.UNVERIFIABLE, Verdict.SKIPPED)


@dataclass(frozen=True, slots=True)
class Outcome:
    exit_status: ExitStatus

    @property
    def state(self) -> str:
        """Also the name of a flow run's final state, capitalised."""
        return {ExitStatus.CLEAN: "clean", ExitStatus.FINDINGS: "findings"}.get(self.exit_status, "incomplete")


class Judged(Protocol):
    """What ends an audit one way or another: a version's row, or a pair's."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def all_findings(self) -> tuple[Finding, ...]: ...


def outcome_of(audits: Iterable[Judged], fail_on: Severity, *, listed_whole: bool = True) -> Outcome:
    """1 wins over 3: what was found is not hidden by what could not be read.

    RA009 alone never makes 1: inability is incompleteness, whatever its severity.
    """
    found = incomplete = False
    audited = 0
    for audit in audits:
        audited += audit.verdict not in _NOT_AUDITED
        incomplete |= audit.verdict is Verdict.UNVERIFIABLE
        standing = [finding for finding in audit.all_findings if finding.waiver is None]
        waived = {finding.rule for finding in audit.all_findings if finding.waiver is not None}
        found |= audit.verdict is Verdict.MISMATCH and "RA001" not in waived
        found |= any(f.rule != "RA009" and f.severity.rank >= fail_on.rank for f in standing)
        incomplete |= any(f.rule == "RA009" for f in standing)
    if found:
        return Outcome(ExitStatus.FINDINGS)
    if incomplete or audited == 0 or not listed_whole:
        return Outcome(ExitStatus.INCOMPLETE)
    return Outcome(ExitStatus.CLEAN)
