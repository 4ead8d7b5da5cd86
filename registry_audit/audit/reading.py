"""Reads the files of a copy into digests, each once; two copies may be compared and digested in the same pass."""

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from registry_audit.audit import signatures
from registry_audit.audit.copies import META_FILE, META_MAX_BYTES, Reading
from registry_audit.audit.turns import Turns
from registry_audit.audit.work_directory import now
from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.model.listing import ListedFile, Listing, Problem
from registry_audit.model.manifest import DigestedApart, Hasher, ManifestEntry, digest_text, new_hasher
from registry_audit.model.mlmodel import MAX_BYTES, MLMODEL
from registry_audit.net.retry import retried
from registry_audit.net.transfers import ReadBuffer, Transfers
from registry_audit.printable import printable
from registry_audit.stores.base import Store, Unreadable, transfers_of
from registry_audit.stores.local import LocalStore, same_file

# Results of reading one copy, collected from several threads in any order.

Pulse = Callable[[int], None]  # called with each number of bytes read; may raise to stop the reading


class Collected:
    """Collects the results of the threads that read one copy."""

    def __init__(self, algorithm: str, pulse: Pulse) -> None:
        self.algorithm, self.pulse = algorithm, pulse
        self._entries: list[ManifestEntry] = []
        self._problems: list[Problem] = []
        self._kept: dict[str, bytes] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._is_retryable = False
        self._began_at = now()

    def add(self, file: ListedFile, size: int, hasher: Hasher, content: bytes | None) -> None:
        """Add a file that was read to its end; `content` only if it is inspected later."""
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
        """Turn the reason why a file could not be read into a problem of the copy."""
        try:
            yield
        except Unreadable as error:
            self._problems.append(error.problem())
        # UsageError: the store no longer has what it listed, or now asks for other credentials.
        except (CouldNotVerify, UsageError) as error:
            self._is_retryable |= isinstance(error, Transient)
            self._problems.append(Problem("RA009", error.message, file.path))

    def reading(self) -> Reading:
        return Reading(
            entries=tuple(sorted(self._entries)),
            mlmodel=self._kept.get(MLMODEL),
            # Files are finished in any order.
            problems=tuple(sorted(self._problems, key=lambda problem: problem.path or "")),
            files_read=len(self._entries),
            bytes_read=self._bytes,
            signature=self._kept.get(signatures.SIGNATURE),
            meta=self._kept.get(META_FILE),
            retryable=self._is_retryable,
            read_at=self._began_at,
        )


class Kept:
    """Keeps the content of the root MLmodel, of a signature and of `registered_model_meta` while a file is read."""

    _LIMITS: ClassVar[dict[str, int]] = {
        MLMODEL: MAX_BYTES,
        signatures.SIGNATURE: signatures.MAX_BYTES,
        META_FILE: META_MAX_BYTES,
    }

    def __init__(self, file: ListedFile) -> None:
        self._chunks: list[bytes] | None = [] if file.path in self._LIMITS else None
        self._room = self._LIMITS.get(file.path, 0) + 1

    def add(self, chunk: bytes | memoryview) -> None:
        if self._chunks is not None and self._room > 0:
            self._chunks.append(bytes(chunk[: self._room]))
            self._room -= len(chunk)

    def content(self) -> bytes | None:
        return None if self._chunks is None else b"".join(self._chunks)


# Two contents in parallel, in pieces of equal length, whatever the chunks of each.

Chunk = bytes | memoryview


def in_lockstep(left: Iterator[Chunk], right: Iterator[Chunk]) -> Iterator[tuple[Chunk, Chunk]]:
    """Yield pieces of both with equal lengths until one content ends; then the rest of the other one, with nothing."""
    left, right = filter(len, left), filter(len, right)
    while True:
        a, b = next(left, b""), next(right, b"")
        while len(a) != len(b) and a and b:
            shorter = min(len(a), len(b))
            one, two = memoryview(a), memoryview(b)
            yield one[:shorter], two[:shorter]
            a, b = one[shorter:] or next(left, b""), two[shorter:] or next(right, b"")
        if not a and not b:
            return
        yield a, b


def equal(left: Chunk, right: Chunk) -> bool:
    """Say whether two pieces are the same bytes. Large ones are compared without the interpreter's lock."""
    size = len(left)
    if size != len(right):
        return False
    if _memcmp is None or size < _COPIED_BYTES:
        return bytes(left) == bytes(right)  # `==` of memoryviews compares element by element
    return bool(_memcmp(_pointer(left), _pointer(right), size) == 0)


def _pointer(chunk: Chunk) -> Any:
    if isinstance(chunk, memoryview):
        return bytes(chunk) if chunk.readonly else ctypes.byref(ctypes.c_char.from_buffer(chunk))
    return chunk


def _of_the_c_library() -> Any:
    """Return memcmp of the C library; None if it is not available."""
    try:
        found = ctypes.CDLL(None).memcmp
    except (OSError, TypeError, AttributeError):
        return None
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int
    return found


_COPIED_BYTES = 64 << 10  # below this size comparing copies is faster
_memcmp = _of_the_c_library()


_LARGE_BYTES = 4 << 20  # from this size on another thread for the chunks, or reading two answers at once, may be faster

