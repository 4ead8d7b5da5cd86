"""Bytes to digests. Each file is read once; a pair on local disk is compared and digested in the same pass."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO, ClassVar

from registry_audit.audit import signatures
from registry_audit.audit.copies import Reading
from registry_audit.audit.turns import Turns
from registry_audit.errors import BodyEndedEarly, CouldNotVerify, Transient, UsageError
from registry_audit.model.digest import DigestedApart, Hasher, digest_text, new_hasher
from registry_audit.model.listing import ListedFile, Listing, Problem
from registry_audit.model.manifest import ManifestEntry
from registry_audit.model.mlmodel import MAX_BYTES, MLMODEL
from registry_audit.patience import patiently
from registry_audit.printable import printable
from registry_audit.registry.memory import Memory
from registry_audit.stores.base import CHUNK_BYTES, Store, Unreadable, transfers_of
from registry_audit.stores.local import LocalStore, same_file

_LARGE_BYTES = 4 << 20  # from which on handing chunks to another thread may be worth it

Pulse = Callable[[int], None]  # told of every so many bytes read; may raise to stop the reading


def read_all(
    store: Store,
    listing: Listing,
    algorithm: str,
    *,
    pulse: Pulse,
    turns: Turns | None = None,
    keep_in: Path | None = None,
) -> Reading:
    """Read and digest every file of a listing.

    Args:
        keep_in: an empty directory to also write the files to.

    What cannot be read becomes a problem of the reading; nothing is raised for it. A remote store's files are read
    several at a time.

    Raises:
        Stopped: by `pulse`, or because the audit is being stopped.
    """
    collected, turns = _Collected(algorithm, pulse), turns or Turns()

    def read(file: ListedFile) -> None:
        with turns.given_up_for(file.size), collected.problems_of(file):
            patiently(partial(_read_one, store, file, collected, keep_in), on=BodyEndedEarly)

    transfers = transfers_of(store)
    if transfers is None:
        for file in listing.files:
            read(file)
    else:
        # The largest first: begun last, one of them would still be read when all others are done.
        transfers.for_each(sorted(listing.files, key=lambda file: file.size or 0, reverse=True), read)
    return collected.reading()


def read_pair(
    left_store: LocalStore,
    left: Listing,
    right_store: LocalStore,
    right: Listing,
    algorithm: str,
    *,
    pulse: Pulse,
    turns: Turns | None = None,
) -> tuple[Reading, Reading]:
    """Read two local copies together: files of one name and size in lockstep, byte for byte, digested once.

    The digest of the second file is the first one's only after every byte compared equal.
    """
    collected, turns = (_Collected(algorithm, pulse), _Collected(algorithm, pulse)), turns or Turns()
    on_right = {file.path: file for file in right.files}
    for file in left.files:
        other = on_right.get(file.path)
        with turns.given_up_for(file.size):
            if other is not None and other.size == file.size:
                del on_right[file.path]
                _read_together(left_store, file, right_store, other, collected)
            else:
                with collected[0].problems_of(file):
                    _read_one(left_store, file, collected[0])
    for file in on_right.values():
        with turns.given_up_for(file.size), collected[1].problems_of(file):
            _read_one(right_store, file, collected[1])
    return collected[0].reading(), collected[1].reading()


class _Collected:
    def __init__(self, algorithm: str, pulse: Pulse) -> None:
        self.algorithm, self.pulse = algorithm, pulse
        self._entries: list[ManifestEntry] = []
        self._problems: list[Problem] = []
        self._kept: dict[str, bytes] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._broke_off = False

    def add(self, file: ListedFile, size: int, hasher: Hasher, content: bytes | None) -> None:
        with self._lock:
            self._bytes += size
        if file.size is not None and size != file.size:
            message = f"'{printable(file.path)}' is listed with {file.size} bytes, {size} were read"
            self._problems.append(Problem("RA008", message, file.path))
            return
        self._entries.append(ManifestEntry(file.path, size, digest_text(self.algorithm, hasher)))
        if content is not None:
            self._kept[file.path] = content

    @contextlib.contextmanager
    def problems_of(self, file: ListedFile) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            self._problems.append(error.problem())
        # UsageError: a store that no longer has what it listed, or now asks for other credentials.
        except (CouldNotVerify, UsageError) as error:
            self._broke_off |= isinstance(error, Transient)
            self._problems.append(Problem("RA009", error.message, file.path))

    def reading(self) -> Reading:
        return Reading(
            entries=tuple(sorted(self._entries)),
            mlmodel=self._kept.get(MLMODEL),
            # Files end in any order.
            problems=tuple(sorted(self._problems, key=lambda problem: problem.path or "")),
            files_read=len(self._entries),
            bytes_read=self._bytes,
            signature=self._kept.get(signatures.SIGNATURE),
            broke_off=self._broke_off,
        )


def _read_one(store: Store, file: ListedFile, collected: _Collected, keep_in: Path | None = None) -> None:
    hasher, size, kept = _hasher(store, file, collected.algorithm), 0, _Kept(file)
    with _help(store, file) as memory:
        with _destination(keep_in, file.path) as out:
            for chunk in store.read(file, memory):
                hasher.update(chunk)
                size += len(chunk)
                kept.add(chunk)
                if out is not None:
                    out.write(chunk)
                collected.pulse(len(chunk))
                if file.size is not None and size > file.size:
                    break  # more than was listed: no need to drink an endless stream
        collected.add(file, size, hasher, kept.content())  # which ends the digest of the last chunk, still in memory


@contextlib.contextmanager
def _help(store: Store, file: ListedFile) -> Iterator[Memory | None]:
    """What the audit's transfers have for the reading of one file: memory, and threads for a large one."""
    transfers = transfers_of(store)
    if transfers is None:
        yield None
        return
    with transfers.memory() as memory, transfers.large_file() if _is_large(file) else nullcontext():
        yield memory


