"""Handles what a command leaves: directories, the report on the terminal and in files, and data to resume an audit."""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from registry_audit.audit.work_directory import WorkDirectory
from registry_audit.errors import UsageError
from registry_audit.model.mlmodel import must_not_be_in_a_model
from registry_audit.verdict import ExitStatus

# Output directories are checked before the work, not after it. Signals do not disturb writing them at its end.

__all__ = ["WorkDirectory", "must_be_writable", "undisturbed"]


def must_be_writable(directory: Path, option: str) -> None:
    """Create the directory if necessary, and test that it can be written.

    Raises:
        UsageError: it cannot; the message names the option.
    """
    must_not_be_in_a_model(directory, f"{option} {directory}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(f"{option} {directory} cannot be written: {error.strerror}") from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore SIGTERM and SIGHUP, which often follow an interruption, while the report is written.

    Ctrl-C still works.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# Writes the report's files, and returns their paths.
Write = Callable[[Path], tuple[Path, ...]]


@contextmanager
def resumable(work: WorkDirectory, show_interrupted: Callable[[BaseException], None]) -> Iterator[None]:
    """If the audit does not finish, show the report on what was done, keep what was read, and say how to resume.

    Args:
        show_interrupted: shows the report on what was done, if there is one. It is given the exception that ended the
            command.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        with undisturbed():
            show_interrupted(error)
        if work.path.exists():  # it is gone after everything was done
            click.echo(f"to resume, run the same command with --audit-id {work.audit_id}", err=True)
        raise
    except Exception as error:
        show_interrupted(error)
        work.leave()
        if work.has_readings:
            click.echo(f"what was read is kept: to resume, give --audit-id {work.audit_id}", err=True)
        raise


def show_and_write(chunks: Iterable[str], report_dir: Path | None, write: Write) -> bool:
    """Print the report and write its files. Return whether they were written."""
    written: tuple[Path, ...] = ()
    failed: OSError | UsageError | None = None
    try:
        written = write(report_dir) if report_dir is not None else ()
    except (OSError, UsageError) as error:
        failed = error
    for chunk in chunks:
        click.echo(chunk, nl=False)
    for path in written:
        click.echo(f"wrote {path}", err=True)
    if failed is not None:
        why = failed.message if isinstance(failed, UsageError) else failed.strerror
        click.echo(f"the report cannot be written to {report_dir}: {why}", err=True)
    return failed is None


def exit_status_of(work: WorkDirectory, status: int, *, is_written: bool, is_partial: bool = False) -> int:
    """Return the exit status, and remove what was read unless the audit was incomplete and may be repeated.

    If the report could not be written, a clean result becomes incomplete; other results stay.

    Args:
        is_partial: whether something could not be read although there are findings.
    """
    if (status == ExitStatus.INCOMPLETE or is_partial) and work.has_readings:
        kept = "what was read is kept for a day: to try only the rest again, give --audit-id"
        click.echo(f"{kept} {work.audit_id}", err=True)
    else:
        work.remove()
    return status if is_written or status != ExitStatus.CLEAN else int(ExitStatus.INCOMPLETE)


# The report's text is coloured on a terminal.

_SEVERITY = re.compile(r"\b(critical|high|medium|low)\b")
_RULE = re.compile(r"\bRA\d{3} (critical|high|medium|low)\b")
_OF_SEVERITY = {"critical": "red", "high": "red", "medium": "yellow", "low": "cyan"}
_OF_SIGN = {"*": "red", "!": "red", "?": "yellow", "=": "green", "@": "green", "~": "green"}
_OF_RESULT = {"Clean": "green", "Findings": "red", "Incomplete": "yellow"}


def coloured(text: str) -> str:
    """Colour lines of a report if stdout is a terminal and NO_COLOR is not set (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return "".join(_line(line) for line in text.splitlines(keepends=True))


def _line(line: str) -> str:
    sign = line.lstrip()[:2]
    if sign[1:] == " " and sign[0] in _OF_SIGN:
        found = _RULE.search(line)  # a version with a passing verdict may still have a finding
        return _styled(line, fg=_OF_SEVERITY[found[1]] if found else _OF_SIGN[sign[0]])
    words = line.split()
    if words[:1] == ["Result"] and len(words) > 1 and words[1] in _OF_RESULT:
        return _styled(line, fg=_OF_RESULT[words[1]], bold=True)
    if words and words[0] in _OF_SEVERITY:
        return _SEVERITY.sub(lambda match: click.style(match[0], fg=_OF_SEVERITY[match[0]], bold=True), line, count=1)
    return line


def _styled(line: str, **style: Any) -> str:
    """Colour a line, but not its newline."""
    text = line.rstrip("\n")
    return click.style(text, **style) + line[len(text) :]
