"""Defines what the HTML template and its script show, as tuples that serve both as rows and as compact JSON.

Named tuples, not dataclasses: `json` writes them as arrays, and the script gets the field names once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from registry_audit.report.document import (
    BaselineDifferenceRow,
    CopyRow,
    DifferenceRow,
    FindingRow,
    PastAudit,
    SidedDigests,
    SidedSizes,
    VersionRow,
)
from registry_audit.report.lines import symbol
from registry_audit.report.overview import PlacedFinding, is_uncompared
from registry_audit.report.view import SEVERITIES_WORST_FIRST, signature_words, stage_of
from registry_audit.report.words import (
    BASELINE_KIND_WORDS,
    BASELINE_WORDS,
    KIND_WORDS,
    NOTHING_COMPARED,
    STORAGE_WORDS,
    bytes_words,
    count,
    short_digest,
)
from registry_audit.verdict import BaselineStatus

# A version may have ten thousand changed files. The first ones are enough here; audit.json has all of them.
DIFFERENCE_LIMIT = 50

WAIVED = "waived"  # the group of waived findings, beside the severities


class SideView(NamedTuple):
    """This is one side of a difference. `present` is false if the file is missing on this side."""

    present: bool
    size: str
    digest: str
    full_digest: str


class DifferenceView(NamedTuple):
    path: str
    kind: str
    expected_by: str | None
    left: SideView  # the run model, or the baseline
    right: SideView  # the registry model, or the current bytes


class CopyView(NamedTuple):
    side: str  # empty if both copies have this content
    files: str
    size: str
    exact_size: str
    digest: str
    full_digest: str


class BaselineView(NamedTuple):
    status: str
    label: str
    accepted: str  # when, by whom and why it was accepted
    read: str  # when it was last read in full, if it was not read now


class FindingLink(NamedTuple):
    rule: str
    group: str  # the severity, or `waived`
    life: str  # `new` or `known`; empty without a ledger
    title: str
    number: int  # 0 if the page does not show the finding


class EventView(NamedTuple):
    day: str
    kind: str
    what: str


class VersionView(NamedTuple):
    name: str
    version: str
    status: str
    stage: str  # empty for none
    aliases: tuple[str, ...]
    run_id: str
    verdict: str
    symbol: str
    compared_by: str | None
    storage: str
    baseline: BaselineView | None
    copies: tuple[CopyView, ...]
    reason: str | None
    findings: tuple[FindingLink, ...]
    differences: tuple[DifferenceView, ...]
    difference_count: int
    baseline_differences: tuple[DifferenceView, ...]
    baseline_difference_count: int
    signature: str  # empty unless it was verified
    signature_reason: str
    places: tuple[tuple[str, str], ...]  # which copy, and its root storage
    life: tuple[EventView, ...]


class Bar(NamedTuple):
    """This is a part of a whole. `start` and `width` are in percent, formatted identically on every machine."""

    key: str
    label: str
    number: int
    start: str
    width: str


def version_views(rows: Iterable[VersionRow], told: Iterable[PlacedFinding]) -> Iterator[VersionView]:
    """Return the views of versions.

    Args:
        told: the findings that the page shows, to which the rows link.
    """
    # Keyed by value, because rows that are read from disk are new objects each time.
    numbers = {(placed.version.name, placed.version.version, placed.finding): placed.number for placed in told}
    return (_version(row, _links(row, numbers)) for row in rows)


def _links(row: VersionRow, numbers: Mapping[tuple[str, str, FindingRow], int]) -> tuple[FindingLink, ...]:
    links = []
    for finding in row.findings:
        title = finding.severity.value if finding.waived is None else f"{finding.severity.value}, waived"
        number = numbers.get((row.name, row.version, finding), 0)
        links.append(FindingLink(finding.rule, group_of(finding), life_of(finding), title, number))
    return tuple(sorted(links, key=lambda link: link.number or len(numbers) + 1))


def group_of(finding: FindingRow) -> str:
    return finding.severity.value if finding.waived is None else WAIVED


def life_of(finding: FindingRow) -> str:
    return "" if finding.new is None else "new" if finding.new else "known"


def difference_views(differences: tuple[DifferenceRow, ...]) -> tuple[DifferenceView, ...]:
    """Return at most `DIFFERENCE_LIMIT` differences between two copies, unexplained ones first."""
    ordered = sorted(differences, key=lambda difference: difference.expected_by is not None)
    return tuple(
        DifferenceView(
            difference.path,
            KIND_WORDS[difference.kind],
            difference.expected_by,
            _side(difference.kind != "only_in_reg_model", *_sided(difference.sizes, difference.digests, "run_model")),
            _side(difference.kind != "only_in_run_model", *_sided(difference.sizes, difference.digests, "reg_model")),
        )
        for difference in ordered[:DIFFERENCE_LIMIT]
    )


def baseline_difference_views(differences: tuple[BaselineDifferenceRow, ...]) -> tuple[DifferenceView, ...]:
    """Return at most `DIFFERENCE_LIMIT` differences from the baseline, unexplained ones first."""
    ordered = sorted(differences, key=lambda difference: difference.expected_by is not None)
    return tuple(
        DifferenceView(
            difference.path,
            BASELINE_KIND_WORDS[difference.kind],
            difference.expected_by,
            _side(difference.kind != "added", difference.sizes.baseline, difference.digests.baseline),
            _side(difference.kind != "removed", difference.sizes.now, difference.digests.now),
        )
        for difference in ordered[:DIFFERENCE_LIMIT]
    )


class PointView(NamedTuple):
    """This is one audit in the chart of recent audits. Positions are in units of its viewBox, from the top."""

    day: str
    title: str
    x: str
    parts: tuple[tuple[str, str, str], ...]  # severity, y and height of each part
    covered: tuple[str, str]  # y and height of the audited share


class ChartView(NamedTuple):
    width: int
    points: tuple[PointView, ...]
    sentence: str


_STEP, _TALL, _LOW = 14, 48, 12  # pixels: distance of two audits, and the heights of the two rows of the chart


def chart_of(history: Sequence[PastAudit]) -> ChartView | None:
    """Return the chart of findings and coverage over time; None if there are fewer than two audits."""
    if len(history) < 2:
        return None
    most = max((sum(past.findings.values()) for past in history if past.findings), default=0) or 1
    points = []
    for number, past in enumerate(history):
        parts, top = [], float(_TALL)
        for severity in SEVERITIES_WORST_FIRST:
            height = _TALL * (past.findings or {}).get(severity, 0) / most
            top -= height
            parts += [(severity.value, f"{top:.2f}", f"{height:.2f}")] if height else []
        covered = _LOW * min(1, past.audited / past.listed) if past.listed else 0
        bottom = _TALL + 6 + _LOW
        title = f"{past.at[:10]}: {_past_words(past)}"
        covering = (f"{bottom - covered:.2f}", f"{covered:.2f}")
        points.append(PointView(past.at[:10], title, str(number * _STEP), tuple(parts), covering))
    first, last = history[0], history[-1]
    sentence = (
        f"{len(history)} audits of this selection since {first.at[:10]}. "
        f"The first: {_past_words(first)}. The last: {_past_words(last)}."
    )
    return ChartView(len(history) * _STEP - 4, tuple(points), sentence)


def _past_words(past: PastAudit) -> str:
    return f"{found_words(past)}, {past.audited:,} of {count(past.listed, 'version')} audited"


def found_words(past: PastAudit) -> str:
    """Return `no finding`, `3 findings`, or that the findings were not recorded."""
    if past.findings is None:
        return "findings not recorded"
    total = sum(past.findings.values())
    return count(total, "finding") if total else "no finding"


def bars(numbers: Mapping[str, tuple[str, int]]) -> tuple[Bar, ...]:
    """Turn key -> (label, number) into consecutive parts of one bar."""
    total = sum(number for _, number in numbers.values()) or 1
    parts, before = [], 0
    for key, (label, number) in numbers.items():
        parts.append(Bar(key, label, number, f"{100 * before / total:.2f}", f"{100 * number / total:.2f}"))
        before += number
    return tuple(parts)


def _version(row: VersionRow, links: tuple[FindingLink, ...]) -> VersionView:
    return VersionView(
        row.name,
        row.version,
        row.status,
        stage_of(row),
        row.aliases,
        row.run_id or "",
        row.verdict.value,
        symbol(row),
        row.compared_by,
        STORAGE_WORDS[row.storage] + (": nothing compared" if is_uncompared(row) else ""),
        _baseline(row),
        _copies(row.run_model, row.reg_model),
        None if row.reason == NOTHING_COMPARED else row.reason,
        links,
        difference_views(row.differences),
        len(row.differences),
        baseline_difference_views(row.baseline_differences),
        len(row.baseline_differences),
        signature_words(row),
        row.signature_reason or "",
        _places(row),
        tuple(EventView(event.at[:10], event.kind, event.what) for event in row.history),
    )


def _baseline(row: VersionRow) -> BaselineView | None:
    if row.baseline is None:
        return None
    accepted = read = ""
    if row.accepted_at:
        by = f" by {row.accepted_by}" if row.accepted_by else ""
        why = f": {row.accepted_reason}" if row.accepted_reason else ""
        accepted = f"accepted {row.accepted_at[:10]}{by}{why}"
    if row.last_read_at and row.baseline is not BaselineStatus.VANISHED:
        read = f"last read in full {row.last_read_at[:10]}"
    return BaselineView(row.baseline.value, BASELINE_WORDS[row.baseline], accepted, read)


def _places(row: VersionRow) -> tuple[tuple[str, str], ...]:
    copies = [("Run model", row.run_model), ("Registry model", row.reg_model)]
    places = [(side, copy.root or copy.uri) for side, copy in copies if copy is not None]
    if len(places) == 2 and places[0][1] == places[1][1]:
        return (("Storage", places[0][1]),)
    return tuple(places)


def _copies(run_model: CopyRow | None, reg_model: CopyRow | None) -> tuple[CopyView, ...]:
    if run_model is not None and reg_model is not None:
        same = (run_model.manifest_digest, run_model.files, run_model.bytes) == (
            reg_model.manifest_digest,
            reg_model.files,
            reg_model.bytes,
        )
        return (_copy("", run_model),) if same else (_copy("run", run_model), _copy("registry", reg_model))
    if run_model is not None:
        return (_copy("run", run_model),)
    return () if reg_model is None else (_copy("registry", reg_model),)


def _copy(side: str, copy: CopyRow) -> CopyView:
    digest = copy.manifest_digest or ""
    return CopyView(
        side, f"{copy.files:,}", bytes_words(copy.bytes), count(copy.bytes, "byte"), short_digest(digest), digest
    )


def _sided(sizes: SidedSizes, digests: SidedDigests, side: str) -> tuple[int | None, str | None]:
    return getattr(sizes, side), getattr(digests, side)


def _side(present: bool, size: int | None, digest: str | None) -> SideView:
    if not present:
        return SideView(False, "", "", "")
    # Exact bytes, because files that differ often have the same rounded size.
    return SideView(True, "" if size is None else count(size, "byte"), short_digest(digest or ""), digest or "")