def _hasher(store: Store, file: ListedFile, algorithm: str) -> Hasher:
    hasher, transfers = new_hasher(algorithm), transfers_of(store)
    if transfers is None or not _is_large(file):
        return hasher
    return DigestedApart(hasher, transfers.digests, transfers.few_large_files)


def _is_large(file: ListedFile) -> bool:
    return file.size is None or file.size >= _LARGE_BYTES


def _read_together(
    left_store: LocalStore,
    left: ListedFile,
    right_store: LocalStore,
    right: ListedFile,
    collected: tuple[_Collected, _Collected],
) -> None:
    """Digest both files of a pair, hashing once for as long as their bytes are equal."""
    algorithm, pulse = collected[0].algorithm, collected[0].pulse
    if same_file(left, right):  # a hard link: one file, and the judge is told so by its marker
        for store, file, side in ((left_store, left, collected[0]), (right_store, right, collected[1])):
            with side.problems_of(file):
                _read_one(store, file, side)
        return
    try:
        with left_store.open(left) as one, right_store.open(right) as two:
            first, second, sizes = new_hasher(algorithm), None, [0, 0]
            kept = _Kept(left), _Kept(right)
            while True:
                # One byte more than is left: that none comes shows the end, with no other read.
                ahead = max(0, (left.size or 0) - sizes[0])
                wanted = min(CHUNK_BYTES, ahead + 1)
                a, b = _exactly(one, wanted, ahead), _exactly(two, wanted, ahead)
                if second is None and a != b:
                    second = first.copy()
                first.update(a)
                if second is not None:
                    second.update(b)
                kept[0].add(a)
                kept[1].add(b)
                sizes[0] += len(a)
                sizes[1] += len(b)
                pulse(len(a) + len(b))
                if len(a) < wanted and len(b) < wanted:
                    break
    except (Unreadable, CouldNotVerify):
        # Which of the two it was, and what the other one is, shows when each is read by itself.
        for store, file, side in ((left_store, left, collected[0]), (right_store, right, collected[1])):
            with side.problems_of(file):
                _read_one(store, file, side)
        return
    collected[0].add(left, sizes[0], first, kept[0].content())
    collected[1].add(right, sizes[1], second or first, kept[1].content())


class _Kept:
    """The content of the root MLmodel and of a signature beside it, kept while it passes; nothing else is."""

    _LIMITS: ClassVar[dict[str, int]] = {MLMODEL: MAX_BYTES, signatures.SIGNATURE: signatures.MAX_BYTES}

    def __init__(self, file: ListedFile) -> None:
        self._chunks: list[bytes] | None = [] if file.path in self._LIMITS else None
        self._room = self._LIMITS.get(file.path, 0) + 1

    def add(self, chunk: bytes | memoryview) -> None:
        if self._chunks is not None and self._room > 0:
            self._chunks.append(bytes(chunk[: self._room]))
            self._room -= len(chunk)

    def content(self) -> bytes | None:
        return None if self._chunks is None else b"".join(self._chunks)


@contextlib.contextmanager
def _destination(keep_in: Path | None, path: str) -> Iterator[BinaryIO | None]:
    if keep_in is None:
        yield None
        return
    target = keep_in.joinpath(*path.split("/"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            yield out
    except OSError as error:
        raise CouldNotVerify(f"'{printable(path)}' cannot be written to {keep_in}: {error.strerror}") from error


def _exactly(handle: BinaryIO, wanted: int, ahead: int) -> bytes:
    """So many bytes; fewer only at the file's end, though a raw file may give less than asked for before it.

    Args:
        ahead: bytes to the end as it was listed: who gets so many when more were wanted is there.
    """
    chunk = handle.read(wanted)
    if len(chunk) in (wanted, ahead):
        return chunk
    parts, missing = [chunk], wanted - len(chunk)
    while missing and (chunk := handle.read(missing)):
        parts.append(chunk)
        missing -= len(chunk)
    return b"".join(parts)
