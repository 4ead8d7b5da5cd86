"""Defines the result of comparing two registries: a row for each version of the source or only in the target."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.public.results import Ended, escaped, html_findings, pandas_for
from registry_audit.report import as_text
from registry_audit.report.document import FindingRow
from registry_audit.report.registries_document import MigrationDocument, ModelRow, PairedRow, SideRow
from registry_audit.report.registries_words import SYMBOLS, found_words, headline, label_of, model_label
from registry_audit.report.write import write_report

if TYPE_CHECKING:
    import pandas

Table = Literal["versions", "findings"]
_PASSES = (PairVerdict.MATCH, PairVerdict.EQUIVALENT)
_VERSION_COLUMNS = (
    *("source_name", "source_version", "target_name", "target_version", "verdict", "reason", "found_by"),
    *("told_apart_by", "files_changed", "files_explained", "metadata", "findings"),
)
_FINDING_COLUMNS = (
    *("source_name", "source_version", "target_name", "target_version", "rule", "finding", "severity", "path"),
    *("message", "remedy"),
)


class MigrationResult(Ended):
    """Holds the result for two registries that were compared. `print` shows what the command prints."""

    def __init__(self, document: MigrationDocument) -> None:
        self.document = document  # migration.json as an object

    @property
    def exit_status(self) -> int:
        return self.document.outcome.exit_status

    @property
    def complete(self) -> bool:
        """Say whether every version of the source is in the target, unchanged or explained."""
        return self.document.summary.complete

    @property
    def sentence(self) -> str:
        return f"{headline(self.document)}: {self.document.summary.sentence}"

    @property
    def versions(self) -> Sequence[PairedRow]:
        """Return a row for each version, as in `migration.json`."""
        return self.document.versions

    @property
    def models(self) -> Sequence[ModelRow]:
        """Return the findings about a registered model as a whole, such as that its versions have other numbers."""
        return self.document.models

    @property
    def findings(self) -> Iterator[tuple[PairedRow | ModelRow, FindingRow]]:
        """Yield pairs of a model or version and a finding: one for each finding, those about models first."""
        rows: Iterator[ModelRow | PairedRow] = chain(self.models, self.versions)
        return ((row, finding) for row in rows for finding in row.findings)

    def to_pandas(self, table: Table = "versions") -> "pandas.DataFrame":
        """Return a data frame with a row for each version, or for each finding.

        Args:
            table: `versions` or `findings`.
        """
        pandas = pandas_for(table)
        if table == "findings":
            return pandas.DataFrame([_finding(*each) for each in self.findings], columns=list(_FINDING_COLUMNS))
        return pandas.DataFrame([_version(row) for row in self.versions], columns=list(_VERSION_COLUMNS))

    def write(self, report_dir: str | Path) -> tuple[Path, ...]:
        """Write migration.json and its renderings, and return their paths."""
        return write_report(self.document, Path(report_dir))

    def __str__(self) -> str:
        return "".join(as_text.migration_chunks(self.document))

    def _table(self) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
        models = (
            ("", escaped(model_label(row)), "", "", html_findings(row.findings)) for row in self.models if row.findings
        )
        versions = (
            (
                escaped(SYMBOLS[row.verdict]),
                escaped(label_of(row)),
                escaped(row.verdict.value.replace("_", " ") + (f" ({row.reason})" if row.reason else "")),
                escaped(found_words(row)),
                html_findings(row.findings),
            )
            for row in self.versions
            if row.findings or row.verdict not in _PASSES
        )
        return ("", "Version", "Verdict", "Pair", "Findings"), chain(versions, models)


def _names(source: str | None, target: str | None, one: SideRow | None, other: SideRow | None) -> dict[str, Any]:
    return {
        "source_name": source,
        "source_version": one.version if one else None,
        "target_name": target,
        "target_version": other.version if other else None,
    }


def _names_of(row: PairedRow | ModelRow) -> dict[str, Any]:
    if isinstance(row, ModelRow):
        return _names(row.source, row.target, None, None)
    one, other = row.source, row.target
    return _names(one.name if one else None, other.name if other else None, one, other)


def _version(row: PairedRow) -> dict[str, Any]:
    explained = sum(found.expected_by is not None for found in row.differences)
    return _names_of(row) | {
        "verdict": row.verdict.value,
        "reason": row.reason,
        "found_by": row.found_by.value if row.found_by else None,
        "told_apart_by": row.told_apart_by,
        "files_changed": len(row.differences) - explained,
        "files_explained": explained,
        "metadata": tuple(field.field for field in row.metadata),
        "findings": len(row.findings),
    }


def _finding(row: PairedRow | ModelRow, finding: FindingRow) -> dict[str, Any]:
    return _names_of(row) | {
        "rule": finding.rule,
        "finding": finding.name,
        "severity": finding.severity.value,
        "path": finding.path,
        "message": finding.message,
        "remedy": finding.remedy,
    }
