"""Implements `check-model-version` and `registry-audit check`, and the output that `check` and `compare` share."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import (
    LIMITS,
    SERVER,
    SIGNING,
    SectionedCommand,
    audit_options,
    ledger_url,
    must_be_no_input,
    required_tracking_uri,
    with_options,
)
from registry_audit.cli.submit.option import submittable, there
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.refs import parse_selector, split_version
from registry_audit.report.output_file import must_take_file

if TYPE_CHECKING:
    from registry_audit.api import Checked
    from registry_audit.audit.comparing import Comparison
    from registry_audit.audit.judging import Finding, VersionAudit
    from registry_audit.audit.rows import Outcome
    from registry_audit.report.commands import Target
    from registry_audit.report.document import FindingRow


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    chosen = _wanted(typed.pop("version", None), typed.get("model"), typed.get("version_or_stage"))
    typed["model"], typed["version_or_stage"] = chosen
    return there(typed, download_dir="--download-dir", report_file="--report-file")


def _wanted(version: str | None, model: str | None, version_or_stage: str | None) -> tuple[str, str]:
    """Return name and selector, given in one of two ways. Raises: UsageError: neither or both ways were used."""
    if version is not None:
        if model is not None or version_or_stage is not None:
            raise UsageError("say which version either as NAME/V or with --model and --version-or-stage, not both")
        model, version_or_stage = split_version(version)
    if model is None or version_or_stage is None:
        raise UsageError("which version? Give NAME/V or NAME@ALIAS, or both --model and --version-or-stage")
    parse_selector(version_or_stage)
    return model, version_or_stage


@click.command("check", cls=SectionedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("version", metavar="[NAME/V | NAME@ALIAS]", required=False)
@click.option("--model", metavar="NAME", help="Registered model name.")
@click.option("--version-or-stage", metavar="V", help="Version number, stage in any case, @alias or latest.")
@with_options(
    *("download_dir", "report_file", "format", "fail_on"),
    *SERVER,
    *("ledger", "registry_name"),
    format="What to print on stdout; json is the file of --report-file.",
)
@submittable("check-model-version", translate=_of_flow)
@with_options(*SIGNING, *LIMITS)
def command(
    version: str | None,
    model: str | None,
    version_or_stage: str | None,
    download_dir: Path | None,
    report_file: Path | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    ledger: str | None,
    registry_name: str | None,
    signing_key: str | None,
    signing_certificate_chain: str | None,
    signing_ignore_paths: tuple[str, ...],
    signing_ignore_unsigned: bool,
    fail_on: str,
    format: str,
    **limits: int | None,
) -> int:
    """Check that a version's run model and registry model are the same bytes, and that both are still there.

    Name the version as NAME/V or NAME@ALIAS, or with --model and --version-or-stage. The command also
    compares the bytes with the accepted baseline, and records in the ledger what it read.

    Exit status: 0 the same, 1 different or damaged, 2 usage, 3 could not be verified, 4 the ledger is
    unusable.
    """
    tracking_uri = required_tracking_uri(tracking_uri)
    is_for_people = version is not None
    model, version_or_stage = _wanted(version, model, version_or_stage)
    report_file, as_json = where_to(report_file, format, signing_key, signing_certificate_chain)

    import_library(tracking_uri, registry_uri)
    from registry_audit.api import check_model_version
    from registry_audit.registry.address import active_workspace
    from registry_audit.report.commands import Target

    signing = {
        "signing_key": signing_key,
        "signing_certificate_chain": signing_certificate_chain,
        "signing_ignore_paths": signing_ignore_paths,
        "signing_ignore_unsigned": signing_ignore_unsigned,
    }
    remembering = {"ledger": ledger_url(ledger), "registry_name": registry_name}
    where = {"tracking_uri": tracking_uri, "registry_uri": registry_uri}
    options = audit_options({**where, **remembering, **signing, "fail_on": fail_on, **limits})

    target = Target.at(tracking_uri, registry_uri, active_workspace(), options.ledger)

    def show(checked: "Checked") -> None:
        show_text = partial(_tell, checked, target) if is_for_people else partial(_show, checked)
        show_report(checked.report, report_file, None if as_json else show_text)

    checked = check_model_version(
        options,
        model,
        version_or_stage,
        download_dir=download_dir,
        report_file=report_file,
        on_interruption=show,
    )
    show(checked)
    return int(checked.outcome.exit_status)


def _show(checked: "Checked") -> None:
    """Print what `check-model-version` of mlflow-tools printed, and more."""
    audit = checked.audit
    show_section("Comparison", checked.report["Comparison"])
    click.echo(f"Baseline: {checked.report['note']}")
    show_details(audit.verdict.value, audit.reason, audit.comparison, audit.findings)
    if audit.signature is not None:
        click.echo(f"Signature: {audit.signature.status.value} ({audit.signature.reason})")
    click.echo(f"Equals: {audit.verdict.passes}")


def _tell(checked: "Checked", target: "Target") -> None:
    """Print a line for the version, what is wrong with it, and what the result is based on."""
    from registry_audit.report.commands import command_to_accept
    from registry_audit.report.words import count
    from registry_audit.verdict import Storage

    audit, note = checked.audit, checked.report["note"]
    show_row(audit, target)
    copies = [("Run model", audit.run_model), ("Registry model", audit.reg_model)]
    if audit.storage is Storage.SHARED and audit.reg_model is not None:
        copies = [("Files", audit.reg_model)]  # run model and registry model are the same files
    for label, copy in copies:
        if copy is not None:
            digest = f", {copy.manifest_digest}" if copy.manifest_digest else ""
            show_fact(label, f"{redact_location(copy.uri)}: {count(copy.file_count, 'file')}{digest}")
    show_fact("Baseline", note)
    is_new = audit.baseline is not None and audit.baseline.accepted_at is None
    command = command_to_accept(target, f"{audit.version.name}/{audit.version.version}")
    if is_new and audit.verdict.passes and not audit.findings and command:
        show_fact("", f"To accept these bytes: {command}")
    if audit.signature is not None:
        show_fact("Signature", f"{audit.signature.status.value} ({audit.signature.reason})")
    show_result(checked.outcome)


_STDOUT = Path("-")


def where_to(report_file: Path | None, format: str, *inputs: str | Path | None) -> tuple[Path | None, bool]:
    """Return the file to write, and whether stdout gets JSON instead of text.

    Args:
        inputs: files that the command reads.

    Raises:
        UsageError: the file cannot be created there, or is one of the inputs.
    """
    if report_file == _STDOUT:
        return None, True
    if report_file is not None:
        must_be_no_input(report_file, "--report-file", *inputs)
        must_take_file(report_file, "--report-file")
    return report_file, format == "json"


def show_report(report: dict[str, Any], report_file: Path | None, show: Callable[[], None] | None) -> None:
    """Print the report, and write it to the file.

    Args:
        show: prints the text; None prints the JSON.

    Raises:
        UsageError: the file cannot be written.
    """
    from registry_audit.report.mlflow_tools import to_json, write_single

    if show is None:
        click.echo(to_json(report), nl=False)
    else:
        show()
    if report_file is not None:
        write_single(report, report_file, "--report-file")
        click.echo(f"wrote {report_file}", err=True)


def show_section(title: str, section: Any) -> None:
    """Print a part of the report as mlflow-tools printed it."""
    click.echo(f"{title}:\n{json.dumps(section, indent=2)}")


def show_details(
    verdict: str, reason: str | None, comparison: "Comparison | None", findings: "tuple[Finding, ...]"
) -> None:
    """Print differences, findings and verdict, one line each."""
    show_differences(comparison)
    show_findings(findings)
    click.echo(f"Verdict: {verdict}" + (f" ({reason})" if reason else ""))


def show_differences(comparison: "Comparison | None") -> None:
    """Print a line for each file that differs."""
    symbols = {"only_left": "-", "only_right": "+", "content": "*", "type": "!"}
    for difference in comparison.differences if comparison else ():
        symbol = "~" if difference.expected_by else symbols[difference.kind.value]
        expected = f" (expected: {difference.expected_by})" if difference.expected_by else ""
        click.echo(f"{symbol} {printable(difference.path)}{expected}")


def show_findings(findings: "tuple[Finding, ...]", server: str | None = None) -> None:
    """Print findings with their remedies.

    Args:
        server: the key of the server that the findings belong to, if there are two servers.
    """
    where = f"{server}: " if server else ""
    for finding in findings:
        said = f"{finding.severity.value} {finding.rule} {finding.name}: {finding.message}"
        click.echo(f"{where}{said}\n  {finding.remedy}")


# The functions below print a version as `audit` does.


def show_row(audit: "VersionAudit", target: "Target") -> None:
    """Print a line for the version, then its differences and findings, and the command that accepts a change."""
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
    """Return the rules and severities as `RA002 critical, RA004 high (waived)`, without duplicates."""
    said = (f"{found.rule} {found.severity}{' (waived)' if found.waived else ''}" for found in findings)
    return ", ".join(dict.fromkeys(said))


def show_fact(label: str, text: str) -> None:
    show_line(f"  {label:<15} {printable(text)}")


def show_result(outcome: "Outcome") -> None:
    show_fact("Result", f"{outcome.state.capitalize()} (exit status {int(outcome.exit_status)})")


def show_line(line: str) -> None:
    """Print a line, coloured on a terminal.

    Args:
        line: consists of text that passed `printable`.
    """
    from registry_audit.cli.report_output import coloured

    click.echo(coloured(line))
