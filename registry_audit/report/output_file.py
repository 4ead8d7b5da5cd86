"""Writes a file that a user named: completely or not at all, and never in the place of what is not a report's."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from registry_audit.errors import UsageError
from registry_audit.model.mlmodel import must_not_be_in_a_model
from registry_audit.printable import printable

_SQLITE = b"SQLite format 3\0"  # https://sqlite.org/fileformat2.html


def must_take_file(file: Path, option: str) -> None:
    """Check before the work that the file can be written.

    Args:
        option: names the file in a message, for instance `--report-file`.

    Raises:
        UsageError: it cannot be written, or must not be replaced.
    """
    _must_be_no_registrys(file)
    shown = f"{option} {printable(str(file))}"
    if os.path.isdir(file):  # noqa: PTH112 - which never raises
        raise UsageError(f"{shown} is a directory: name a file in it")
    if not os.path.isdir(file.parent):  # noqa: PTH112
        raise UsageError(f"{shown} cannot be written: there is no directory {printable(str(file.parent))}")
    if not os.access(file.parent if _is_replaceable(file) else file, os.W_OK):
        raise UsageError(f"{shown} cannot be written: permission denied")


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Yield a path to write to. What is written there gets the name `file` when the body ends, or is removed.

    A pipe or a device keeps its place and is written to directly: `/dev/null`, `/dev/stdout`, `>(gzip > report.gz)`.

    Raises:
        UsageError: the file is a database, or in a model.
        OSError: the file cannot be written.
    """
    _must_be_no_registrys(file)
    if not _is_replaceable(file):
        yield file
        return
    # Not `tempfile`, whose files only the owner can read: a report is shared as the umask allows.
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}.tmp")
    try:
        yield draft
        _flush_to_disk(draft)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _flush_to_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _must_be_no_registrys(file: Path) -> None:
    """Refuse to replace a file that may be what is audited. Raises: UsageError."""
    shown = printable(str(file))
    must_not_be_in_a_model(file.parent, shown)
    if not os.path.isfile(file):  # noqa: PTH113 - opening a pipe would wait for somebody who writes to it
        return
    with contextlib.suppress(OSError), file.open("rb") as content:
        if content.read(len(_SQLITE)) == _SQLITE:
            raise UsageError(f"{shown} is a database, which no report replaces: give another name")


def _is_replaceable(file: Path) -> bool:
    """Say whether a new file may take this name. With the rights to do so, it would also take that of a device."""
    place = os.path.realpath(file.parent)
    is_systems = place == "/dev" or place.startswith("/proc/")
    return not is_systems and (os.path.isfile(file) or os.path.isdir(file) or not os.path.exists(file))  # noqa: PTH110, PTH112, PTH113
