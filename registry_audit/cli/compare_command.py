"""Implements `compare-model-versions` and `registry-audit compare`."""

import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.check_command import (
    rules_of,
    show_details,
    show_fact,
    show_findings,
    show_line,
    show_report,
    show_result,
    show_section,
    where_to,
)
from registry_audit.cli.common_options import (
    LIMITS,
    SectionedCommand,
    ledger_url,
    required_tracking_uri,
    with_options,
)
from registry_audit.cli.report_output import must_be_writable
from registry_audit.cli.submit.option import must_be_sendable, submittable, there
from registry_audit.compare_config import CompareConfig, ServerConfig, load_compare_config
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.refs import parse_selector, split_version

if TYPE_CHECKING:
    from registry_audit.api import Compared
    from registry_audit.audit.comparing import Difference

_WHICH = "which versions? Give two, as NAME/V NAME/V, or a --config-file that names them"
_GRAVER = (
    "match",
    "same_storage",
    "equivalent",
    "skipped",
    "unverifiable",
    "mismatch",
)  # by precedence, the highest last, as for exit statuses
_NOTHING = "with both comparisons skipped nothing would be compared: leave out one of the --skip options"


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    """Turn the content of the configuration file into parameters. The variables that it names are the worker's."""
    if typed.pop("verbose", False):
        raise UsageError("--verbose shows what this process reads: leave it out with --submit, and see the run's page")
    if not typed.get("compare_run_models", True) and not typed.get("compare_reg_models", True):
        raise UsageError(_NOTHING)
    if "versions" in typed or "tracking_uri" in typed or "registry_uri" in typed:
        raise UsageError("with --submit the two versions are named in a file: give --config-file")
    config_file = typed.pop("config_file", None)
    if config_file is None:
        raise UsageError(_WHICH)
    servers = load_compare_config(config_file).named(tuple(typed.pop("registry_names", ()))).servers
    paths = there(typed, download_dir="--download-dir", report_file="--report-file")
    return paths | {f"tracking_server_{n}": _sendable(server, config_file) for n, server in enumerate(servers, 1)}


def _sendable(server: ServerConfig, config_file: Path) -> dict[str, str]:
    must_be_sendable(config_file, server.host, server.registry_uri)
    return {key: value for key, value in asdict(server).items() if value is not None}


