"""A large file as ranges that are fetched several at a time and handed on in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from registry_audit.registry.transfers import Transfers, submitted

_Chunk = TypeVar("_Chunk")

RANGE_BYTES = 4 << 20
_AHEAD = 8  # ranges of one file that are fetched or held at once


@dataclass(frozen=True, slots=True)
class Range:
    start: int  # included
    end: int  # not included

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def header(self) -> str:
        return f"bytes={self.start}-{self.end - 1}"


def in_order(
    fetch: Callable[[Range, threading.Event], list[_Chunk]], whole: Range, transfers: Transfers
) -> Iterator[_Chunk]:
    """A range that may be of any size, fetched as small ones.

    Held in memory are at most `_AHEAD` ranges of one file, and of all files together what `transfers` has room for.

    Args:
        fetch: the bytes of a range; may stop when the event is set, since nobody wants them any more.
    """
    left, coming = threading.Event(), deque[Future[list[_Chunk]]]()
    starts = range(whole.start, whole.end, RANGE_BYTES)
    remaining = (Range(start, min(start + RANGE_BYTES, whole.end)) for start in starts)
    try:
        while True:
            # With none of its own under way a file waits for room; else it hands on what it has, which makes room.
            while len(coming) < _AHEAD and transfers.room.acquire(blocking=not coming):
                part = next(remaining, None)
                if part is None:
                    transfers.room.release()
                    break
                coming.append(submitted(transfers.ranges, fetch, part, left))
            if not coming:
                return
            try:
                yield from coming[0].result()
            finally:
                coming.popleft()
                transfers.room.release()
    finally:
        left.set()
        for future in coming:
            future.cancel()
            transfers.room.release()
