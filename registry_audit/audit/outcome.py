"""From the rows of an audit to how it ends."""

from collections import Counter
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


class OutcomeTally:
    """Is told of every row, and then knows how the audit ends."""

    def __init__(self, fail_on: Severity) -> None:
        self._fail_on = fail_on
        self._found = self._incomplete = False
        self.verdicts = Counter[Verdict](dict.fromkeys(Verdict, 0))

    def add(self, audit: Judged) -> None:
        self.verdicts[audit.verdict] += 1
        self.weigh(audit)

    def weigh(self, audit: Judged) -> None:
        """Count what is said of it, and not that it was audited."""
        self._incomplete |= audit.verdict is Verdict.UNVERIFIABLE
        if audit.verdict is Verdict.MISMATCH or audit.all_findings:
            self._weigh_findings(audit)

    def _weigh_findings(self, audit: Judged) -> None:
        """RA009 alone never makes 1: inability is incompleteness, whatever its severity."""
        standing = [finding for finding in audit.all_findings if finding.waiver is None]
        waived = {finding.rule for finding in audit.all_findings if finding.waiver is not None}
        self._found |= audit.verdict is Verdict.MISMATCH and "RA001" not in waived
        self._found |= any(f.rule != "RA009" and f.severity.rank >= self._fail_on.rank for f in standing)
        self._incomplete |= any(f.rule == "RA009" for f in standing)

    def outcome(self, *, listed_whole: bool = True) -> Outcome:
        """1 wins over 3: what was found is not hidden by what could not be read."""
        audited = sum(count for verdict, count in self.verdicts.items() if verdict not in _NOT_AUDITED)
        if self._found:
            return Outcome(ExitStatus.FINDINGS)
        if self._incomplete or audited == 0 or not listed_whole:
            return Outcome(ExitStatus.INCOMPLETE)
        return Outcome(ExitStatus.CLEAN)


def outcome_of(
    audits: Iterable[Judged], fail_on: Severity, *, beside: Iterable[Judged] = (), listed_whole: bool = True
) -> Outcome:
    """
    Args:
        beside: what else was looked at: its findings count, and it takes the place of nothing that was not audited.
    """
    tally = OutcomeTally(fail_on)
    for audit in audits:
        tally.add(audit)
    for audit in beside:
        tally.weigh(audit)
    return tally.outcome(listed_whole=listed_whole)
