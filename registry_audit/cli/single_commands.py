"""How the two single commands show what they found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.report_output import must_take_file
from registry_audit.errors import UsageError
from registry_audit.printable import printable

if TYPE_CHECKING:
    from registry_audit.audit.comparing import Comparison
    from registry_audit.audit.judging import Finding


_STDOUT = Path("-")


def report_file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--report-file", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as JSON; - is stdout."
    )(command)


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