_Work = tuple[int, Callable[[], None]]  # bytes, and the call that reads them


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

    A file that cannot be read becomes a problem of the reading; nothing is raised for it. A remote store's files are
    read several at a time.

    Args:
        keep_in: an empty directory to which the files are also written.

    Raises:
        Stopped: by `pulse`, or because the audit is being stopped.
    """
    collected = Collected(algorithm, pulse)
    work = [(file.size or 0, partial(_read_one, store, file, collected, keep_in)) for file in listing.files]
    _do(work, transfers_of(store), turns)
    return collected.reading()


def read_pair(
    left_store: Store,
    left: Listing,
    right_store: Store,
    right: Listing,
    algorithm: str,
    *,
    pulse: Pulse,
    turns: Turns | None = None,
) -> tuple[Reading, Reading]:
    """Read two copies together: files of the same name and size in lockstep, byte for byte, and digested once.

    The second file gets the digest of the first only after every byte compared equal; files that differ are read again
    separately. If a store is remote, all files are read separately.
    """
    transfers = transfers_of(left_store) or transfers_of(right_store)
    one, two = Collected(algorithm, pulse), Collected(algorithm, pulse)
    on_right = {file.path: file for file in right.files}
    work = list[_Work]()
    for file in left.files:
        other = on_right.get(file.path)
        if other is not None and other.size == file.size and transfers is None:
            del on_right[file.path]
            pair = partial(_read_together, left_store, file, one, right_store, other, two)
            work.append((file.size or 0, pair))
        else:
            work.append((file.size or 0, partial(_read_one, left_store, file, one)))
    work += ((file.size or 0, partial(_read_one, right_store, file, two)) for file in on_right.values())
    _do(work, transfers, turns)
    return one.reading(), two.reading()


def _do(work: Iterable[_Work], transfers: Transfers | None, turns: Turns | None) -> None:
    turns = turns or Turns()

    def read(one: _Work) -> None:
        size, how = one
        with turns.given_up_for(size):
            how()

    if transfers is None:
        for one in work:
            read(one)
    else:
        # The largest first: if a large file began last, it would still be read when all others are finished.
        transfers.for_each(sorted(work, key=lambda one: one[0], reverse=True), read)


def _read_one(store: Store, file: ListedFile, collected: Collected, keep_in: Path | None = None) -> None:
    with collected.problems_of(file):
        retried(partial(_read_whole, store, file, collected, keep_in), pause=_pause_of(store))


def _read_whole(store: Store, file: ListedFile, collected: Collected, keep_in: Path | None) -> None:
    hasher, size, kept = _hasher(store, file, collected.algorithm), 0, Kept(file)
    with _help(store, file) as buffer:
        with _destination(keep_in, file.path) as out, closing(store.read(file, buffer)) as chunks:
            for chunk in chunks:
                hasher.update(chunk)
                size += len(chunk)
                kept.add(chunk)
                if out is not None:
                    out.write(chunk)
                collected.pulse(len(chunk))
                if file.size is not None and size > file.size:
                    break  # more than was listed: do not read an endless stream
        collected.add(file, size, hasher, kept.content())  # waits for the digest of the buffered last chunk


def _read_together(
    left_store: Store, left: ListedFile, one: Collected, right_store: Store, right: ListedFile, two: Collected
) -> None:
    if _may_be_together(left_store, left, right_store, right):
        with contextlib.suppress(Unreadable, CouldNotVerify, UsageError):
            if _read_in_lockstep(left_store, left, one, right_store, right, two):
                return
    # If two files differ, or one cannot be read, reading each separately gives its digest or its problem.
    _read_one(left_store, left, one)
    _read_one(right_store, right, two)


def _may_be_together(left_store: Store, left: ListedFile, right_store: Store, right: ListedFile) -> bool:
    """Say whether two files may be read together. A hard link is one file, which judging sees by its change token."""
    both_local = isinstance(left_store, LocalStore) and isinstance(right_store, LocalStore)
    return not (both_local and same_file(left, right))


def _read_in_lockstep(
    left_store: Store, left: ListedFile, one: Collected, right_store: Store, right: ListedFile, two: Collected
) -> bool:
    """Digest two files together as long as they are equal; return whether they were equal to their ends."""
    hasher, size, kept = _hasher(left_store, left, one.algorithm), 0, Kept(left)
    with _help(left_store, left) as here, _help(right_store, right) as there:
        with closing(left_store.read(left, here)) as on_left, closing(right_store.read(right, there)) as on_right:
            for chunk, other in in_lockstep(on_left, on_right):
                if not equal(chunk, other):
                    return False
                hasher.update(chunk)
                size += len(chunk)
                kept.add(chunk)
                one.pulse(2 * len(chunk))
                if left.size is not None and size > left.size:
                    break
        one.add(left, size, hasher, kept.content())
        two.add(right, size, hasher, kept.content())
    return True


@contextlib.contextmanager
def _help(store: Store, file: ListedFile) -> Iterator[ReadBuffer | None]:
    """Yield a read buffer for a large local file; count a large remote file, whose digest may get its own thread."""
    transfers = transfers_of(store)
    if transfers is None:
        yield ReadBuffer() if _is_large(file) else None
        return
    with transfers.large_file() if _is_large(file) else nullcontext():
        yield None


def _pause_of(store: Store) -> Callable[[float], None]:
    transfers = transfers_of(store)
    return time.sleep if transfers is None else transfers.throttle.pause


def _hasher(store: Store, file: ListedFile, algorithm: str) -> Hasher:
    hasher, transfers = new_hasher(algorithm), transfers_of(store)
    if transfers is None or not _is_large(file):
        return hasher
    return DigestedApart(hasher, transfers.digests, transfers.few_large_files)


def _is_large(file: ListedFile) -> bool:
    return file.size is None or file.size >= _LARGE_BYTES


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
