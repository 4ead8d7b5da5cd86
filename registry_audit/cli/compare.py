"""`compare-model-versions` and `registry-audit compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from registry_audit.cli.startup import import_library
from registry_audit.cli.submit.option import submittable, there
from registry_audit.cli.workplace import must_be_writable, must_take_file
from registry_audit.config import ServerConfig, load_compare_config
from registry_audit.errors import UsageError
from registry_audit.redact import redact

_NOTHING = "with both comparisons skipped nothing would be compared: leave out one of the --skip options"


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    """The content of the configuration file becomes parameters; the variables that it names are the worker's."""
    if typed.pop("verbose", False):
        raise UsageError("--verbose shows what this process reads: leave it out with --submit, and see the run's page")
    if not typed.get("compare_run_models", True) and not typed.get("compare_reg_models", True):
        raise UsageError(_NOTHING)
    config_file = typed.pop("config_file")
    servers = load_compare_config(config_file).servers
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
    "--config-file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="YAML: what to compare."
)
@click.option(
    "--download-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The files stay there, as DIR/run_model/server_N/... and DIR/reg_model/server_N/... "
    "[required without --submit]",
)
@click.option("--report-file", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as JSON.")
@click.option(
    "--compare-run-models/--skip-compare-run-models", default=True, help="Compare the run models. [default: yes]"
)
@click.option(
    "--compare-reg-models/--skip-compare-reg-models", default=True, help="Compare the registry models. [default: yes]"
)
@click.option("--verbose", is_flag=True, help="Show the configuration and the two versions too.")
@submittable("compare-model-versions", translate=_of_flow)
def command(
    config_file: Path,
    download_dir: Path | None,
    report_file: Path | None,
    compare_run_models: bool,
    compare_reg_models: bool,
    verbose: bool,
) -> int:
    """Compare two model versions, on one or two tracking servers: their run models and their registry models.

    Exit status: 0 the same, 1 different or damaged, 2 usage, 3 could not be verified.
    """
    if not compare_run_models and not compare_reg_models:
        raise UsageError(_NOTHING)
    if download_dir is None:
        raise click.UsageError("Missing option '--download-dir'.")
    config = load_compare_config(config_file)
    if report_file is not None:
        must_take_file(report_file, "--report-file")
    must_be_writable(download_dir, "--download-dir")

    import_library()
    from registry_audit.api import compare_model_versions
    from registry_audit.cli.single import show_details, show_section, write_json

    compared = compare_model_versions(
        config, download_dir, compare_run_models=compare_run_models, compare_reg_models=compare_reg_models
    )
    report = compared.report
    if verbose:
        show_section("Config", report["Config"])
        show_section("Model_Version_Summary", report["Model_Version_Summary"])
    for audit in compared.pair.pairs:
        title = "Run_Model_Comparison" if audit.role.value == "run_model" else "Reg_Model_Comparison"
        show_section(title, {key: report[title][key] for key in ("equals", "tracking_server_1", "tracking_server_2")})
        show_details(audit.verdict.value, audit.reason, audit.comparison, audit.findings[0] + audit.findings[1])
    show_section("Comparison_Summary", report["Comparison_Summary"])
    write_json(report, report_file)
    return int(compared.outcome.exit_status)
