"""Implements `registry-audit audit`, and the same options for `python -m flows.audit_registry`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import (
    LIMITS,
    LISTING_LIMITS,
    SERVER,
    SIGNING,
    SectionedCommand,
    audit_options,
    ledger_url,
    required_tracking_uri,
    with_options,
)
from registry_audit.cli.progress import Progress
from registry_audit.cli.report_output import WorkDirectory, exit_status_of, must_be_writable, resumable, show_and_write
from registry_audit.cli.submit.option import submittable, there
from registry_audit.errors import Stopped
from registry_audit.net.deadline import OutOfTime

if TYPE_CHECKING:
    from registry_audit.audit.options import AuditOptions
    from registry_audit.audit.scope import Scope
    from registry_audit.report.document import AuditDocument

Keep = Callable[["AuditDocument"], None]
Run = Callable[["AuditOptions", WorkDirectory, Progress, Keep], "AuditDocument"]


def audit_command(run: Run) -> click.Command:
    """Make the command with everything except the audit itself.

    Args:
        run: audits as the options say. It may keep readings in the given directory, under its id, so that they survive
            the process. If the audit does not finish, it passes on the report on what was done, and raises.
    """

    @click.command(
        "audit",
        cls=SectionedCommand,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit status: 0 complete and clean, 1 findings, 2 usage, 3 something could not be verified or nothing "
        "was audited, 4 the ledger is unusable, 130 interrupted (4 wins over 1, and 1 over 3).",
    )
    @with_options(
        *SERVER,
        *("report_dir", "accept_new", "fail_on", "models", "filter", "latest", "subset"),
        *("quick", "full_every", "liveness", "ledger", "registry_name", "digest", "workers", "audit_id"),
        *("quiet", "verbose", "format"),
        *SIGNING,
        *LIMITS,
        *LISTING_LIMITS,
        format="What to print on stdout; json is the audit.json of --report-dir.",
    )
    @submittable("audit-registry", translate=_of_flow, check=_check)
    def command(
        report_dir: Path | None,
        audit_id: str | None,
        quiet: bool,
        verbose: bool,
        format: str,
        tracking_uri: str | None,
        **chosen: Any,
    ) -> int:
        """Audit every version of every registered model: read its copies in full and compare them.

        Each copy is compared with the other one and with the accepted baseline. On stdout a line for a version begins
        with = same bytes, @ same storage, ~ expected difference, * differs, ? unverifiable, ! missing.
        """
        chosen["tracking_uri"] = required_tracking_uri(tracking_uri)
        chosen["ledger"] = ledger_url(chosen["ledger"])
        options = audit_options(chosen)
        if report_dir is not None:
            must_be_writable(report_dir, "--report-dir")
        work = WorkDirectory(audit_id)
        with work.held(_identity(options)):
            interrupted = list["AuditDocument"]()

            def show_interrupted(error: BaseException) -> None:
                for partly in interrupted:
                    # If the server never answered, the error message says everything, and no report is shown.
                    if partly.coverage.listed or isinstance(error, KeyboardInterrupt | OutOfTime | Stopped):
                        _show(partly, report_dir, format, verbose=verbose)

            with resumable(work, show_interrupted), Progress(quiet=quiet) as progress:
                document = run(options, work, progress, interrupted.append)
            is_written = _show(document, report_dir, format, verbose=verbose)
            return exit_status_of(work, document.outcome.exit_status, is_written=is_written)

    return command


def _identity(options: "AuditOptions") -> str:
    from registry_audit.ledger.record import registry_of

    return registry_of(options.registry_uri or options.tracking_uri)


def _of_flow(typed: dict[str, Any]) -> dict[str, Any]:
    return there(typed, report_dir="--report-dir")


def _check(parameters: dict[str, Any]) -> None:
    """Check the options against each other, whatever server and ledger the worker has.

    Raises:
        UsageError: the options contradict each other.
    """
    from registry_audit.audit.options import AuditOptions

    of_the_worker = {
        "tracking_uri": "the worker's",
        "ledger": None if parameters.get("ledger") == "none" else "its own",
    }
    given = {name: value for name, value in parameters.items() if name in AuditOptions.model_fields}
    audit_options(given | of_the_worker)


def _show(document: "AuditDocument", report_dir: Path | None, format: str, *, verbose: bool) -> bool:
    """Print the report and write its files. Return whether they were written."""
    from registry_audit.cli.report_output import coloured
    from registry_audit.report import as_json, as_text
    from registry_audit.report.write import write_report

    is_json = format == "json"
    chunks = as_json.chunks(document) if is_json else map(coloured, as_text.chunks(document, brief=not verbose))
    return show_and_write(chunks, report_dir, partial(write_report, document))


def _run_here(options: "AuditOptions", work: WorkDirectory, progress: Progress, keep: Keep) -> "AuditDocument":
    import_library(options.tracking_uri, options.registry_uri)
    from registry_audit.api import audit_registry

    def listed(scope: "Scope") -> None:
        work.belongs_to(_identity(options))
        progress.listed(scope)

    return audit_registry(
        options,
        audit_id=work.audit_id,
        work_directory=work.path,
        on_listed=listed,
        on_done=progress.done,
        on_bytes=progress.bytes,
        on_interruption=keep,
    )


command = audit_command(_run_here)
