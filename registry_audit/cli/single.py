"""How the two single commands show what they found."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.errors import UsageError
from registry_audit.printable import printable

if TYPE_CHECKING:
    from registry_audit.audit.comparing import Comparison
    from registry_audit.audit.judging import Finding


def write_json(report: dict[str, Any], report_file: Path | None) -> None:
    """Raises: UsageError: the file cannot be written."""
    from registry_audit.report.predecessor import to_json
    from registry_audit.report.write import write_whole

    if report_file is None:
        return
    try:
        write_whole(report_file, to_json(report))
    except OSError as error:
        raise UsageError(f"--report-file {report_file} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {report_file}", err=True)


def show_section(title: str, section: Any) -> None:
    """A part of the report, as the predecessor printed it."""
    click.echo(f"{title}:\n{json.dumps(section, indent=2)}")


def show_details(
    verdict: str, reason: str | None, comparison: "Comparison | None", findings: "tuple[Finding, ...]"
) -> None:
    """Verdict, differences and findings, a line each."""
    symbols = {"only_left": "-", "only_right": "+", "content": "*", "type": "!"}
    for difference in comparison.differences if comparison else ():
        symbol = "~" if difference.expected_by else symbols[difference.kind.value]
        expected = f" (expected: {difference.expected_by})" if difference.expected_by else ""
        click.echo(f"{symbol} {printable(difference.path)}{expected}")
    for finding in findings:
        click.echo(f"{finding.severity.value} {finding.rule} {finding.name}: {finding.message}\n  {finding.remedy}")
    click.echo(f"Verdict: {verdict}" + (f" ({reason})" if reason else ""))
