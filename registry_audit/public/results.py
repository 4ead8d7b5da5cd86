"""Defines the results of `registry_audit`'s functions: the outcome, tables for pandas, and a notebook's table."""

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from registry_audit.api import Checked, Compared
from registry_audit.audit.comparing import Difference, Kind
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.report import as_text
from registry_audit.report.build_document import version_row
from registry_audit.report.document import AuditDocument, FindingRow, VersionRow
from registry_audit.report.lines import symbol
from registry_audit.report.overview import is_clean
from registry_audit.report.view import lede, side_words
from registry_audit.report.words import BASELINE_WORDS, VERDICT_WORDS
from registry_audit.report.write import write_report
from registry_audit.verdict import Verdict

if TYPE_CHECKING:
    import pandas

Table = Literal["versions", "findings"]

_SHOWN = 20  # rows of a notebook's table
_COLOURS = {"clean": "#1a7f37", "findings": "#cf222e", "incomplete": "#9a6700"}
_CELL = "text-align:left;vertical-align:top"


def pandas_for(table: str) -> Any:
    """Return pandas.

    Raises:
        UsageError: there is no such table, or pandas is not installed.
    """
    if table not in get_args(Table):
        raise UsageError(f"there is no table '{table}': give {' or '.join(get_args(Table))}")
    try:
        import pandas
    except ImportError as error:
        raise UsageError("to_pandas needs pandas: pip install 'mlflow-registry-audit[mlflow]'") from error
    return pandas


class Ended(ABC):
    """Holds a result. It is true in a condition only if everything was verified and nothing was found."""

    @property
    @abstractmethod
    def exit_status(self) -> int:
        """Return the exit status of the command: 0 clean, 1 findings, 3 something could not be verified."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """Return the result in a sentence or two."""

    @property
    def clean(self) -> bool:
        """Say whether everything was verified and nothing was found: exit status 0."""
        return self.exit_status == 0

    def __bool__(self) -> bool:
        return self.clean

    @property
    def state(self) -> str:
        """Return `clean`, `findings` or `incomplete`, for the exit statuses 0, 1 and 3."""
        return {0: "clean", 1: "findings"}.get(self.exit_status, "incomplete")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.state} (exit status {self.exit_status}). {printable(self.sentence)}>"

    def _repr_html_(self) -> str:
        """Return HTML for a notebook: the result, and the versions that are not clean. A server's texts are escaped."""
        head = (
            f"<p><b style='color:{_COLOURS[self.state]}'>{self.state.capitalize()}</b> "
            f"(exit status {self.exit_status}). {escaped(self.sentence)}</p>"
        )
        return f"{head}{_html_table(*self._table(), 'to_pandas()')}"

    @abstractmethod
    def _table(self) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
        """Return titles and rows of HTML for everything that is not clean."""


class Result(Ended):
    """Holds the versions that were looked at, each with its findings."""

    @property
    @abstractmethod
    def versions(self) -> Sequence[VersionRow]:
        """Return a row for each version, as in `audit.json`."""

    @property
    def findings(self) -> Iterator[tuple[VersionRow, FindingRow]]:
        """Yield pairs of a version and a finding: one for each finding."""
        return ((row, finding) for row in self.versions for finding in row.findings)

    def to_pandas(self, table: Table = "versions") -> "pandas.DataFrame":
        """Return a data frame with a row for each version, or for each finding.

        Args:
            table: `versions` or `findings`.
        """
        pandas = pandas_for(table)
        if table == "findings":
            return pandas.DataFrame([_finding(*each) for each in self.findings], columns=list(_FINDING_COLUMNS))
        return pandas.DataFrame([_version(row) for row in self.versions], columns=list(_VERSION_COLUMNS))

    def _table(self) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
        rows = (_html_row(row) for row in self.versions if not is_clean(row))
        return ("", "Version", "Verdict", "Baseline", "Findings"), rows


class AuditResult(Result):
    """Holds the result of an audit of a registry. `print` shows what the command prints."""

    def __init__(self, document: AuditDocument) -> None:
        self.document = document  # audit.json as an object

    @property
    def exit_status(self) -> int:
        return self.document.outcome.exit_status

    @property
    def versions(self) -> Sequence[VersionRow]:
        return self.document.versions

    @property
    def sentence(self) -> str:
        return lede(self.document)

    def write(self, report_dir: str | Path) -> tuple[Path, ...]:
        """Write audit.json, audit.html, audit.md and junit.xml, and return their paths."""
        return write_report(self.document, Path(report_dir))

    def __str__(self) -> str:
        return "".join(as_text.chunks(self.document, brief=True))


class CheckResult(Result):
    """Holds the result for one version that was checked."""

    def __init__(self, checked: Checked) -> None:
        self._checked, self._row = checked, version_row(checked.audit)
        self.report: dict[str, Any] = checked.report  # what --report-file writes

    @property
    def exit_status(self) -> int:
        return int(self._checked.outcome.exit_status)

    @property
    def version(self) -> VersionRow:
        """Return the version's row, as in `audit.json`."""
        return self._row

    @property
    def versions(self) -> Sequence[VersionRow]:
        return (self._row,)

    @property
    def sentence(self) -> str:
        return f"{self._row.name}/{self._row.version}: {_verdict(self._row)}; {self.report['note']}."


