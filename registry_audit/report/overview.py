"""Computes in one pass over the rows of a report what renderings need: counts, and the worst findings."""

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

FINDING_LIMIT = 10_000  # findings shown individually; audit.json has all of them
SAMPLE = 200  # rows kept for the renderings that only show the first ones


@dataclass(frozen=True, slots=True)
class PlacedFinding:
    """This is a finding with its version. `number` counts from 1, the worst first."""

    number: int
    version: "VersionRow"
    finding: "FindingRow"


Changed = tuple["VersionRow", "BaselineDifferenceRow"]


@dataclass(slots=True)
class Overview:
    standing: Counter[Severity] = field(default_factory=Counter)  # findings that are not waived
    standing_versions: Counter[Severity] = field(default_factory=Counter)  # versions, by their worst such finding
    waived: Counter[Severity] = field(default_factory=Counter)
    vanished_count: int = 0
    missing_count: int = 0  # unverifiable versions that have no model: see `is_missing`
    with_baseline_count: int = 0
    uncompared_count: int = 0  # see `is_uncompared`
    as_accepted_count: int = 0  # versions that were read now and have the bytes of their baseline
    accepted_days: list[str] = field(default_factory=list)  # first and last day of those baselines, UTC
    trusted_count: int = 0  # versions that were not read
    oldest: list["VersionRow"] = field(default_factory=list)  # those versions, the least recently read first
    first: list["VersionRow"] = field(default_factory=list)  # at most SAMPLE rows
    unclean: list["VersionRow"] = field(default_factory=list)  # at most SAMPLE rows
    unclean_count: int = 0
    unexplained: list[Changed] = field(default_factory=list)  # at most SAMPLE files that differ from the baseline
    explained: list[Changed] = field(default_factory=list)  # at most SAMPLE files whose difference a rule explains
    changed_count: int = 0
    placed: tuple[PlacedFinding, ...] = ()  # not waived ones first, then waived ones; each part with the worst first

    @property
    def oldest_reading(self) -> str | None:
        """Return when the least recently read of the unread versions was last read, UTC."""
        return self.oldest[0].last_read_at if self.oldest else None

    @property
    def finding_count(self) -> int:
        return self.standing.total() + self.waived.total()


def overview_of(document: "AuditDocument") -> Overview:
    """Return the overview of a document. It is computed once for the rows of the latest document."""
    global _last
    rows, overview = _last
    if rows is not document.versions:
        overview = _overview(document.versions)
        _last = document.versions, overview
    return overview


def is_vanished(row: "VersionRow") -> bool:
    """Say whether a version was accepted and is no longer in the registry. It has a row, but is not in the listing."""
    return row.baseline is BaselineStatus.VANISHED and row.verdict is Verdict.SKIPPED


def is_missing(row: "VersionRow") -> bool:
    """Say whether a version claims to be ready but has no model."""
    return row.status == "READY" and any(finding.rule == MODEL_MISSING.id for finding in row.findings)


def is_clean(row: "VersionRow") -> bool:
    return row.verdict.passes and not row.findings


def is_uncompared(row: "VersionRow") -> bool:
    """Say whether nothing was compared, because both copies are one storage and there is no baseline."""
    return row.verdict is Verdict.SAME_STORAGE and row.baseline in (None, BaselineStatus.NEW)


def is_as_accepted(row: "VersionRow") -> bool:
    """Say whether this audit read every byte, and all are those that were accepted before it."""
    known = row.baseline is BaselineStatus.UNCHANGED and row.accepted_at is not None and not row.accepted_now
    return known and row.last_read_at is None and row.verdict.passes and not row.baseline_differences


def version_key(row: "VersionRow") -> tuple[str, int, str]:
    """Return a sort key that puts version 10 after version 9."""
    return by_number(row.name, row.version)


def may_fail(finding: "FindingRow") -> bool:
    """Say whether a finding makes the exit status 1 if it is severe enough.

    RA009 never does, because incomplete verification has an exit status of its own. Nor does a waived finding.
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
