"""What one pass over the rows of a report tells: counts, and the worst findings."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from registry_audit.registry.version import version_key as by_number
from registry_audit.rules import MODEL_MISSING, UNVERIFIABLE
from registry_audit.verdict import BaselineStatus, Severity, Verdict

if TYPE_CHECKING:
    from registry_audit.report.document import AuditDocument, BaselineDifferenceRow, FindingRow, VersionRow

_T = TypeVar("_T")

FINDING_LIMIT = 10_000  # told one by one; audit.json has all of them
SAMPLE = 200  # of the rows, for the renderings that tell only the first of them


@dataclass(frozen=True, slots=True)
class PlacedFinding:
    """A finding with the version it was found at. `number` counts from 1, the worst first."""

    number: int
    version: "VersionRow"
    finding: "FindingRow"


Changed = tuple["VersionRow", "BaselineDifferenceRow"]


@dataclass(slots=True)
class Overview:
    standing: Counter[Severity] = field(default_factory=Counter)  # findings that nobody answers for
    standing_versions: Counter[Severity] = field(default_factory=Counter)  # by their worst such finding
    waived: Counter[Severity] = field(default_factory=Counter)
    vanished_count: int = 0
    missing_count: int = 0  # unverifiable versions that have no model to read: see `is_missing`
    with_baseline_count: int = 0
    uncompared_count: int = 0  # see `is_uncompared`
    as_accepted_count: int = 0  # versions that were read now, and hold the bytes of their baseline
    accepted_days: list[str] = field(default_factory=list)  # of those baselines, UTC: the first and the last
    trusted_count: int = 0  # versions that were not read
    oldest: list["VersionRow"] = field(default_factory=list)  # of those, the ones not read for longest first
    first: list["VersionRow"] = field(default_factory=list)  # at most SAMPLE, as the next three
    unclean: list["VersionRow"] = field(default_factory=list)
    unclean_count: int = 0
    unexplained: list[Changed] = field(default_factory=list)  # files that are not as accepted
    explained: list[Changed] = field(default_factory=list)  # the same, where a rule explains it
    changed_count: int = 0
    placed: tuple[PlacedFinding, ...] = ()  # standing ones first, then the waived; in each part the worst first

    @property
    def oldest_reading(self) -> str | None:
        """UTC; of the versions that were not read."""
        return self.oldest[0].last_read_at if self.oldest else None

    @property
    def finding_count(self) -> int:
        return self.standing.total() + self.waived.total()


def overview_of(document: "AuditDocument") -> Overview:
    """Made once for the rows of a document, however many renderings ask."""
    global _last
    rows, overview = _last
    if rows is not document.versions:
        overview = _overview(document.versions)
        _last = document.versions, overview
    return overview


def is_vanished(row: "VersionRow") -> bool:
    """A version that was accepted and is no longer in the registry: a row of the report, not of the listing."""
    return row.baseline is BaselineStatus.VANISHED and row.verdict is Verdict.SKIPPED


def is_missing(row: "VersionRow") -> bool:
    """A version that claims to be loadable and has nothing behind it."""
    return row.status == "READY" and any(finding.rule == MODEL_MISSING.id for finding in row.findings)


def is_clean(row: "VersionRow") -> bool:
    return row.verdict.passes and not row.findings


def is_uncompared(row: "VersionRow") -> bool:
    """One storage is behind both copies, and there is no baseline: the bytes were read and held against nothing."""
    return row.verdict is Verdict.SAME_STORAGE and row.baseline in (None, BaselineStatus.NEW)


def is_as_accepted(row: "VersionRow") -> bool:
    """Every byte was read by this audit, and is what was accepted before it."""
    known = row.baseline is BaselineStatus.UNCHANGED and row.accepted_at is not None and not row.accepted_now
    return known and row.last_read_at is None and row.verdict.passes and not row.baseline_differences


def version_key(row: "VersionRow") -> tuple[str, int, str]:
    """Sorts version 10 after version 9."""
    return by_number(row.name, row.version)


def may_fail(finding: "FindingRow") -> bool:
    """Whether it makes the exit status 1 if it is severe enough.

    RA009 never does: being unable to verify has a status of its own. Nor does what is waived.
    """
    return finding.rule != UNVERIFIABLE.id and finding.waived is None


def _overview(rows: Sequence["VersionRow"]) -> Overview:
    overview = Overview()

    def findings() -> Iterator[tuple["VersionRow", "FindingRow"]]:
        for row in rows:
            _count(row, overview)
            yield from ((row, finding) for finding in row.findings)

    worst = heapq.nsmallest(FINDING_LIMIT, findings(), key=_worst_first)
    overview.oldest = heapq.nsmallest(SAMPLE, overview.oldest, key=_oldest_first)
    overview.placed = tuple(PlacedFinding(number, row, finding) for number, (row, finding) in enumerate(worst, start=1))
    return overview


def _worst_first(pair: tuple["VersionRow", "FindingRow"]) -> tuple[object, ...]:
    row, finding = pair
    return finding.waived is not None, -finding.severity.rank, finding.rule, version_key(row), finding.path or ""


def _oldest_first(row: "VersionRow") -> tuple[object, ...]:
    return row.last_read_at, version_key(row)


def _count(row: "VersionRow", overview: Overview) -> None:
    vanished = is_vanished(row)
    overview.vanished_count += vanished
    overview.with_baseline_count += row.baseline is not None
    overview.uncompared_count += is_uncompared(row)
    if is_as_accepted(row):
        overview.as_accepted_count += 1
        days = [*overview.accepted_days, (row.accepted_at or "")[:10]]
        overview.accepted_days = [min(days), max(days)]
    _keep(overview.first, row)
    if not is_clean(row):
        overview.unclean_count += 1
        _keep(overview.unclean, row)
    for difference in row.baseline_differences:
        overview.changed_count += 1
        _keep(overview.unexplained if difference.expected_by is None else overview.explained, (row, difference))
    if row.last_read_at and not vanished:
        overview.trusted_count += 1
        overview.oldest.append(row)
        if len(overview.oldest) > 2 * SAMPLE:
            overview.oldest = heapq.nsmallest(SAMPLE, overview.oldest, key=_oldest_first)
    if not row.findings:
        return
    for finding in row.findings:
        (overview.standing if finding.waived is None else overview.waived)[finding.severity] += 1
    overview.missing_count += row.verdict is Verdict.UNVERIFIABLE and is_missing(row)
    standing = [finding.severity for finding in row.findings if finding.waived is None]
    if standing:
        overview.standing_versions[max(standing, key=lambda severity: severity.rank)] += 1


def _keep(kept: list[_T], one: _T) -> None:
    if len(kept) < SAMPLE:
        kept.append(one)


_last: tuple[object, Overview] = (None, Overview())