class CompareResult(Result):
    """Holds the result for two versions that were compared with each other, and each with its baseline."""

    def __init__(self, compared: Compared) -> None:
        self._compared = compared
        self.report: dict[str, Any] = compared.report  # what --report-file writes
        pair = compared.pair
        self._rows = tuple(
            version_row(replace(row, findings=pair.said_of(index))) for index, row in enumerate(pair.versions)
        )

    @property
    def exit_status(self) -> int:
        return int(self._compared.outcome.exit_status)

    @property
    def versions(self) -> Sequence[VersionRow]:
        """Return the two versions, each with the findings about it alone, not about the other one."""
        return self._rows

    @property
    def sentence(self) -> str:
        one, two = (f"{row.name}/{row.version}" for row in self._rows)
        said = ", ".join(f"{pair.role.words}s: {_label(pair.verdict)}" for pair in self._compared.pair.pairs)
        return f"{one} and {two}: {said}."

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}{_html_table(*self._files(), 'report')}"

    def _files(self) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
        """Return rows of files that differ. A file with the same difference in run and registry models is one row."""
        found: dict[Difference, list[str]] = {}
        for pair in self._compared.pair.pairs:
            for difference in pair.comparison.differences if pair.comparison else ():
                found.setdefault(difference, []).append(f"{pair.role.words}s")
        rows = (
            (
                escaped(
                    f"{difference.path} (expected: {difference.expected_by})"
                    if difference.expected_by
                    else difference.path
                ),
                *(escaped(_side_words(difference, side)) for side in (0, 1)),
                escaped(" and ".join(where)),
            )
            for difference, where in found.items()
        )
        return ("File", *(escaped(f"{row.name}/{row.version}") for row in self._rows), "Differs in the"), rows


_VERSION_COLUMNS = (
    *("name", "version", "status", "stage", "aliases", "verdict", "reason", "baseline", "files", "bytes", "manifest"),
    *("findings", "accepted_at", "accepted_by", "accepted_reason", "root"),
)
_FINDING_COLUMNS = (
    *("name", "version", "rule", "finding", "severity", "path", "message", "remedy", "first_seen", "new", "waived"),
)


def _version(row: VersionRow) -> dict[str, Any]:
    copy = row.reg_model or row.run_model
    return {
        "name": row.name,
        "version": row.version,
        "status": row.status,
        "stage": row.stage,
        "aliases": row.aliases,
        "verdict": row.verdict.value,
        "reason": row.reason,
        "baseline": row.baseline.value if row.baseline else None,
        "files": copy.files if copy else None,
        "bytes": copy.bytes if copy else None,
        "manifest": copy.manifest_digest if copy else None,
        "findings": len(row.findings),
        "accepted_at": row.accepted_at,
        "accepted_by": row.accepted_by,
        "accepted_reason": row.accepted_reason,
        "root": copy.root if copy else None,
    }


def _finding(row: VersionRow, finding: FindingRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "rule": finding.rule,
        "finding": finding.name,
        "severity": finding.severity.value,
        "path": finding.path,
        "message": finding.message,
        "remedy": finding.remedy,
        "first_seen": finding.first_seen,
        "new": finding.new,
        "waived": finding.waived is not None,
    }


def _html_row(row: VersionRow) -> tuple[str, ...]:
    return (
        escaped(symbol(row)),
        escaped(f"{row.name}/{row.version}"),
        escaped(_verdict(row)),
        escaped(BASELINE_WORDS[row.baseline] if row.baseline else "no ledger"),
        html_findings(row.findings),
    )


def html_findings(findings: Sequence[FindingRow]) -> str:
    return "<br>".join(
        f"{escaped(f'{finding.severity.value} {finding.rule} {finding.name}')}"
        f"{' (waived)' if finding.waived else ''}: {escaped(finding.message)}"
        for finding in findings
    )


def _side_words(difference: Difference, side: int) -> str:
    if difference.kind is Kind.TYPE:
        return "not the same kind of entry"
    if difference.kind is (Kind.ONLY_RIGHT, Kind.ONLY_LEFT)[side]:
        return "not there"
    return side_words(difference.sizes[side], difference.digests[side])


def _html_table(titles: Sequence[str], rows: Iterator[tuple[str, ...]], whole: str) -> str:
    """Return the first rows as HTML, or an empty text if there are none. `whole` names where all of them are."""
    shown = list(islice(rows, _SHOWN + 1))
    if not shown:
        return ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown[:_SHOWN])
    more = f"<p>and more: <code>{whole}</code> has all of them.</p>" if len(shown) > _SHOWN else ""
    heads = "".join(f"<th style='{_CELL}'>{title}</th>" for title in titles)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(content: str) -> str:
    return f"<td style='{_CELL}'>{content}</td>"


def _verdict(row: VersionRow) -> str:
    return f"{_label(row.verdict)} ({row.reason})" if row.reason else _label(row.verdict)


def _label(verdict: Verdict) -> str:
    return VERDICT_WORDS[verdict].label.lower()


def escaped(text: str) -> str:
    return html.escape(printable(text))
