"""Implements `registry-audit demo`, which shows the product on a registry with known damage."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_audit.errors import AuditError, UsageError
from registry_audit.verdict import ExitStatus

if TYPE_CHECKING:
    from registry_audit.report.document import AuditDocument, VersionRow


@click.command("demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("registry-audit-demo"),
    show_default=True,
    help="Where to build the registry. An earlier demo there is replaced.",
)
@click.option("--flow", is_flag=True, help="Run the audit-registry flow on an embedded Prefect (needs the checkout).")
def command(directory: Path, flow: bool) -> int:
    """Build a small real registry, damage it in known ways, audit it, and check that all the damage was found.

    Then overwrite an accepted model through MLflow's own API, and audit again.

    Exit status: 0 if the audits found exactly the damage that was done.
    """
    if flow and not (find_spec("flows") and find_spec("prefect")):
        raise UsageError("--flow needs the checkout and Prefect: run make demo there, or leave out --flow")

    try:
        version("mlflow")
    except PackageNotFoundError:
        raise UsageError(
            "the demo needs MLflow in full, and there is mlflow-skinny: pip install 'mlflow-registry-audit[mlflow]'"
        ) from None

    from registry_audit.demo.build_demo import build_demo_registry
    from registry_audit.demo.damage import OVERWRITTEN, overwrite_accepted_model
    from registry_audit.demo.writer import unexpected

    directory = directory.absolute()
    click.echo("Building a small real registry and damaging it in known ways: this takes about a minute.")
    demo = build_demo_registry(directory, say=_progress)
    _progress("")
    shutil.rmtree(directory / "home", ignore_errors=True)  # the ledger of an earlier demo belongs to another registry

    first = _audit(directory, demo.tracking_uri, "report", ["--accept-new"], flow=flow)
    wrong = unexpected(first, demo.expected)
    if wrong:
        raise AuditError("the audit did not find exactly the damage that was done: " + "; ".join(wrong))
    damaged = sum(1 for expected in demo.expected if expected.rules)
    click.echo(
        f"\nFirst audit: all {damaged} damaged versions of {len(first.versions)} were found, and nothing else.\n"
    )
    _show(next(row for row in first.versions if (row.name, row.version) == ("Fraud-Detector", "2")))

    name = "/".join(OVERWRITTEN)
    click.echo(f"\nNow somebody overwrites {name} through MLflow's own API. No timestamp changes. Second audit:\n")
    overwrite_accepted_model(demo.tracking_uri)
    second = _audit(directory, demo.tracking_uri, "report-2", ["--model", OVERWRITTEN[0]], flow=False)
    overwritten = next(row for row in second.versions if (row.name, row.version) == OVERWRITTEN)
    if "RA002" not in [finding.rule for finding in overwritten.findings]:
        raise AuditError("the second audit did not find the overwritten model")
    _show(overwritten)

    ledger = f"sqlite:///{directory / 'home' / 'ledger.db'}"
    server = f"--tracking-uri {shlex.quote(demo.tracking_uri)} --ledger {shlex.quote(ledger)}"
    click.echo("\nWhat to try next:\n")
    click.echo(f"  in a browser: {(directory / 'report' / 'audit.html').resolve().as_uri()}")
    program = _program()
    click.echo(f"  {program} baseline history {name} {server}")
    click.echo(f"  {program} rule RA002")
    click.echo(f"  {program} audit --tracking-uri http://YOUR-SERVER:5000 --accept-new --report-dir report")
    return 0


def _program() -> str:
    """Return how to call this program from here. In a checkout it is not on the PATH."""
    beside = Path(sys.executable).with_name("registry-audit")
    return "registry-audit" if shutil.which("registry-audit") or not beside.exists() else os.path.relpath(beside)


def _progress(line: str) -> None:
    """Show a line that replaces the one before, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[2K{line}", nl=False, err=True)


def _show(row: "VersionRow") -> None:
    """Print a version with its differences, as an audit does."""
    from registry_audit.cli.report_output import coloured
    from registry_audit.report.lines import baseline_lines, difference_line, version_line

    lines = [
        version_line(row),
        *(f"  {line}" for line in (*map(difference_line, row.differences), *baseline_lines(row))),
    ]
    click.echo(coloured("".join(f"    {line}\n" for line in lines)), nl=False)


def _audit(directory: Path, tracking_uri: str, report: str, options: list[str], *, flow: bool) -> "AuditDocument":
    """Audit the demo registry in a separate process, as a user would. Its output is kept beside its report.

    Raises:
        AuditError: it did not end with findings.
    """
    from registry_audit.report.write import load_report

    program = ["flows.audit_registry"] if flow else ["registry_audit", "audit"]
    arguments = ["--tracking-uri", tracking_uri, "--report-dir", str(directory / report), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_AUDIT_")}
    environment["REGISTRY_AUDIT_HOME"] = str(directory / "home")
    if flow:
        # Use a separate Prefect, so that the demo leaves no runs on a real server.
        environment["PREFECT_HOME"] = str(directory / "prefect")
        environment.pop("PREFECT_API_URL", None)
    printed = directory / f"{report}.txt"
    with printed.open("wb") as output:
        finished = subprocess.run(
            [sys.executable, "-m", *program, *arguments], check=False, env=environment, stdout=output, stderr=output
        )
    if finished.returncode != ExitStatus.FINDINGS:
        raise AuditError(
            f"the audit ended with {finished.returncode}; it should have found damage. What it said is in {printed}"
        )
    return load_report(directory / report / "audit.json")
