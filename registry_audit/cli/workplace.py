"""Directories a command writes to: checked before the work, not after; and written in peace at its end."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry_audit.audit.workdir import WorkDirectory
from registry_audit.errors import UsageError

__all__ = ["WorkDirectory", "must_be_writable", "must_take_file", "undisturbed"]


def must_be_writable(directory: Path, option: str) -> None:
    """Make the directory if need be, and write to it once.

    Raises:
        UsageError: naming the option.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(f"{option} {directory} cannot be written: {error.strerror}") from error


def must_take_file(file: Path, option: str) -> None:
    """Raises: UsageError: the file cannot be made there."""
    if file.is_dir():
        raise UsageError(f"{option} {file} is a directory: name a file in it")
    if not file.parent.is_dir():
        raise UsageError(f"{option} {file} cannot be written: there is no directory {file.parent}")
    if not os.access(file.parent, os.W_OK):
        raise UsageError(f"{option} {file} cannot be written: permission denied")


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is being ended and has a report to write is sent SIGTERM soon after; only Ctrl-C ends it now."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
