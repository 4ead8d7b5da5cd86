"""Threads that wait for servers. Who waits for them can be stopped at any time, whatever they wait in.

Some calls cannot be broken off from outside: neither a library's read from a socket nor one in Rust. So no such call
runs in a thread that must end: it is left behind, and ends with the process or with its own time-out.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, TypeVar

from registry_audit.errors import Stopped

_Item = TypeVar("_Item")


class DaemonThreads:
    """Started when they are first needed; they end with `stop`, or with the last reference to this."""

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._work = SimpleQueue[_Batch | None]()
        self._started, self._stopped = 0, False
        self._batches, self._lock = set[_Batch](), threading.Lock()
        weakref.finalize(self, _end, self._work, count)  # the threads hold no reference to it

    def for_each(self, items: Iterable[_Item], do: Callable[[_Item], object]) -> None:
        """`do` every item, several at a time; in order, as far as beginning goes. None of them may call this.

        Raises what `do` raised first, leaving what had not begun by then.

        Raises:
            Stopped: by `stop`, whatever the threads are doing.
        """
        batch = _Batch(items, do)
        if not batch.size:
            return
        with self._lock:
            if self._stopped:
                raise Stopped("the audit was stopped")
            self._batches.add(batch)
            wanted = min(batch.size, self._count)
            while self._started < min(self._count, len(self._batches) * wanted):
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=_serve, args=(self._work,), name=name, daemon=True).start()
        for _ in range(wanted):
            self._work.put(batch)
        try:
            batch.over.wait()
        finally:
            with self._lock:
                self._batches.discard(batch)
        if batch.errors:
            raise batch.errors[0]

    def stop(self) -> None:
        """End every wait now, and the threads as soon as they can."""
        with self._lock:
            self._stopped, batches = True, list(self._batches)
        for batch in batches:
            batch.stop()
        _end(self._work, self._count)


class _Batch:
    """The items of one caller."""

    def __init__(self, items: Iterable[Any], do: Callable[[Any], object]) -> None:
        self._waiting, self._do = deque(items), do
        self._running, self._lock = 0, threading.Lock()
        self.size = len(self._waiting)
        self.errors, self.over = list[BaseException](), threading.Event()

    def work(self) -> None:
        """Item after item, until none is left."""
        while True:
            with self._lock:
                if self.errors or not self._waiting:
                    return
                self._running += 1
                item = self._waiting.popleft()
            try:
                self._do(item)
            except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
                self.errors.append(error)
            with self._lock:
                self._running -= 1
                if not self._running and (self.errors or not self._waiting):
                    self.over.set()

    def stop(self) -> None:
        self.errors.insert(0, Stopped("the audit was stopped"))
        self.over.set()


def _serve(work: "SimpleQueue[_Batch | None]") -> None:
    while (batch := work.get()) is not None:
        batch.work()
        del batch  # with whatever it holds


def _end(work: "SimpleQueue[_Batch | None]", count: int) -> None:
    for _ in range(count):
        work.put(None)
