"""The report on a migration as CSV: one row per version, for spreadsheets."""

from collections.abc import Iterator

from registry_audit.report.as_csv import csv_line, guarded_cell
from registry_audit.report.migration.registries_document import MigrationDocument, PairedRow, SideRow
from registry_audit.report.migration.registries_words import difference_words

_SIDE_COLUMNS = (
    "name", "version", "status", "stage", "aliases", "run_id", "verdict", "root", "manifest_digest", "files", "bytes",
)  # fmt: skip
COLUMNS = (
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


def chunks(document: MigrationDocument) -> Iterator[str]:
    """A header and one line per version, whatever the names hold."""
    yield csv_line(COLUMNS)
    for row in document.versions:
        yield csv_line([guarded_cell(value) for value in _row(row)])


def _row(row: PairedRow) -> tuple[str | int | None, ...]:
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
