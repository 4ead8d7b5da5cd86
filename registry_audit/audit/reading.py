"""Bytes to digests. Each file is read once; two copies may be compared and digested in the same pass."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO

from registry_audit.audit.collected import Collected, Kept, Pulse
from registry_audit.audit.copies import Reading
from registry_audit.audit.lockstep import equal, in_lockstep
from registry_audit.audit.turns import Turns
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.model.digest import DigestedApart, Hasher, new_hasher
from registry_audit.model.listing import ListedFile, Listing
from registry_audit.net.read_buffer import ReadBuffer
from registry_audit.net.retry import retried
from registry_audit.net.transfers import Transfers
from registry_audit.printable import printable
from registry_audit.stores.base import Store, Unreadable, transfers_of
from registry_audit.stores.local import LocalStore, same_file

_LARGE_BYTES = 4 << 20  # from which on handing chunks to another thread, or two answers at once, may be worth it

_Work = tuple[int, Callable[[], None]]  # bytes, and how to read them


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
    """Read two copies together: files of one name and size in lockstep, byte for byte, digested once.

    The digest of the second file is the first one's only after every byte compared equal; files that differ are read
    again, each by itself. Where a store is remote, every file is read by itself.
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
        # The largest first: begun last, one of them would still be read when all others are done.
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
                    break  # more than was listed: no need to drink an endless stream
        collected.add(file, size, hasher, kept.content())  # which ends the digest of the last chunk, still in memory


def _read_together(
    left_store: Store, left: ListedFile, one: Collected, right_store: Store, right: ListedFile, two: Collected
) -> None:
    if _may_be_together(left_store, left, right_store, right):
        with contextlib.suppress(Unreadable, CouldNotVerify, UsageError):
            if _read_in_lockstep(left_store, left, one, right_store, right, two):
                return
    # What each of two is that differ, or which of them cannot be read, shows when each is read by itself.
    _read_one(left_store, left, one)
    _read_one(right_store, right, two)


def _may_be_together(left_store: Store, left: ListedFile, right_store: Store, right: ListedFile) -> bool:
    """A hard link is one file, and the judge is told so by its marker."""
    both_local = isinstance(left_store, LocalStore) and isinstance(right_store, LocalStore)
    return not (both_local and same_file(left, right))


def _read_in_lockstep(
    left_store: Store, left: ListedFile, one: Collected, right_store: Store, right: ListedFile, two: Collected
) -> bool:
    """Digest two files at once, as far as they are equal; whether they are to their ends."""
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
    """What there is for the reading of one file: memory for a large one of a disk, a thread for that of a server."""
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
