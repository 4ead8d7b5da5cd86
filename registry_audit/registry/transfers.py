"""The threads of one audit that wait for the network, those that digest what arrives, and its manners."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from registry_audit.errors import Stopped
from registry_audit.registry.memory import Memory
from registry_audit.registry.politeness import Politeness

_Item = TypeVar("_Item")

FILES_AT_ONCE = 16  # beside those that the threads of the versions read themselves
RANGES_AT_ONCE = 12  # of large files
_FEW = RANGES_AT_ONCE // 2


class Transfers:
    """Shared by all versions of an audit, so that their number bounds threads, connections and memory alike.

    The threads start when they are first needed, and end with the audit: with `stop`, or with its last reference.
    """

    def __init__(self, politeness: Politeness | None = None) -> None:
        self.politeness = politeness or Politeness()
        self.files = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="read-file")
        # Apart from the files, whose threads wait for these.
        self.ranges = ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="read-range")
        self.room = threading.BoundedSemaphore(RANGES_AT_ONCE)  # for ranges in memory: under way, or not yet digested
        self._memories = deque[Memory]()
        self._lock, self._large_files = threading.Lock(), 0
        self.digests = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="digest")

    def stop(self) -> None:
        """End every wait and every transfer."""
        self.politeness.stop()
        for pool in (self.files, self.ranges, self.digests):
            pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def memory(self) -> Iterator[Memory]:
        """For the file that one thread is reading."""
        try:
            memory = self._memories.pop()
        except IndexError:  # not asked first: another thread may take the last one
            memory = Memory()
        try:
            yield memory
        finally:
            self._memories.append(memory)

    def few_large_files(self) -> bool:
        """Whether so few are being read now that more threads for each of them pay: for its ranges, for its digest."""
        return self._large_files <= _FEW

    @contextmanager
    def large_file(self) -> Iterator[None]:
        """While one is read."""
        with self._lock:
            self._large_files += 1
        try:
            yield
        finally:
            with self._lock:
                self._large_files -= 1

    def for_each(self, items: Iterable[_Item], do: Callable[[_Item], object]) -> None:
        """`do` every item, in this thread and as many idle ones as help; in order, as far as beginning goes.

        Raises what `do` raised first; what had not begun by then is left.
        """
        waiting, errors = deque(items), list[BaseException]()

        def work() -> None:
            while not errors:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                try:
                    do(item)
                except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
                    errors.append(error)

        helpers = [submitted(self.files, work) for _ in range(min(len(waiting) - 1, FILES_AT_ONCE))]
        work()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        if errors:
            raise errors[0]


def submitted(pool: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Raises: Stopped: the audit is being stopped."""
    try:
        return pool.submit(call, *arguments)
    except RuntimeError:
        raise Stopped("the audit was stopped") from None
