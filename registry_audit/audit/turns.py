"""Threads that would only wait for the interpreter's lock wait for each other instead, which costs them less.

Small models on a fast local disk are all processor time. With several threads at it, each of the many short calls to
the system hands the interpreter to another thread, and an audit takes half as long again as with one thread. So
threads take turns at what is local and small, and give their turn up for what waits: the reading of a large file.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

_LARGE_FILE_BYTES = 1 << 20  # from which on reading and digesting run mostly without the interpreter's lock
_JUDGED_EVERY_SECONDS = 1.0
_LEAST_BUSY = 0.5


class Turns:
    """Of one audit. Where they turn out to be spent waiting, as on a disk across a network, nobody takes any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._this_thread = threading.local()
        self._worthwhile = True
        self._seconds = self._busy_seconds = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While no other thread has its turn. One that has it keeps it."""
        if self._mine() or not self._worthwhile:
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._give()

    def given_up_for(self, size: int | None) -> AbstractContextManager[None]:
        """Let others have theirs while a file of so many bytes is read, if that is much."""
        return nullcontext() if size is not None and size < _LARGE_FILE_BYTES else self.given_up()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let others have theirs meanwhile: one that has its turn must never wait for one that needs it."""
        if not self._mine():
            yield
            return
        self._give()
        try:
            yield
        finally:
            self._take()

    def _mine(self) -> bool:
        return getattr(self._this_thread, "since", None) is not None

    def _take(self) -> None:
        self._lock.acquire()
        self._this_thread.since = time.perf_counter(), time.thread_time()

    def _give(self) -> None:
        began, busy_until_then = self._this_thread.since
        self._this_thread.since = None
        self._seconds += time.perf_counter() - began
        self._busy_seconds += time.thread_time() - busy_until_then
        if self._seconds > _JUDGED_EVERY_SECONDS:
            self._worthwhile &= self._busy_seconds > _LEAST_BUSY * self._seconds
            self._seconds = self._busy_seconds = 0.0
        self._lock.release()
