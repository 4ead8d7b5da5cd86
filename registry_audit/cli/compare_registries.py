"""`registry-audit compare-registries`: prove a migration."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.startup import import_library
from registry_audit.cli.submit.option import submittable, there
from registry_audit.cli.workplace import WorkDirectory, must_be_writable
from registry_audit.errors import AuditError, UsageError
from registry_audit.migration.config import load_migration_config
from registry_audit.migration.names import load_map
from registry_audit.redact import redact
from registry_audit.registry.connection import Server

if TYPE_CHECKING:
    from registry_audit.report.migration.document import MigrationDocument


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    """The content of both files becomes parameters; the variables that the configuration names are the worker's."""
    if typed.pop("format", "text") != "text" or typed.pop("audit_id", None):
        raise UsageError("--format and --audit-id are for a comparison in this process: leave them out with --submit")
    config_file = typed.pop("config_file")
    config = load_migration_config(config_file)
    map_file = typed.pop("map_file", None)
    if map_file is not None:
        typed["mapping"] = load_map(map_file).reported()
    parameters = there(typed, report_dir="--report-dir")
    return parameters | {
        "source": _sendable(config.source, config_file),
        "target": _sendable(config.target, config_file),
    }


def _sendable(server: Server, config_file: Path) -> dict[str, str]:
    for uri in (server.tracking_uri, server.registry_uri or ""):
        if redact(uri) != uri:
            raise UsageError(
                f"{config_file}: {redact(uri)} holds credentials, and Prefect stores and shows parameters: name "
                "variables of the worker in username_env and password_env, or token_env"
            )
    named = {"host": server.tracking_uri, "registry_uri": server.registry_uri, "username_env": server.username_env}
    named |= {"password_env": server.password_env, "token_env": server.token_env}
    return {key: value for key, value in named.items() if value is not None}


@click.command(
    "compare-registries",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 complete, 1 something is missing, changed or differs, 2 usage, 3 something could not be "
    "compared or was not moved, 130 interrupted (1 wins over 3).",
)
@click.option(
    "--config-file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="YAML: source and target."
)
@click.option("--model", "models", multiple=True, metavar="GLOB", help="Only these models of the source; repeatable.")
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names in the target: lines A -> B.",
)
@click.option("--one-way", is_flag=True, help="Ask only whether all of the source is in the target.")
@click.option("--in-place", is_flag=True, help="The files were to stay where they are: one storage is no gap.")
@click.option(
    "--fail-on",
    type=click.Choice(["low", "medium", "high", "critical"]),
    default="medium",
    show_default=True,
    help="Lowest severity of a finding that makes the exit status 1.",
)
@click.option(
    "--report-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write migration.json, .html, .md, .csv and junit.xml there.",
)
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Of stdout.")
@click.option("--workers", type=click.IntRange(1, 256), default=8, show_default=True, help="Versions at once, a side.")
@click.option("--audit-id", metavar="ID", help="Resume the interrupted comparison of this id: it reads only the rest.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@submittable("compare-registries", translate=_of_flow)
def command(
    config_file: Path,
    models: tuple[str, ...],
    map_file: Path | None,
    one_way: bool,
    in_place: bool,
    fail_on: str,
    report_dir: Path | None,
    format: str,
    workers: int,
    audit_id: str | None,
    quiet: bool,
) -> int:
    """Prove a migration: is every version of one registry in another, unchanged?

    Pairs are found by their bytes, not by their numbers, and the report says how each was found.
    """
    from registry_audit.verdict import Severity

    config, names = load_migration_config(config_file), load_map(map_file)
    if report_dir is not None:
        must_be_writable(report_dir, "--report-dir")
    work = WorkDirectory(audit_id)
    import_library()
    from registry_audit.api import compare_registries
    from registry_audit.cli.migration_progress import MigrationProgress
    from registry_audit.migration.options import MigrationOptions

    options = MigrationOptions(models, names, one_way, in_place, Severity(fail_on), workers)
    try:
        with MigrationProgress(quiet=quiet) as progress:
            document = compare_registries(
                config, options, work_directory=work.path, on_listed=progress.listed, on_done=progress.done
            )
        _show(document, report_dir, format)
    except KeyboardInterrupt:
        click.echo(f"to resume, run the same command with --audit-id {work.audit_id}", err=True)
        raise
    except AuditError:
        work.remove()
        raise
    work.remove()
    return document.outcome.exit_status


def _show(document: "MigrationDocument", report_dir: Path | None, format: str) -> None:
    from registry_audit.report.migration.render import rendered_migration, write_migration

    written = write_migration(document, report_dir) if report_dir is not None else ()
    for chunk in rendered_migration(document, format):  # type: ignore[arg-type]
        click.echo(chunk, nl=False)
    for path in written:
        click.echo(f"wrote {path}", err=True)
