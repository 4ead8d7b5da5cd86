"""Rows of a list that may be longer than memory should be: few stay in memory, many go to a file of their own.

What is put at a position comes out there, whatever was put first; iterating decodes one row at a time.
"""

import tempfile
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Generic, TypeVar

from registry_audit.errors import CouldNotVerify

_T = TypeVar("_T")

IN_MEMORY = 1_000  # rows; a few megabytes
_MISSING = -1


class Spool(Generic[_T]):
    """Safe to put into from several threads; read it when everything is in."""

    def __init__(
        self,
        encode: Callable[[_T], str],
        decode: Callable[[str], _T],
        *,
        directory: Path | None = None,
        in_memory: int | None = None,
    ) -> None:
        """
        Args:
            encode, decode: a row to one line of ASCII without its end, and back.
            directory: for the file, which has no name and goes with the process; None is the system's.
            in_memory: rows before the file is needed.
        """
        self._encode, self._decode, self._directory = encode, decode, directory
        self._in_memory = IN_MEMORY if in_memory is None else in_memory
        self._lock = threading.Lock()
        self._rows: dict[int, _T] = {}
        self._offsets = array("q")  # by position
        self._stored_count = 0  # positions in the file that hold a row
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        """How many positions hold a row."""
        return len(self._rows) if self._file is None else self._stored_count

    def append(self, row: _T) -> None:
        with self._lock:
            self._put(len(self._rows) if self._file is None else len(self._offsets), row)

    def put(self, position: int, row: _T) -> None:
        """
        Raises:
            CouldNotVerify: the file cannot be written; the audit cannot go on without its rows.
        """
        with self._lock:
            self._put(position, row)

    def at(self, position: int) -> _T:
        if self._file is None:
            return self._rows[position]
        return self._decode(self._line(self._file, self._offsets[position]))

    def __iter__(self) -> Iterator[_T]:
        if self._file is None:
            return iter([self._rows[position] for position in sorted(self._rows)])
        return self._stored(self._file)

    def _put(self, position: int, row: _T) -> None:
        try:
            if self._file is None and len(self._rows) < self._in_memory:
                self._rows[position] = row
                return
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - lives as long as the rows
                weakref.finalize(self, self._file.close)
                for earlier in sorted(self._rows):
                    self._write(self._file, earlier, self._rows[earlier])
                self._rows.clear()
            self._write(self._file, position, row)
        except OSError as error:
            where = self._directory or tempfile.gettempdir()
            raise CouldNotVerify(f"the rows of the audit cannot be kept in {where}: {error.strerror}") from error

    def _write(self, file: IO[bytes], position: int, row: _T) -> None:
        self._offsets.extend([_MISSING] * (position + 1 - len(self._offsets)))
        self._stored_count += self._offsets[position] == _MISSING
        self._offsets[position] = file.seek(0, 2)
        file.write(self._encode(row).encode("ascii") + b"\n")

    def _stored(self, file: IO[bytes]) -> Iterator[_T]:
        for offset in self._offsets:
            if offset != _MISSING:
                yield self._decode(self._line(file, offset))

    def _line(self, file: IO[bytes], offset: int) -> str:
        with self._lock:
            file.seek(offset)
            return file.readline().decode("ascii")
