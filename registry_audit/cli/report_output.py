"""The end of a command that reads a whole registry: its report, shown and written, and what stays to resume it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from registry_audit.cli.workplace import WorkDirectory, undisturbed
from registry_audit.verdict import ExitStatus

# Writes the report's files, and returns their paths.
Write = Callable[[Path], tuple[Path, ...]]


@contextmanager
def resumable(work: WorkDirectory, show_interrupted: Callable[[BaseException], None]) -> Iterator[None]:
    """What does not come to its end is shown as far as it came, what was read stays, and how to resume it is said.

    Args:
        show_interrupted: shows the report on what was done, if there is one. It is given what ended the command.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        with undisturbed():
            show_interrupted(error)
        if work.path.exists():  # not once everything was done
            click.echo(f"to resume, run the same command with --audit-id {work.audit_id}", err=True)
        raise
    except Exception as error:
        show_interrupted(error)
        work.leave()
        if work.has_readings:
            click.echo(f"what was read is kept: to resume, give --audit-id {work.audit_id}", err=True)
        raise


def show_and_write(chunks: Iterable[str], report_dir: Path | None, write: Write) -> bool:
    """Print the report and write its files; whether they are written."""
    written: tuple[Path, ...] = ()
    failed: OSError | None = None
    try:
        written = write(report_dir) if report_dir is not None else ()
    except OSError as error:
        failed = error
    for chunk in chunks:
        click.echo(chunk, nl=False)
    for path in written:
        click.echo(f"wrote {path}", err=True)
    if failed is not None:
        click.echo(f"the report cannot be written to {report_dir}: {failed.strerror}", err=True)
    return failed is None


def exit_status_of(work: WorkDirectory, status: int, *, is_written: bool) -> int:
    """How the command ends. What was read is removed, unless it was incomplete and may be tried again.

    A report that could not be written makes it incomplete; what it found stays found.
    """
    if status == ExitStatus.INCOMPLETE and work.has_readings:
        kept = "what was read is kept for a day: to try only the rest again, give --audit-id"
        click.echo(f"{kept} {work.audit_id}", err=True)
    else:
        work.remove()
    return status if is_written or status != ExitStatus.CLEAN else int(ExitStatus.INCOMPLETE)
