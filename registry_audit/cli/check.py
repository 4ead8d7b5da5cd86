"""`check-model-version` and `registry-audit check`."""

from pathlib import Path
from typing import Any

import click

from registry_audit.cli.options import audit_options
from registry_audit.cli.servers import required_tracking_uri, server_options
from registry_audit.cli.signing import signing_options
from registry_audit.cli.startup import import_library
from registry_audit.cli.submit.option import submittable, there
from registry_audit.cli.workplace import must_take_file
from registry_audit.refs import parse_selector


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    parse_selector(typed["version_or_stage"])
    return there(typed, download_dir="--download-dir", report_file="--report-file")


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", required=True, metavar="NAME", help="Registered model name.")
@click.option(
    "--version-or-stage", required=True, metavar="V", help="Version number, stage in any case, @alias or latest."
)
@click.option(
    "--download-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Leave the files there, as DIR/run_model/... and DIR/reg_model/...",
)
@click.option("--report-file", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as JSON.")
@server_options
@submittable("check-model-version", translate=_of_flow)
@signing_options
def command(
    model: str,
    version_or_stage: str,
    download_dir: Path | None,
    report_file: Path | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    signing_key: str | None,
    signing_certificate_chain: str | None,
) -> int:
    """Check that a version's run model and registry model are the same bytes, and that both are still there.

    Exit status: 0 the same, 1 different or damaged, 2 usage, 3 could not be verified.
    """
    tracking_uri = required_tracking_uri(tracking_uri)
    parse_selector(version_or_stage)
    if report_file is not None:
        must_take_file(report_file, "--report-file")

    import_library()
    from registry_audit.api import check_model_version
    from registry_audit.cli.single import show_details, show_section, write_json

    signing = {"signing_key": signing_key, "signing_certificate_chain": signing_certificate_chain}
    options = audit_options({"tracking_uri": tracking_uri, "registry_uri": registry_uri, **signing})
    checked = check_model_version(options, model, version_or_stage, download_dir=download_dir, report_file=report_file)
    audit = checked.audit
    show_section("Comparison", checked.report["Comparison"])
    show_details(audit.verdict.value, audit.reason, audit.comparison, audit.findings)
    if audit.signature is not None:
        click.echo(f"Signature: {audit.signature.status.value} ({audit.signature.reason})")
    write_json(checked.report, report_file)
    click.echo(f"Equals: {audit.verdict.passes}")
    return int(checked.outcome.exit_status)
