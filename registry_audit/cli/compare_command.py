"""`compare-model-versions` and `registry-audit compare`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import (
    fail_on_option,
    format_option,
    ledger_option,
    ledger_url,
    limit_options,
    registry_names_option,
)
from registry_audit.cli.report_output import must_be_writable
from registry_audit.cli.single_commands import (
    report_file_option,
    show_details,
    show_findings,
    show_report,
    show_section,
    where_to,
)
from registry_audit.cli.submit.option import submittable, there
from registry_audit.compare_config import ServerConfig, load_compare_config
from registry_audit.errors import UsageError
from registry_audit.redact import redact

if TYPE_CHECKING:
    from registry_audit.api import Compared

_NOTHING = "with both comparisons skipped nothing would be compared: leave out one of the --skip options"


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    """The content of the configuration file becomes parameters; the variables that it names are the worker's."""
    if typed.pop("verbose", False):
        raise UsageError("--verbose shows what this process reads: leave it out with --submit, and see the run's page")
    if not typed.get("compare_run_models", True) and not typed.get("compare_reg_models", True):
        raise UsageError(_NOTHING)
    config_file = typed.pop("config_file")
    servers = load_compare_config(config_file).named(tuple(typed.pop("registry_names", ()))).servers
    paths = there(typed, download_dir="--download-dir", report_file="--report-file")
    return paths | {f"tracking_server_{n}": _sendable(server, config_file) for n, server in enumerate(servers, 1)}


def _sendable(server: ServerConfig, config_file: Path) -> dict[str, str]:
    for uri in (server.host, server.registry_uri or ""):
        if redact(uri) != uri:
            raise UsageError(
                f"{config_file}: {redact(uri)} holds credentials, and Prefect stores and shows parameters: name "
                "variables of the worker in username_env and password_env, or token_env"
            )
    return {key: value for key, value in asdict(server).items() if value is not None}


@click.command("compare", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config-file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file that says what to compare.",
)
@click.option(
    "--download-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the files there, as DIR/run_model/server_N/... and DIR/reg_model/server_N/... "
    "[required without --submit]",
)
@report_file_option
@format_option("the file of --report-file")
@fail_on_option
@click.option(
    "--compare-run-models/--skip-compare-run-models", default=True, help="Compare the run models. [default: yes]"
)
@click.option(
    "--compare-reg-models/--skip-compare-reg-models", default=True, help="Compare the registry models. [default: yes]"
)
@ledger_option
@registry_names_option
@click.option("--verbose", is_flag=True, help="Also show the configuration and both versions.")
@limit_options
@submittable("compare-model-versions", translate=_of_flow)
def command(
    config_file: Path,
    download_dir: Path | None,
    report_file: Path | None,
    compare_run_models: bool,
    compare_reg_models: bool,
    ledger: str | None,
    registry_names: tuple[str, ...],
    verbose: bool,
    fail_on: str,
    format: str,
    **limits: int | None,
) -> int:
    """Compare two model versions, on one or two tracking servers: their run models and their registry models.

    The bytes of each are also compared with its accepted baseline, and what was read is recorded in the ledger.

    Exit status: 0 the same, 1 different or damaged, 2 usage, 3 could not be verified.
    """
    if not compare_run_models and not compare_reg_models:
        raise UsageError(_NOTHING)
    if download_dir is None:
        raise click.UsageError("Missing option '--download-dir'.")
    config = load_compare_config(config_file).named(registry_names)
    report_file, as_json = where_to(report_file, format)
    must_be_writable(download_dir, "--download-dir")

    import_library()
    from registry_audit.api import compare_model_versions
    from registry_audit.verdict import Severity

    def show(compared: "Compared") -> None:
        show_report(compared.report, report_file, None if as_json else partial(_show, compared, verbose=verbose))

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


def _show(compared: "Compared", *, verbose: bool) -> None:
    """The comparisons, and then what there is to say of each version, once."""
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
