"""`registry-audit demo`: the product on a registry whose damage is known."""

import subprocess
import sys
from pathlib import Path

import click

from registry_audit.errors import AuditError
from registry_audit.verdict import ExitStatus


@click.command("demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("registry-audit-demo"),
    show_default=True,
    help="Where to build the registry; a former demo there is replaced.",
)
@click.option("--flow", is_flag=True, help="Run the audit-registry flow on an embedded Prefect (needs the checkout).")
def command(directory: Path, flow: bool) -> int:
    """Build a small real registry, damage it in known ways, audit it, and check that all the damage was found.

    Exits 0 if the audit found exactly the damage that was done.
    """
    from registry_audit.demo.build import build_demo_registry
    from registry_audit.demo.expectations import unexpected
    from registry_audit.report.write import load_report

    demo = build_demo_registry(directory, say=lambda line: click.echo(f"building the demo registry: {line}", err=True))
    reports = directory / "report"
    program = ["flows.audit_registry"] if flow else ["registry_audit", "audit"]
    arguments = ["--tracking-uri", demo.tracking_uri, "--report-dir", str(reports)]
    finished = subprocess.run([sys.executable, "-m", *program, *arguments], check=False)
    if finished.returncode != ExitStatus.FINDINGS:
        raise AuditError(
            f"the audit of the demo registry ended with {finished.returncode}; it should have found damage"
        )
    wrong = unexpected(load_report(reports / "audit.json"), demo.expected)
    for line in wrong:
        click.echo(line, err=True)
    if wrong:
        raise AuditError("the audit did not find exactly the damage that was done")
    damaged = sum(1 for expected in demo.expected if expected.rules)
    click.echo(f"\nAll {damaged} damaged versions were found, and nothing else. Open {reports / 'audit.html'}")
    return 0
