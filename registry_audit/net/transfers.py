"""Holds an audit's threads that read files from the network and that digest the bytes, and its throttle."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from registry_audit.errors import Stopped
from registry_audit.net.deadline import carried
from registry_audit.net.threads import DaemonThreads
from registry_audit.net.throttle import Throttle

_Item = TypeVar("_Item")

FILES_AT_ONCE = 16  # in addition to the files that the threads of the versions read themselves
_FEW = 6


class Transfers:
    """Serves all versions of an audit, so that the number of its threads bounds connections and memory alike.

    The threads start when they are first needed, and end with `stop` or with the last reference to this object.
    """

    def __init__(self, throttle: Throttle | None = None) -> None:
        self.throttle = throttle or Throttle()
        self.files = DaemonThreads(FILES_AT_ONCE, "read-file")
        self._lock, self._large_files = threading.Lock(), 0
        self.digests = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="digest")

    def stop(self) -> None:
        """End every wait and every transfer."""
        self.throttle.stop()
        self.files.stop()
        self.digests.shutdown(wait=False, cancel_futures=True)

    def few_large_files(self) -> bool:
        """Say whether so few large files are being read that a separate thread to digest each of them is faster."""
        return self._large_files <= _FEW

    @contextmanager
    def large_file(self) -> Iterator[None]:
        """Count a large file while it is being read."""
        with self._lock:
            self._large_files += 1
        try:
            yield
        finally:
            with self._lock:
                self._large_files -= 1

    def for_each(self, items: Iterable[_Item], do: Callable[[_Item], object]) -> None:
        """Call `do` for every item in other threads, several at a time; calls begin in the order of the items.

        Raises the first error that `do` raised; items that had not begun by then are left out. Raises Stopped when the
        audit is being stopped, whatever the other threads are doing.
        """
        self.files.for_each(items, do)


def submitted(pool: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Submit a call that keeps this thread's deadline. Raises: Stopped: the audit is being stopped."""
    try:
        return pool.submit(carried(call), *arguments)
    except RuntimeError:
        raise Stopped("the audit was stopped") from None


# Read buffers are reused, so that no memory is allocated for each megabyte that is read from a disk.

PIECE_BYTES = 512 << 10

Where = Callable[[], memoryview]  # returns the memory for the next bytes


class ReadBuffer:
    """Uses two buffers in turn: the bytes of one reading stay valid until the second reading after it."""

    def __init__(self) -> None:
        self._pieces = memoryview(bytearray(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))
        self._turn = 0

    def __call__(self) -> memoryview:
        self._turn = 1 - self._turn
        return self._pieces[self._turn]
