"""Each storage is read once per audit, and not again when that same audit is retried or resumed.

A reading is reused only while the storage's listing (paths, sizes, ETags or times) is what it was when the bytes
were read: the key holds the listing's fingerprint. It outlives the process only where the listing would show an
overwrite of the same size; an artifact proxy's does not, so what came through one is read again after a restart.
"""

import base64
import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from registry_audit.audit.copies import Reading
from registry_audit.audit.turns import Turns
from registry_audit.audit.workdir import READINGS
from registry_audit.deadline import current
from registry_audit.errors import UsageError
from registry_audit.model.listing import Listing, Problem
from registry_audit.model.manifest import ManifestEntry

_MAX_ENTRIES = 5_000  # manifest entries kept in memory, a few megabytes

Readings = tuple[Reading, ...]
Parts = tuple[tuple[str, Listing], ...]  # identity and listing of storages


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is read in one go, and is the same for everybody who wants it."""

    key: str
    outlives_the_process: bool

    @classmethod
    def of(cls, algorithm: str, *parts: tuple[str, Listing]) -> "_Wanted":
        key = "|".join([algorithm, *(f"{identity}#{listing.fingerprint()}" for identity, listing in parts)])
        return cls(key, all(listing.tells_changes for _, listing in parts))


class ReadingCache:
    """Safe to share between threads: of two that want one storage, the second waits for the first."""

    def __init__(self, directory: Path | None = None, turns: Turns | None = None) -> None:
        """
        Args:
            directory: where this audit's readings are kept across processes; None keeps them in memory only.
            turns: given up by who waits for another thread's reading, which may need one to go on.

        Raises:
            UsageError: the directory cannot be written.
        """
        self._lock = threading.Lock()
        self._running: dict[str, Future[Readings]] = {}
        self._memory: OrderedDict[str, Readings] = OrderedDict()
        self._held = 0
        self._turns = turns or Turns()
        self._file: TextIO | None = None
        self.reused_count = 0
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                path = directory / READINGS
                path.touch(mode=0o600)
                torn = self._load(path)
                self._file = path.open("a", encoding="ascii")
                self._file.write("\n" if torn else "")  # so that it does not swallow the next line
            except OSError as error:
                message = f"the audit's working directory {directory} is not writable: {error.strerror}"
                raise UsageError(message) from error
            # Closed with the cache, which may outlive many audits' worth of callers.
            weakref.finalize(self, self._file.close)

    def once(self, parts: Parts, algorithm: str, read: Callable[[], Readings]) -> Readings:
        """What `read` gives, or gave before for the same storages with the same listings.

        Args:
            parts: identity and listing of each storage that `read` reads, to be read anew unless all were together.
        """
        whole = _Wanted.of(algorithm, *parts)
        return self._shared((whole,), lambda wanted: (read(),))[0]

    def each_once(self, parts: Parts, algorithm: str, read: Callable[[tuple[int, ...]], Readings]) -> Readings:
        """The reading of each of several storages.

        Args:
            read: of the parts at these positions, which nobody else has read or is reading.
        """
        wanted = tuple(_Wanted.of(algorithm, part) for part in parts)
        found = self._shared(
            wanted, lambda mine: tuple((reading,) for reading in read(tuple(wanted.index(one) for one in mine)))
        )
        return tuple(reading for (reading,) in found)

    def _shared(
        self, wanted: tuple["_Wanted", ...], read: Callable[[tuple["_Wanted", ...]], tuple[Readings, ...]]
    ) -> tuple[Readings, ...]:
        mine = dict[_Wanted, Future[Readings]]()
        found = dict[_Wanted, Future[Readings] | Readings]()
        with self._lock:
            for one in wanted:
                if one.key in self._memory:
                    self._memory.move_to_end(one.key)
                    self.reused_count += 1
                    found[one] = self._memory[one.key]
                elif one.key in self._running:
                    found[one] = self._running[one.key]
                else:
                    found[one] = mine[one] = self._running[one.key] = Future()
        # One's own first: of two that waited for each other neither would come to its own.
        if mine:
            self._read(mine, read)
        return tuple(self._result(found[one]) for one in wanted)

    def _read(
        self,
        mine: "dict[_Wanted, Future[Readings]]",
        read: Callable[[tuple["_Wanted", ...]], tuple[Readings, ...]],
    ) -> None:
        try:
            readings = read(tuple(mine))
        except BaseException as error:
            with self._lock:
                for one in mine:
                    del self._running[one.key]
            for future in mine.values():
                future.set_exception(error)
            raise
        with self._lock:
            for one, got in zip(mine, readings, strict=True):
                del self._running[one.key]
                if any(reading.problems for reading in got):
                    continue  # worth another try
                self._keep(one.key, got)
                if self._file is not None and one.outlives_the_process:
                    self._append(one.key, got)
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

    def _keep(self, key: str, readings: Readings) -> None:
        self._memory[key] = readings
        self._held += sum(len(reading.entries) for reading in readings)
        while self._held > _MAX_ENTRIES and len(self._memory) > 1:
            _, dropped = self._memory.popitem(last=False)
            self._held -= sum(len(reading.entries) for reading in dropped)

    def _append(self, key: str, readings: Readings) -> None:
        """Flushed with every line: a killed process loses at most the one it is writing.

        A disk that is full costs the resumption, not the audit.
        """
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"key": key, "readings": [_encode(r) for r in readings]}) + "\n")
            self._file.flush()
        except OSError:
            self._file = None

    def _load(self, file: Path) -> bool:
        """Whether the last line was left unfinished."""
        line = "\n"
        with file.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                    self._keep(row["key"], tuple(_decode(reading) for reading in row["readings"]))
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a killed process did not finish
        return not line.endswith("\n")


def _encode(reading: Reading) -> dict[str, object]:
    return {
        "entries": [[entry.path, entry.size, entry.digest] for entry in reading.entries],
        "mlmodel": _encode_bytes(reading.mlmodel),
        "signature": _encode_bytes(reading.signature),
        "meta": _encode_bytes(reading.meta),
        "problems": [[p.rule, p.message, p.path, p.blocks] for p in reading.problems],
        "files_read": reading.files_read,
        "bytes_read": reading.bytes_read,
    }


def _decode(row: dict[str, object]) -> Reading:
    return Reading(
        entries=tuple(ManifestEntry(str(p), int(s), str(d)) for p, s, d in row["entries"]),  # type: ignore[attr-defined]
        mlmodel=_decode_bytes(row["mlmodel"]),
        signature=_decode_bytes(row["signature"]),
        meta=_decode_bytes(row["meta"]),
        problems=tuple(Problem(*problem) for problem in row["problems"]),  # type: ignore[attr-defined]
        files_read=int(str(row["files_read"])),
        bytes_read=int(str(row["bytes_read"])),
    )


def _encode_bytes(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode("ascii")


def _decode_bytes(text: object) -> bytes | None:
    return None if text is None else base64.b64decode(str(text))
