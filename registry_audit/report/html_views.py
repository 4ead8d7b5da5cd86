"""What the HTML template and its script show, as plain tuples: the same values once as rows and once as compact JSON.

Named tuples, not dataclasses: `json` writes them as arrays and the script gets the field names once.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from registry_audit.report.document import AuditDocument, CopyRow, DifferenceRow, SidedDigests, SidedSizes, VersionRow
from registry_audit.report.lines import symbol
from registry_audit.report.view import PlacedFinding, marks
from registry_audit.report.words import BASELINE_WORDS, KIND_WORDS, STORAGE_WORDS, bytes_words, count, short_digest

# Of one version with ten thousand changed files the first tell the story; the whole is in audit.json.
DIFFERENCE_LIMIT = 50


class SideView(NamedTuple):
    """One side of a difference. `present` is false where the file is missing on this side."""

    present: bool
    size: str
    digest: str
    full_digest: str


class DifferenceView(NamedTuple):
    path: str
    kind: str
    expected_by: str | None
    run_model: SideView
    reg_model: SideView


class CopyView(NamedTuple):
    side: str  # empty where both copies have this content
    files: str
    size: str
    exact_size: str
    digest: str
    full_digest: str


class FindingLink(NamedTuple):
    rule: str
    severity: str
    number: int


class VersionView(NamedTuple):
    name: str
    version: str
    status: str
    marks: tuple[str, ...]
    verdict: str
    symbol: str
    compared_by: str | None
    storage: str
    baseline: str
    copies: tuple[CopyView, ...]
    reason: str | None
    findings: tuple[FindingLink, ...]
    differences: tuple[DifferenceView, ...]
    difference_count: int


class Bar(NamedTuple):
    """A part of a whole. `start` and `width` are in percent, written so that they are the same on every machine."""

    key: str
    label: str
    number: int
    start: str
    width: str


def version_views(document: AuditDocument, findings: Iterable[PlacedFinding]) -> tuple[VersionView, ...]:
    links: dict[int, list[FindingLink]] = {}
    for placed in findings:
        link = FindingLink(placed.finding.rule, placed.finding.severity.value, placed.number)
        links.setdefault(id(placed.version), []).append(link)
    return tuple(_version(row, tuple(links.get(id(row), ()))) for row in document.versions)


def difference_views(differences: tuple[DifferenceRow, ...]) -> tuple[DifferenceView, ...]:
    """At most `DIFFERENCE_LIMIT`, those that no rule explains first."""
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


def bars(numbers: Mapping[str, tuple[str, int]]) -> tuple[Bar, ...]:
    """Key -> (label, number) as consecutive parts of one bar."""
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
        marks(row),
        row.verdict.value,
        symbol(row),
        row.compared_by,
        STORAGE_WORDS[row.storage],
        "" if row.baseline is None else BASELINE_WORDS[row.baseline],
        _copies(row.run_model, row.reg_model),
        row.reason,
        links,
        difference_views(row.differences),
        len(row.differences),
    )


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
    # To the byte: two files that differ are often of one size when rounded.
    return SideView(True, "" if size is None else count(size, "byte"), short_digest(digest or ""), digest or "")
