"""Renders a report as CSV for spreadsheets: one row per version."""

import csv
import io
from collections.abc import Iterator, Sequence

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, CopyRow, VersionRow
from registry_audit.report.overview import is_uncompared
from registry_audit.report.registries_document import MigrationDocument, PairedRow, SideRow
from registry_audit.report.registries_words import difference_words
from registry_audit.report.view import standing, waiver_words
from registry_audit.report.words import NOTHING_COMPARED

_COPY_COLUMNS = ("uri", "root", "manifest_digest", "files", "bytes")
COLUMNS = (
    "name",
    "version",
    "status",
    "stage",
    "aliases",
    "run_id",
    "verdict",
    "reason",
    "baseline",
    "storage",
    "compared_by",
    *(f"run_model_{column}" for column in _COPY_COLUMNS),
    *(f"reg_model_{column}" for column in _COPY_COLUMNS),
    "differences",
    "expected_differences",
    "findings",
    "worst_severity",
    "messages",
    "accepted_at",
    "accepted_by",
    "accepted_reason",
    "accepted_now",
    "last_read_at",
    "baseline_differences",
    "expected_baseline_differences",
    "new_findings",
    "waived_findings",
    "waivers",
    "signature_status",
    "signature_reason",
)
# A spreadsheet takes a cell that begins with one of these for a formula; some locales accept the full-width forms. The
# apostrophe is guarded too, so that no two texts give the same cell.
_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠", "'")  # noqa: RUF001


def chunks(document: AuditDocument) -> Iterator[str]:
    """Yield a header and one line per version. Text passes `printable`, so no cell contains a newline."""
    yield csv_line(COLUMNS)
    for row in document.versions:
        yield csv_line([guarded_cell(value) for value in _row(row)])


def csv_line(cells: Sequence[str | int]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _row(row: VersionRow) -> tuple[str | int | None, ...]:
    # Waived findings are left out, because tables are sorted by this column.
    worst = max((finding.severity for finding in standing(row)), key=lambda severity: severity.rank, default=None)
    return (
        row.name,
        row.version,
        row.status,
        row.stage,
        ", ".join(row.aliases),
        row.run_id,
        row.verdict.value,
        row.reason or (NOTHING_COMPARED if is_uncompared(row) else None),
        None if row.baseline is None else row.baseline.value,
        row.storage.value,
        row.compared_by,
        *_copy(row.run_model),
        *_copy(row.reg_model),
        len(row.differences),
        sum(difference.expected_by is not None for difference in row.differences),
        " ".join(finding.rule for finding in row.findings),
        None if worst is None else worst.value,
        " | ".join(finding.message for finding in row.findings),
        row.accepted_at,
        row.accepted_by,
        row.accepted_reason,
        None if row.accepted_now is None else str(row.accepted_now).lower(),
        row.last_read_at,
        len(row.baseline_differences),
        sum(difference.expected_by is not None for difference in row.baseline_differences),
        " ".join(finding.rule for finding in row.findings if finding.new),
        " ".join(finding.rule for finding in row.findings if finding.waived),
        " | ".join(f"{finding.rule} {waiver_words(finding.waived)}" for finding in row.findings if finding.waived),
        None if row.signature_status is None else row.signature_status.value,
        row.signature_reason,
    )


def _copy(copy: CopyRow | None) -> tuple[str | int | None, ...]:
    return (None,) * len(_COPY_COLUMNS) if copy is None else tuple(getattr(copy, column) for column in _COPY_COLUMNS)


def guarded_cell(value: str | int | None) -> str | int:
    """Return the cell for a value.

    Numbers stay numbers; a text that a spreadsheet could run gets an apostrophe before it.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_ACTIVE) else text


# A comparison of two registries has one row per version, too.


_SIDE_COLUMNS = (
    "name", "version", "status", "stage", "aliases", "run_id", "verdict", "root", "manifest_digest", "files", "bytes",
)  # fmt: skip
MIGRATION_COLUMNS = (
    *(f"source_{column}" for column in _SIDE_COLUMNS),
    *(f"target_{column}" for column in _SIDE_COLUMNS),
    "verdict",
    "reason",
    "found_by",
    "candidates",
    "told_apart_by",
    "differences",
    "metadata",
    "findings",
    "messages",
)


def migration_chunks(document: MigrationDocument) -> Iterator[str]:
    """Yield a header and one line per version. Text passes `printable`, so no cell contains a newline."""
    yield csv_line(MIGRATION_COLUMNS)
    for row in document.versions:
        yield csv_line([guarded_cell(value) for value in _pair_row(row)])


def _pair_row(row: PairedRow) -> tuple[str | int | None, ...]:
    return (
        *_side(row.source),
        *_side(row.target),
        row.verdict.value,
        row.reason,
        row.found_by.value if row.found_by else None,
        row.candidates,
        row.told_apart_by,
        " | ".join(map(difference_words, row.differences)),
        " | ".join(f"{field.field}: {field.source} -> {field.target}" for field in row.metadata),
        " ".join(finding.rule for finding in row.findings),
        " | ".join(finding.message for finding in row.findings),
    )


def _side(side: SideRow | None) -> tuple[str | int | None, ...]:
    if side is None:
        return (None,) * len(_SIDE_COLUMNS)
    values = (getattr(side, column) for column in _SIDE_COLUMNS)
    return tuple(", ".join(value) if isinstance(value, tuple) else value for value in values)
