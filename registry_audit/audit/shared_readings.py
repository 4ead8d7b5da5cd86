"""Reads each storage once per audit, and not again when that same audit is retried or resumed.

A reading is reused only while the storage's listing (paths, sizes, ETags or times) is what it was when the bytes were
read: the key contains the listing's fingerprint.
"""

import contextlib
import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

from registry_audit.audit.copies import Reading
from registry_audit.audit.rows import Codec
from registry_audit.audit.turns import Turns
from registry_audit.audit.work_directory import READINGS, Seal, code_digest, is_recent, own_seal
from registry_audit.errors import UsageError
from registry_audit.model.listing import Listing
from registry_audit.net.deadline import current

Readings = tuple[Reading, ...]
Parts = tuple[tuple[str, Listing], ...]  # identity and listing of storages

_MAX_ENTRIES = 5_000  # manifest entries kept in memory, a few megabytes

_CODEC = Codec[Readings](Readings)
_LINE_PARTS = 3  # signature, digest of the key, readings


class KeptReadings:
    """Keeps the readings of an audit in one file of signed lines in its directory. Not safe to share between threads.

    They are kept for a day, and only for the same audit: a line is reused by the same code in the same directory. The
    listing of the storage must still be what it was. An artifact proxy's listing would not show an overwrite of the
    same size: there `read_at` says since when the bytes were not read again.
    """

    def __init__(self, directory: Path) -> None:
        """Open or create the file. Raises: UsageError: the directory cannot be written."""
        self._lines: dict[str, int] = {}  # digest of the key to the offset of its last line
        self._seal: Seal | None = own_seal()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._place = f"{directory.resolve()}\n{code_digest('registry_audit')}"
            path = directory / READINGS
            path.touch(mode=0o600)
            self._file: BinaryIO | None = path.open("r+b")
            # Closed with the last reference to this object: an audit's callers may outlive the audit.
            weakref.finalize(self, self._file.close)
            self._index(self._file)
        except OSError as error:
            message = f"the audit's working directory {directory} is not writable: {error.strerror or error}"
            raise UsageError(message) from error

    def get(self, key: str) -> Readings | None:
        """Return the reading with this key, at most a day old; None if there is none, or if its signature is wrong."""
        digest = _digest(key)
        begin = self._lines.get(digest)
        if begin is None or self._file is None or self._seal is None:
            return None
        try:
            self._file.seek(begin)
            signature, _, text = self._file.readline().decode("ascii").rstrip("\n").split(" ", _LINE_PARTS - 1)
            if not self._seal.holds(signature, self._place_of(digest), text.encode("ascii")):
                return None
            readings = _CODEC.decode(text)
        except (OSError, ValueError):
            return None
        return readings if all(is_recent(reading.read_at or "") for reading in readings) else None

    def put(self, key: str, readings: Readings) -> None:
        """Write the readings and flush them: a killed process loses at most the line that it is writing.

        If the disk is full, the audit cannot be resumed, but goes on.
        """
        if self._file is None or self._seal is None:
            return
        digest, text = _digest(key), _CODEC.encode(readings)
        signature = self._seal.sign(self._place_of(digest), text.encode("ascii"))
        try:
            begin = self._file.seek(0, 2)
            self._file.write(f"{signature} {digest} {text}\n".encode("ascii"))
            self._file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        else:
            self._lines[digest] = begin

    def _place_of(self, digest: str) -> str:
        return f"{self._place}\n{digest}"

    def _index(self, file: BinaryIO) -> None:
        """Index the offset of each line. A line is parsed only when it is needed."""
        begin, line = 0, b"\n"
        for line in file:
            parts = line.split(b" ", _LINE_PARTS - 1)
            if len(parts) == _LINE_PARTS and line.endswith(b"\n"):
                self._lines[parts[1].decode("latin-1")] = begin
            begin += len(line)
        if not line.endswith(b"\n"):  # so that the incomplete line does not absorb the next one
            file.write(b"\n")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ReadingCache:
    """Shares readings between threads: if two threads want one storage, the second waits for the first."""

    def __init__(self, directory: Path | None = None, turns: Turns | None = None) -> None:
        """
        Args:
            directory: where this audit's readings are kept across processes; None keeps them in memory only.
            turns: a thread that waits for another thread's reading gives up its turn, because the other may need one.

        Raises:
            UsageError: the directory cannot be written.
        """
        self._lock = threading.Lock()
        self._running: dict[str, Future[Readings]] = {}
        self._memory: OrderedDict[str, Readings] = OrderedDict()
        self._held = 0
        self._turns = turns or Turns()
        self._kept = None if directory is None else KeptReadings(directory)
        self.reused_count = 0

    def once(self, parts: Parts, algorithm: str, read: Callable[[], Readings]) -> Readings:
        """Return the readings from `read`, or those read before for the same storages with the same listings.

        Args:
            parts: identity and listing of each storage that `read` reads. They are reused only for the same
                combination.
        """
        return self._shared((_key(algorithm, *parts),), lambda wanted: (read(),))[0]

    def each_once(self, parts: Parts, algorithm: str, read: Callable[[tuple[int, ...]], Readings]) -> Readings:
        """Return the reading of each of several storages.

        Args:
            read: reads the parts at these positions, which no other thread has read or is reading.
        """
        wanted = tuple(_key(algorithm, part) for part in parts)
        found = self._shared(
            wanted, lambda mine: tuple((reading,) for reading in read(tuple(wanted.index(one) for one in mine)))
        )
        return tuple(reading for (reading,) in found)

    def _shared(
        self, wanted: tuple[str, ...], read: Callable[[tuple[str, ...]], tuple[Readings, ...]]
    ) -> tuple[Readings, ...]:
        mine = dict[str, Future[Readings]]()
        found = dict[str, Future[Readings] | Readings]()
        with self._lock:
            for key in wanted:
                if (known := self._known(key)) is not None:
                    self.reused_count += 1
                    found[key] = known
                elif key in self._running:
                    found[key] = self._running[key]
                else:
                    found[key] = mine[key] = self._running[key] = Future()
        # Read our own entries before waiting for other threads, or two threads could deadlock.
        if mine:
            self._read(mine, read)
        return tuple(self._result(found[key]) for key in wanted)

    def _known(self, key: str) -> Readings | None:
        """Return a reading by this process, or by an earlier process of this audit; None if there is none."""
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        kept = self._kept.get(key) if self._kept is not None else None
        if kept is not None:
            self._remember(key, kept)
        return kept

    def _read(
        self, mine: "dict[str, Future[Readings]]", read: Callable[[tuple[str, ...]], tuple[Readings, ...]]
    ) -> None:
        try:
            readings = read(tuple(mine))
        except BaseException as error:
            with self._lock:
                for key in mine:
                    del self._running[key]
            for future in mine.values():
                future.set_exception(error)
            raise
        with self._lock:
            for key, got in zip(mine, readings, strict=True):
                del self._running[key]
                if any(reading.problems for reading in got):
                    continue  # not kept, so that it is tried again
                self._remember(key, got)
                if self._kept is not None:
                    self._kept.put(key, got)
        for future, got in zip(mine.values(), readings, strict=True):
            future.set_result(got)

    def _result(self, found: "Future[Readings] | Readings") -> Readings:
        if isinstance(found, tuple):
            return found
        if found.done():
            return found.result()
        deadline = current()
        with self._turns.given_up():
            try:
                return found.result(None if deadline is None else max(deadline.left_seconds, 0))
            except TimeoutError:
                if deadline is None or found.done():
                    raise
                raise deadline.error() from None

    def _remember(self, key: str, readings: Readings) -> None:
        self._memory[key] = readings
        self._held += sum(len(reading.entries) for reading in readings)
        while self._held > _MAX_ENTRIES and len(self._memory) > 1:
            _, dropped = self._memory.popitem(last=False)
            self._held -= sum(len(reading.entries) for reading in dropped)


def _key(algorithm: str, *parts: tuple[str, Listing]) -> str:
    """Return the key of storages that are read together: equal for every caller that wants the same."""
    return "|".join([algorithm, *(f"{identity}#{listing.fingerprint()}" for identity, listing in parts)])
