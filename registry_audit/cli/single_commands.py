"""How the two single commands show what they found."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.report_output import must_take_file
from registry_audit.errors import UsageError
from registry_audit.printable import printable

if TYPE_CHECKING:
    from registry_audit.audit.comparing import Comparison
    from registry_audit.audit.judging import Finding, VersionAudit
    from registry_audit.audit.outcome import Outcome
    from registry_audit.report.commands import Target
    from registry_audit.report.document import FindingRow


_STDOUT = Path("-")


def where_to(report_file: Path | None, format: str) -> tuple[Path | None, bool]:
    """The file to write, and whether stdout gets the JSON instead of the text.

    Raises:
        UsageError: the file cannot be made there.
    """
    if report_file == _STDOUT:
        return None, True
    if report_file is not None:
        must_take_file(report_file, "--report-file")
    return report_file, format == "json"


def show_report(report: dict[str, Any], report_file: Path | None, show: Callable[[], None] | None) -> None:
    """Print the report, and write it.

    Args:
        show: prints the text; None prints the JSON.

    Raises:
        UsageError: the file cannot be written.
    """
    from registry_audit.report.mlflow_tools import to_json
    from registry_audit.report.write import write_whole

    if show is None:
        click.echo(to_json(report), nl=False)
    else:
        show()
    if report_file is None:
        return
    try:
        write_whole(report_file, to_json(report))
    except OSError as error:
        raise UsageError(f"--report-file {report_file} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {report_file}", err=True)


def show_section(title: str, section: Any) -> None:
    """A part of the report, as mlflow-tools printed it."""
    click.echo(f"{title}:\n{json.dumps(section, indent=2)}")


def show_details(
    verdict: str, reason: str | None, comparison: "Comparison | None", findings: "tuple[Finding, ...]"
) -> None:
    """Verdict, differences and findings, a line each."""
    show_differences(comparison)
    show_findings(findings)
    click.echo(f"Verdict: {verdict}" + (f" ({reason})" if reason else ""))


def show_differences(comparison: "Comparison | None") -> None:
    """A line for each file that differs."""
    symbols = {"only_left": "-", "only_right": "+", "content": "*", "type": "!"}
    for difference in comparison.differences if comparison else ():
        symbol = "~" if difference.expected_by else symbols[difference.kind.value]
        expected = f" (expected: {difference.expected_by})" if difference.expected_by else ""
        click.echo(f"{symbol} {printable(difference.path)}{expected}")


def show_findings(findings: "tuple[Finding, ...]", server: str | None = None) -> None:
    """
    Args:
        server: the key of the one that the findings are of, where there are two.
    """
    where = f"{server}: " if server else ""
    for finding in findings:
        said = f"{finding.severity.value} {finding.rule} {finding.name}: {finding.message}"
        click.echo(f"{where}{said}\n  {finding.remedy}")


# The answer in sentences, as `audit` tells a version.


def show_row(audit: "VersionAudit", target: "Target") -> None:
    """A line for the version, then what differs, what is wrong with it, and the command that accepts a change."""
    from registry_audit.report.as_text import finding_lines
    from registry_audit.report.build_document import version_row
    from registry_audit.report.commands import command_to_end
    from registry_audit.report.lines import CHANGED_SYMBOL, MISSING_SYMBOL, baseline_lines, difference_line, symbol
    from registry_audit.report.view import version_id
    from registry_audit.report.words import VERDICT_WORDS
    from registry_audit.verdict import BaselineStatus

    row = version_row(audit)
    sign, label = symbol(row), VERDICT_WORDS[audit.verdict].label.lower()
    if sign == MISSING_SYMBOL:
        label = "missing"
    elif sign == CHANGED_SYMBOL and row.baseline is BaselineStatus.CHANGED:
        label = "not what was accepted"
    why = audit.reason or rules_of(row.findings)
    show_line(printable(f"{sign} {version_id(row)}  {label}{f': {why}' if why else ''}"))
    for line in (*map(difference_line, row.differences), *baseline_lines(row)):
        show_line(f"  {line}")
    for finding in row.findings:
        for line in finding_lines(row, finding, command_to_end(target, row, finding)):
            show_line(line)


def rules_of(findings: "Iterable[FindingRow]") -> str:
    """`RA002 critical, RA004 high (waived)`: each once."""
    said = (f"{found.rule} {found.severity}{' (waived)' if found.waived else ''}" for found in findings)
    return ", ".join(dict.fromkeys(said))


def show_fact(label: str, text: str) -> None:
    show_line(f"  {label:<15} {printable(text)}")


def show_result(outcome: "Outcome") -> None:
    show_fact("Result", f"{outcome.state.capitalize()} (exit status {int(outcome.exit_status)})")


def show_line(line: str) -> None:
    """
    Args:
        line: with nothing in it that did not pass `printable`.
    """
    from registry_audit.cli.report_output import coloured

    click.echo(coloured(line))
