"""Implements `registry-audit compare-registries`, which proves a migration."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import (
    LIMITS,
    LISTING_LIMITS,
    SectionedCommand,
    ledger_url,
    must_be_no_input,
    with_options,
)
from registry_audit.cli.report_output import WorkDirectory, exit_status_of, must_be_writable, resumable, show_and_write
from registry_audit.cli.submit.option import must_be_sendable, submittable, there
from registry_audit.errors import UsageError
from registry_audit.migration.registries_config import load_map, load_migration_config
from registry_audit.registry.connection import Server
from registry_audit.report.write import MIGRATION_FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_audit.migration.registries_config import MigrationConfig, MigrationOptions
    from registry_audit.migration.registry_reading import Listed
    from registry_audit.report.registries_document import MigrationDocument


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    """Turn the content of both files into parameters. The variables that the configuration names are the worker's."""
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
    must_be_sendable(config_file, server.tracking_uri, server.registry_uri)
    named = {"host": server.tracking_uri, "registry_uri": server.registry_uri, "username_env": server.username_env}
    named |= {"password_env": server.password_env, "token_env": server.token_env}
    return {key: value for key, value in named.items() if value is not None}


@click.command(
    "compare-registries",
    cls=SectionedCommand,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 complete, 1 something is missing, changed or differs, 2 usage, 3 something could not be "
    "compared or was not moved, 4 the ledger that --quick reads is unusable, 130 interrupted (1 wins over 3).",
)
@click.option(
    "--config-file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file with source and target.",
)
@with_options("models", models="Only models of the source whose name matches; may be repeated.")
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that says which model became which, one line `A -> B` each.",
)
@click.option("--one-way", is_flag=True, help="Only ask whether all of the source is in the target.")
@click.option(
    "--in-place", is_flag=True, help="The files were meant to stay where they are: one shared storage is not an error."
)
@with_options(
    *("fail_on", "quick", "full_every", "ledger", "report_dir", "format", "workers", "audit_id"),
    *LIMITS,
    *LISTING_LIMITS,
    *("quiet", "verbose"),
    quick="Skip models whose file list (sizes, times or ETags) has not changed since an audit last read them in full.",
    report_dir="Write migration.json, .html, .md, .csv and junit.xml there.",
    format="What to print on stdout; json is the migration.json of --report-dir.",
    workers="How many versions to read at once, on each side.",
    audit_id="Resume the interrupted comparison with this id: only the rest is read.",
    verbose="List every pair and how it was found, however many there are.",
)
@submittable("compare-registries", translate=_of_flow)
def command(
    config_file: Path,
    models: tuple[str, ...],
    map_file: Path | None,
    one_way: bool,
    in_place: bool,
    fail_on: str,
    quick: bool,
    full_every: int | None,
    ledger: str | None,
    report_dir: Path | None,
    format: str,
    workers: int,
    audit_id: str | None,
    quiet: bool,
    verbose: bool,
    **limits: int | None,
) -> int:
    """Prove a migration: is every version of one registry in another, unchanged?

    Pairs are found by their bytes, not by their numbers, and the report says how each was found.
    """
    from registry_audit.verdict import Severity

    config, names = load_migration_config(config_file), load_map(map_file)
    if report_dir is not None:
        for name, _ in MIGRATION_FILES:
            must_be_no_input(report_dir / name, "--report-dir", config_file, map_file)
        must_be_writable(report_dir, "--report-dir")
    work = WorkDirectory(audit_id)
    servers = config.source, config.target
    import_library(*(address for server in servers for address in (server.tracking_uri, server.registry_uri)))
    from registry_audit.migration.pair_judging import PairVerdict
    from registry_audit.migration.registries_config import MigrationOptions

    trust = (quick, full_every, ledger_url(ledger))
    options = MigrationOptions(models, names, one_way, in_place, Severity(fail_on), workers, limits, *trust)
    show = partial(_show, report_dir=report_dir, format=format, verbose=verbose)
    with work.held(_identity(config)):
        document = _compared(config, options, work, quiet, show)
        is_written = show(document)
        is_partial = bool(document.summary.verdicts[PairVerdict.UNVERIFIABLE])
        return exit_status_of(work, document.outcome.exit_status, is_written=is_written, is_partial=is_partial)


def _identity(config: "MigrationConfig") -> str:
    """Return the identity of both registries, so that readings of other registries are not reused."""
    from registry_audit.ledger.record import registry_of

    one, two = (registry_of(server.registry_uri or server.tracking_uri) for server in (config.source, config.target))
    return f"{one} and {two}"


def _compared(
    config: "MigrationConfig",
    options: "MigrationOptions",
    work: WorkDirectory,
    quiet: bool,
    show: "Callable[[MigrationDocument], object]",
) -> "MigrationDocument":
    from registry_audit.api import compare_registries
    from registry_audit.cli.progress import MigrationProgress

    interrupted = list["MigrationDocument"]()

    def show_interrupted(_: BaseException) -> None:
        for partly in interrupted:
            show(partly)

    with resumable(work, show_interrupted), MigrationProgress(quiet=quiet) as progress:

        def listed(source: "Listed", target: "Listed") -> None:
            work.belongs_to(_identity(config))
            progress.listed(source, target)

        return compare_registries(
            config,
            options,
            work_directory=work.path,
            on_listed=listed,
            on_done=progress.done,
            on_interruption=interrupted.append,
        )


def _show(document: "MigrationDocument", *, report_dir: Path | None, format: str, verbose: bool) -> bool:
    """Print the report and write its files. Return whether they were written."""
    from registry_audit.report import as_json, as_text
    from registry_audit.report.write import write_report

    is_json = format == "json"
    chunks = as_json.migration_chunks(document) if is_json else as_text.migration_chunks(document, brief=not verbose)
    return show_and_write(chunks, report_dir, partial(write_report, document))
