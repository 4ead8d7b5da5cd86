"""Serialises small local reads across threads, to avoid contention for the interpreter's lock (GIL).

Small models on a fast local disk need only processor time. If several threads read them, each short system call hands
the interpreter to another thread, and an audit takes half as long again as with one thread. So threads take turns for
small local reads, and give their turn up while they wait, for instance for a large file.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

_LARGE_FILE_BYTES = 1 << 20  # from this size on reading and digesting run mostly without the interpreter's lock
_JUDGED_EVERY_SECONDS = 1.0
_LEAST_BUSY = 0.5
_KEPT_SECONDS = 0.02
_WAITED_SECONDS = 2.0


class Turns:
    """Manages the turns of one audit. Turns that are mostly spent waiting, as on a network disk, end for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._this_thread = _OfThread()
        self._worthwhile = True
        self._seconds = self._busy_seconds = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Run the body while no other thread has its turn. Nested calls keep the turn."""
        mine = self._this_thread
        if mine.inside or not self._worthwhile:
            yield
            return
        if mine.since is None:
            self._take()
        mine.inside = True
        try:
            yield
        finally:
            mine.inside = False
            if mine.since is not None and (not mine.keeps or time.perf_counter() - mine.since[0] > _KEPT_SECONDS):
                self._give()

    @contextmanager
    def kept_between(self) -> Iterator[None]:
        """Keep this thread's turn for a moment between many small reads.

        Handing a turn on takes about as long as one small read. Within the body, the thread may wait for a thread that
        needs a turn only inside `given_up`, or the two would deadlock.
        """
        mine = self._this_thread
        mine.keeps = True
        try:
            yield
        finally:
            mine.keeps = False
            if mine.since is not None:
                self._give()

    def given_up_for(self, size: int | None) -> AbstractContextManager[None]:
        """Let other threads have their turn while a file of this size is read, if the file is large."""
        return nullcontext() if size is not None and size < _LARGE_FILE_BYTES else self.given_up()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let other threads have their turn meanwhile: a thread with a turn must never wait for one that needs it."""
        mine = self._this_thread
        had_it = mine.since is not None
        if had_it:
            self._give()
        try:
            yield
        finally:
            if had_it and mine.inside:
                self._take()

    def _take(self) -> None:
        if not self._lock.acquire(timeout=_WAITED_SECONDS):
            # The thread with the turn hangs, for instance on a network disk: from now on no thread takes turns.
            self._worthwhile = False
            return
        self._this_thread.since = time.perf_counter(), time.thread_time()

    def _give(self) -> None:
        if self._this_thread.since is None:
            raise RuntimeError("this thread has no turn to give")
        began, busy_until_then = self._this_thread.since
        self._this_thread.since = None
        self._seconds += time.perf_counter() - began
        self._busy_seconds += time.thread_time() - busy_until_then
        if self._seconds > _JUDGED_EVERY_SECONDS:
            self._worthwhile &= self._busy_seconds > _LEAST_BUSY * self._seconds
            self._seconds = self._busy_seconds = 0.0
        self._lock.release()


class _OfThread(threading.local):
    since: tuple[float, float] | None = None  # since it has the turn: clock and processor time, in seconds
    inside = False  # whether it is in a body that needs the turn
    keeps = False  # whether it keeps the turn between such bodies
