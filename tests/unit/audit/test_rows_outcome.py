"""How an audit ends. The table of exit statuses is a contract: see the README."""

import itertools
from dataclasses import dataclass

import pytest

from registry_audit.audit.judging import Finding
from registry_audit.audit.rows import outcome_of
from registry_audit.verdict import ExitStatus, Severity, Verdict

LOW, MEDIUM, HIGH, CRITICAL = Severity


@dataclass(frozen=True)
class Row:
    verdict: Verdict
    all_findings: tuple[Finding, ...] = ()


def row(verdict: Verdict, *findings: tuple[str, Severity]) -> Row:
    return Row(verdict, tuple(Finding(rule, severity, "", "") for rule, severity in findings))


CLEAN = row(Verdict.SAME_STORAGE)
UNVERIFIABLE = row(Verdict.UNVERIFIABLE, ("RA009", MEDIUM))
SKIPPED = row(Verdict.SKIPPED, ("RA006", LOW))
DIFFERENT = row(Verdict.MISMATCH, ("RA001", CRITICAL))
MISSING = row(Verdict.UNVERIFIABLE, ("RA003", CRITICAL))


@pytest.mark.parametrize(
    ("rows", "status", "state"),
    [
        ([CLEAN], 0, "clean"),
        ([row(Verdict.MATCH)], 0, "clean"),
        ([row(Verdict.EQUIVALENT)], 0, "clean"),
        ([CLEAN, SKIPPED], 0, "clean"),
        ([DIFFERENT], 1, "findings"),
        ([MISSING], 1, "findings"),
        ([CLEAN, DIFFERENT], 1, "findings"),
        ([UNVERIFIABLE], 3, "incomplete"),
        ([CLEAN, UNVERIFIABLE], 3, "incomplete"),
        ([row(Verdict.UNVERIFIABLE)], 3, "incomplete"),
        ([row(Verdict.MATCH, ("RA009", LOW))], 3, "incomplete"),
        ([], 3, "incomplete"),
        ([SKIPPED], 3, "incomplete"),
        ([UNVERIFIABLE, DIFFERENT, CLEAN], 1, "findings"),
        ([row(Verdict.UNVERIFIABLE, ("RA009", MEDIUM), ("RA013", HIGH))], 1, "findings"),
    ],
)
def test_the_table(rows: list[Row], status: int, state: str) -> None:
    for order in itertools.permutations(rows):
        outcome = outcome_of(order, MEDIUM)
        assert (outcome.exit_status, outcome.state) == (status, state)


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("fail_on", list(Severity))
def test_inability_alone_is_never_a_finding(severity: Severity, fail_on: Severity) -> None:
    assert outcome_of([row(Verdict.UNVERIFIABLE, ("RA009", severity))], fail_on).exit_status is ExitStatus.INCOMPLETE


@pytest.mark.parametrize("severity", list(Severity))
@pytest.mark.parametrize("fail_on", list(Severity))
def test_the_threshold_is_included(severity: Severity, fail_on: Severity) -> None:
    status = outcome_of([row(Verdict.SAME_STORAGE, ("RA007", severity))], fail_on).exit_status
    assert status == (1 if [*Severity].index(severity) >= [*Severity].index(fail_on) else 0)


@pytest.mark.parametrize("fail_on", list(Severity))
def test_a_difference_is_a_finding_whatever_the_threshold(fail_on: Severity) -> None:
    assert outcome_of([row(Verdict.MISMATCH, ("RA001", LOW))], fail_on).exit_status is ExitStatus.FINDINGS
    assert outcome_of([row(Verdict.MISMATCH)], fail_on).exit_status is ExitStatus.FINDINGS


def test_what_was_looked_at_besides_takes_the_place_of_nothing() -> None:
    """Of two versions of which one is not finished nothing was compared, although the other one could be read."""
    assert outcome_of([SKIPPED], MEDIUM, beside=[CLEAN, SKIPPED]).exit_status is ExitStatus.INCOMPLETE
    assert outcome_of([CLEAN], MEDIUM, beside=[SKIPPED, SKIPPED]).exit_status is ExitStatus.CLEAN
    assert outcome_of([CLEAN], MEDIUM, beside=[UNVERIFIABLE]).exit_status is ExitStatus.INCOMPLETE
    assert outcome_of([CLEAN], MEDIUM, beside=[DIFFERENT]).exit_status is ExitStatus.FINDINGS


def test_a_registry_that_was_not_listed_whole_is_not_clean() -> None:
    assert outcome_of([CLEAN], MEDIUM, listed_whole=False).exit_status is ExitStatus.INCOMPLETE
    assert outcome_of([DIFFERENT], MEDIUM, listed_whole=False).exit_status is ExitStatus.FINDINGS