@click.command("compare", cls=SectionedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("versions", metavar="[NAME/V NAME/V]", nargs=-1)
@click.option(
    "--config-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file that names the two versions, and the server of each.",
)
@with_options(
    *("download_dir", "report_file", "format", "fail_on"),
    download_dir="Keep the files there, as DIR/run_model/server_N/... and DIR/reg_model/server_N/...",
    format="What to print on stdout; json is the file of --report-file.",
)
@click.option(
    "--compare-run-models/--skip-compare-run-models", default=True, help="Compare the run models. [default: yes]"
)
@click.option(
    "--compare-reg-models/--skip-compare-reg-models", default=True, help="Compare the registry models. [default: yes]"
)
@click.option("--tracking-uri", metavar="URI", help="Server of NAME/V NAME/V. [env: MLFLOW_TRACKING_URI]")
@click.option(
    "--registry-uri",
    metavar="URI",
    help="Model registry of NAME/V NAME/V, if it is on another server. [env: MLFLOW_REGISTRY_URI]",
)
@with_options("ledger", "registry_names")
@click.option("--verbose", is_flag=True, help="Also show the configuration and both versions.")
@with_options(*LIMITS)
@submittable("compare-model-versions", translate=_of_flow)
def command(
    versions: tuple[str, ...],
    config_file: Path | None,
    download_dir: Path | None,
    report_file: Path | None,
    compare_run_models: bool,
    compare_reg_models: bool,
    tracking_uri: str | None,
    registry_uri: str | None,
    ledger: str | None,
    registry_names: tuple[str, ...],
    verbose: bool,
    fail_on: str,
    format: str,
    **limits: int | None,
) -> int:
    """Compare two model versions: their run models and their registry models.

    Name two versions of one server as NAME/V or NAME@ALIAS. For versions of two servers, use --config-file. The command
    also compares each version with its accepted baseline, and records in the ledger what it read.

    Exit status: 0 the same, 1 different or damaged, 2 usage, 3 could not be verified, 4 the ledger is
    unusable.
    """
    if not compare_run_models and not compare_reg_models:
        raise UsageError(_NOTHING)
    as_mlflow_tools = click.get_current_context().parent is None  # called as compare-model-versions
    if as_mlflow_tools and download_dir is None:
        raise click.UsageError("Missing option '--download-dir'.")
    config = _config(versions, config_file, tracking_uri, registry_uri).named(registry_names)
    report_file, as_json = where_to(report_file, format, config_file)
    if download_dir is not None:
        must_be_writable(download_dir, "--download-dir")

    import_library(*(address for server in config.servers for address in (server.host, server.registry_uri)))
    from registry_audit.api import compare_model_versions
    from registry_audit.verdict import Severity

    def show(compared: "Compared") -> None:
        tell = _show if as_mlflow_tools else partial(_tell, config=config, ledger=ledger_url(ledger))
        show_report(compared.report, report_file, None if as_json else partial(tell, compared, verbose=verbose))

    compared = compare_model_versions(
        config,
        download_dir,
        compare_run_models=compare_run_models,
        compare_reg_models=compare_reg_models,
        ledger=ledger_url(ledger),
        fail_on=Severity(fail_on),
        limits=limits,
        on_interruption=show,
    )
    show(compared)
    return int(compared.outcome.exit_status)


def _config(
    versions: tuple[str, ...], config_file: Path | None, tracking_uri: str | None, registry_uri: str | None
) -> CompareConfig:
    """Return the configuration.

    Raises:
        UsageError: the two versions are named in no way, in both ways, or not as two.
    """
    if config_file is not None:
        if versions or tracking_uri or registry_uri:
            raise UsageError(
                "say which versions either as NAME/V NAME/V, with their --tracking-uri, or with --config-file, not both"
            )
        return load_compare_config(config_file)
    if len(versions) != 2:
        raise UsageError(_WHICH)
    named = [split_version(version) for version in versions]
    for _, selector in named:
        parse_selector(selector)
    # Click does not read these variables: with --submit the terminal's would be sent, and a file names its own servers.
    from registry_audit.registry.address import registry_of_environment

    host = required_tracking_uri(tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
    registry_uri = registry_uri or registry_of_environment(host)
    one, two = (ServerConfig(host, model, selector, registry_uri=registry_uri) for model, selector in named)
    return CompareConfig(one, two)


def _show(compared: "Compared", *, verbose: bool) -> None:
    """Print the comparisons, and then once what is said about each version."""
    report = compared.report
    if verbose:
        show_section("Config", report["Config"])
        show_section("Model_Version_Summary", report["Model_Version_Summary"])
    for audit in compared.pair.pairs:
        title = "Run_Model_Comparison" if audit.role.value == "run_model" else "Reg_Model_Comparison"
        show_section(title, {key: report[title][key] for key in ("equals", "tracking_server_1", "tracking_server_2")})
        show_details(audit.verdict.value, report[title]["reason"], audit.comparison, ())
    for index, (server, note) in enumerate(report["note"].items()):
        click.echo(f"Baseline of {server}: {note}")
        show_findings(compared.pair.said_of(index), server)
    show_section("Comparison_Summary", report["Comparison_Summary"])


def _tell(compared: "Compared", config: CompareConfig, *, ledger: str | None, verbose: bool) -> None:
    """Print whether the versions are the same, where they differ, and what is said about each by itself."""
    from registry_audit.registry.address import active_workspace, shown_address
    from registry_audit.report.as_text import finding_lines
    from registry_audit.report.build_document import version_row
    from registry_audit.report.commands import Target, command_to_end
    from registry_audit.report.mlflow_tools import pair_words
    from registry_audit.report.view import version_id
    from registry_audit.report.words import VERDICT_WORDS

    pair, notes = compared.pair, compared.report["note"].values()
    rows = [version_row(replace(version, findings=pair.said_of(n))) for n, version in enumerate(pair.versions)]
    names = [version_id(row) for row in rows]
    hosts = [shown_address(server.host) for server in config.servers]
    if names[0] == names[1] and hosts[0] != hosts[1]:
        names = [f"{name} in {host}" for name, host in zip(names, hosts, strict=True)]
    if verbose:
        show_section("Config", compared.report["Config"])
        show_section("Model_Version_Summary", compared.report["Model_Version_Summary"])
    words = VERDICT_WORDS[max((each.verdict for each in pair.pairs), key=_GRAVER.index)]
    rules = rules_of(finding for row in rows for finding in row.findings)
    head = f"{words.symbol} {names[0]} and {names[1]}: {words.label.lower()}{f'; {rules}' if rules else ''}"
    show_line(printable(head))
    told: tuple[Difference, ...] = ()
    for each in pair.pairs:
        differences = each.comparison.differences if each.comparison else ()
        told_before = bool(differences) and differences == told  # usually because both copies are one storage
        reason = each.reason or ("the same differences" if told_before else pair_words(each.verdict))
        label = VERDICT_WORDS[each.verdict].label.lower()
        show_fact(f"{each.role.words.capitalize()}s", f"{label}{f': {reason}' if reason else ''}")
        for difference in () if told_before else differences:
            show_line(f"    {_difference_line(difference, names)}")
        told = differences
    for name, row, note, server in zip(names, rows, notes, config.servers, strict=True):
        show_line(printable(f"  {name}: {note}"))
        target = Target.at(server.host, server.registry_uri, active_workspace(), ledger)
        for finding in row.findings:
            for line in finding_lines(row, finding, command_to_end(target, row, finding)):
                show_line(f"  {line}")
    show_result(compared.outcome)


def _difference_line(difference: "Difference", names: list[str]) -> str:
    from registry_audit.audit.comparing import Kind
    from registry_audit.report.lines import baseline_line

    path = printable(difference.path)
    match difference.kind:
        case Kind.ONLY_LEFT | Kind.ONLY_RIGHT if difference.expected_by is None:
            is_left = difference.kind is Kind.ONLY_LEFT
            return f"{'-' if is_left else '+'} {path}  only in {printable(names[0 if is_left else 1])}"
        case Kind.TYPE:
            return f"* {path}  not the same kind of entry"
        case _:
            return baseline_line(difference)
