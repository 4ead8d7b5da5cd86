"""`registry-audit demo`: the product on a registry whose damage is known."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_audit.errors import AuditError
from registry_audit.verdict import ExitStatus

if TYPE_CHECKING:
    from registry_audit.report.document import AuditDocument


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

    A second act overwrites an accepted model through MLflow's own API, and audits again.

    Exits 0 if the audits found exactly the damage that was done.
    """
    from registry_audit.demo.build import build_demo_registry
    from registry_audit.demo.expectations import unexpected
    from registry_audit.demo.overwrite import OVERWRITTEN, overwrite_accepted_model

    directory = directory.absolute()
    demo = build_demo_registry(directory, say=lambda line: click.echo(f"building the demo registry: {line}", err=True))
    shutil.rmtree(directory / "home", ignore_errors=True)  # of a former demo: this registry is another one

    first = _audit(directory, demo.tracking_uri, "report", ["--accept-new"], flow=flow)
    wrong = unexpected(first, demo.expected)
    if wrong:
        raise AuditError("the audit did not find exactly the damage that was done: " + "; ".join(wrong))
    damaged = sum(1 for expected in demo.expected if expected.rules)
    click.echo(f"\nAct one: all {damaged} damaged versions were found, and nothing else.")

    click.echo(
        f"\nAct two: somebody overwrites {'/'.join(OVERWRITTEN)} through MLflow's own API. No timestamp moves.\n"
    )
    overwrite_accepted_model(demo.tracking_uri)
    second = _audit(directory, demo.tracking_uri, "report-2", ["--model", OVERWRITTEN[0]], flow=False)
    rules = {(v.name, v.version): [finding.rule for finding in v.findings] for v in second.versions}
    if "RA002" not in rules[OVERWRITTEN]:
        raise AuditError("the second audit did not find the overwritten model")
    click.echo(f"\nThe ledger remembered. Open {directory / 'report' / 'audit.html'}")
    click.echo(f"              and then {directory / 'report-2' / 'audit.html'}")
    return 0


def _audit(directory: Path, tracking_uri: str, report: str, options: list[str], *, flow: bool) -> "AuditDocument":
    """Audit the demo registry in a process of its own, as a user would; its text goes where ours does.

    Raises:
        AuditError: it did not end with findings.
    """
    from registry_audit.report.write import load_report

    program = ["flows.audit_registry"] if flow else ["registry_audit", "audit"]
    arguments = ["--tracking-uri", tracking_uri, "--report-dir", str(directory / report), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_AUDIT_")}
    environment["REGISTRY_AUDIT_HOME"] = str(directory / "home")
    if flow:
        # A Prefect of its own: a demo leaves no runs in anybody's server.
        environment["PREFECT_HOME"] = str(directory / "prefect")
        environment.pop("PREFECT_API_URL", None)
    sys.stdout.flush()
    finished = subprocess.run([sys.executable, "-m", *program, *arguments], check=False, env=environment)
    if finished.returncode != ExitStatus.FINDINGS:
        raise AuditError(f"the audit ended with {finished.returncode}; it should have found damage")
    return load_report(directory / report / "audit.json")
