"""Keeps rows of a list that may not fit in memory: a few stay in memory, many go to a temporary file.

A row is read back from the position it was put at, in whatever order rows were put; iterating decodes one row at a
time. If the disk is full, further rows stay in memory, so that no row is lost.
"""

import tempfile
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Generic, TypeVar

_T = TypeVar("_T")

IN_MEMORY = 1_000  # rows; a few megabytes
_MISSING = -1


class Spool(Generic[_T]):
    """Keeps rows by position. Several threads may put rows; read them when all are in."""

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
            encode, decode: convert a row to one line of ASCII without its line end, and back.
            directory: where the unnamed temporary file is kept, which disappears with the process; None is the system's
                directory.
            in_memory: number of rows that are kept in memory before the file is used.
        """
        self._encode, self._decode, self._directory = encode, decode, directory
        self._in_memory = IN_MEMORY if in_memory is None else in_memory
        self._lock = threading.Lock()
        self._rows: dict[int, _T] = {}  # rows that are not in the file
        self._offsets, self._sizes = array("q"), array("q")  # of the rows in the file, by position
        self._count = self._end = 0  # positions that hold a row; bytes of the file that rows use
        self._file: IO[bytes] | None = None
        self._is_full = False

    def __len__(self) -> int:
        """Return the number of positions that hold a row."""
        return self._count

    def append(self, row: _T) -> None:
        with self._lock:
            self._put(len(self._offsets), row)

    def put(self, position: int, row: _T) -> None:
        with self._lock:
            self._put(position, row)

    def has(self, position: int) -> bool:
        """Say whether the position holds a row."""
        with self._lock:
            return position in self._rows or (position < len(self._offsets) and self._offsets[position] != _MISSING)

    def at(self, position: int) -> _T:
        with self._lock:
            if position in self._rows:
                return self._rows[position]
            if position >= len(self._offsets) or self._offsets[position] == _MISSING or self._file is None:
                raise IndexError(position)
            self._file.seek(self._offsets[position])
            return self._decode(self._file.read(self._sizes[position]).decode("ascii"))

    def __iter__(self) -> Iterator[_T]:
        for position in range(len(self._offsets)):
            if position in self._rows or self._offsets[position] != _MISSING:
                yield self.at(position)

    def _put(self, position: int, row: _T) -> None:
        missing = array("q", [_MISSING]) * (position + 1 - len(self._offsets))
        self._offsets.extend(missing)
        self._sizes.extend(missing)
        self._count += self._offsets[position] == _MISSING and position not in self._rows
        self._rows[position] = row
        if (self._file is not None or len(self._rows) > self._in_memory) and not self._is_full:
            self._move_to_file()

    def _move_to_file(self) -> None:
        try:
            if self._file is None:
                # Unbuffered: bytes that the disk did not take must not look written.
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - as long as the rows
                weakref.finalize(self, self._file.close)
            for position in sorted(self._rows):
                line = memoryview(self._encode(self._rows[position]).encode("ascii"))
                self._file.seek(self._end)
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:])
                self._offsets[position], self._sizes[position] = self._end, len(line)
                self._end += len(line)
                del self._rows[position]
        except OSError:
            self._is_full = True
