"""The threads of one audit that wait for the network, those that digest what arrives, and its manners."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from registry_audit.deadline import carried
from registry_audit.errors import Stopped
from registry_audit.registry.memory import Memory
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.threads import DaemonThreads

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

FILES_AT_ONCE = 16  # beside those that the threads of the versions read themselves
_FEW = 6


class Transfers:
    """Shared by all versions of an audit, so that their number bounds threads, connections and memory alike.

    The threads start when they are first needed, and end with the audit: with `stop`, or with its last reference.
    """

    def __init__(self, politeness: Politeness | None = None) -> None:
        self.politeness = politeness or Politeness()
        self.files = DaemonThreads(FILES_AT_ONCE, "read-file")
        self.questions = DaemonThreads(FILES_AT_ONCE, "read-list")  # apart: large files may keep the others for long
        self._memories = deque[Memory]()
        self._lock, self._large_files = threading.Lock(), 0
        self.digests = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="digest")

    def stop(self) -> None:
        """End every wait and every transfer."""
        self.politeness.stop()
        self.files.stop()
        self.questions.stop()
        self.digests.shutdown(wait=False, cancel_futures=True)

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
        """Whether so few are being read now that another thread for the digest of each of them pays."""
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
        """`do` every item in other threads, several at a time; in order, as far as beginning goes.

        Raises what `do` raised first, leaving what had not begun by then; Stopped when the audit is being stopped,
        whatever the other threads are doing.
        """
        self.files.for_each(items, do)

    def run(self, do: Callable[[], _Result]) -> _Result:
        """What `do` returns, which may wait for a server however long. Raises: Stopped: see `for_each`."""
        found = list[_Result]()
        self.questions.for_each((None,), lambda _: found.append(do()))
        return found[0]


def submitted(pool: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Raises: Stopped: the audit is being stopped."""
    try:
        return pool.submit(carried(call), *arguments)
    except RuntimeError:
        raise Stopped("the audit was stopped") from None
