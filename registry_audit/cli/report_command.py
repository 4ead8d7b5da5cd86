"""Implements `registry-audit report`, which renders an existing report in another format."""

from pathlib import Path

import click


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("audit_json", metavar="AUDIT.json", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(["html", "junit", "markdown", "csv", "text"]),
    default="text",
    show_default=True,
    help="Output format.",
)
def command(audit_json: Path, format: str) -> int:
    """Render an audit.json, or the migration.json of compare-registries, on stdout."""
    from registry_audit.report.write import load_any_report, rendered

    for chunk in rendered(load_any_report(audit_json), format):  # type: ignore[arg-type]
        click.echo(chunk, nl=False)
    return 0
