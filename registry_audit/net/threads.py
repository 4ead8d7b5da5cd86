"""Runs blocking calls in threads that a caller can abandon at any time.

Some calls cannot be cancelled from outside, for instance a library's read from a socket, or a call into Rust. Such a
call never runs in a thread that must end. If the caller stops waiting, the call ends with its own time-out or with the
process.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from registry_audit.errors import Stopped
from registry_audit.net.deadline import carried, current

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_SECONDS_TO_COME_BACK = 15.0  # for threads to return after their deadline has passed


class Helpers:
    """Runs calls that cannot be interrupted in a pool of threads that grows as needed and reuses idle threads."""

    def __init__(self, name: str) -> None:
        self._name, self._idle = name, deque[_Helper]()
        weakref.finalize(self, _dismiss, self._idle)  # the threads hold no reference to this object

    def begin(self, call: Callable[[], _Result]) -> "Errand[_Result]":
        """Make the call in another thread, with this thread's context variables."""
        errand = Errand[_Result]()
        try:
            helper = self._idle.pop()
        except IndexError:
            helper = _Helper(self._idle, self._name)
        helper.work.put((partial(copy_context().run, call), errand))
        return errand


class Errand(Generic[_Result]):
    """Represents a call that another thread makes. The waiting thread can be told to abandon it."""

    def __init__(self) -> None:
        self._answers = SimpleQueue[tuple[_Result] | BaseException | None]()

    def over(self, answer: "tuple[_Result] | BaseException") -> None:
        self._answers.put(answer)

    def leave(self) -> None:
        """Let the waiting thread go on without the result."""
        self._answers.put(None)

    def wait(self, seconds: float | None = None) -> tuple[_Result] | None:
        """Return the result of the call, or None if it was abandoned or takes longer. Raises what the call raised."""
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Helper:
    def __init__(self, idle: "deque[_Helper]", name: str) -> None:
        self.work = SimpleQueue[tuple[Callable[[], Any], Errand[Any]] | None]()
        threading.Thread(target=_help, args=(self, idle), name=name, daemon=True).start()


def _help(helper: _Helper, idle: "deque[_Helper]") -> None:
    while (given := helper.work.get()) is not None:
        call, errand = given
        answer: tuple[Any] | BaseException
        try:
            answer = (call(),)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            answer = error
        idle.append(helper)  # first, so that the waiting thread finds this thread idle for its next call
        errand.over(answer)
        del given, call, errand, answer  # release whatever they hold


def _dismiss(idle: "deque[_Helper]") -> None:
    for helper in list(idle):
        helper.work.put(None)


class DaemonThreads:
    """Runs threads that start when first needed, and end with `stop` or with the last reference to this object."""

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._work = SimpleQueue[_Batch | None]()
        self._started, self._stopped = 0, False
        self._batches, self._lock = set[_Batch](), threading.Lock()
        weakref.finalize(self, _end, self._work, count)  # the threads hold no reference to this object

    def for_each(self, items: Iterable[_Item], do: Callable[[_Item], object]) -> None:
        """Call `do` for every item, several at a time, beginning in order. `do` itself must not call this method.

        Raises the first error that `do` raised; items that had not begun by then are left out.

        Raises:
            Stopped: by `stop`, whatever the threads are doing.
            OutOfTime: the deadline of the calling thread has passed, and the threads do not return. New threads
                replace them.
        """
        batch = _Batch(items, carried(do))
        if not batch.size:
            return
        with self._lock:
            if self._stopped:
                raise Stopped("the audit was stopped")
            self._batches.add(batch)
            wanted = min(batch.size, self._count)
            while self._started < min(self._count, len(self._batches) * wanted):
                self._start()
        for _ in range(wanted):
            self._work.put(batch)
        deadline = current()
        try:
            in_time = batch.over.wait(None if deadline is None else deadline.left_seconds + _SECONDS_TO_COME_BACK)
        finally:
            with self._lock:
                self._batches.discard(batch)
        if deadline is not None and not in_time:
            self._replace(batch.leave())
            raise deadline.error()
        if batch.errors:
            raise batch.errors[0]

    def _start(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        threading.Thread(target=_serve, args=(self._work,), name=name, daemon=True).start()

    def _replace(self, lost_count: int) -> None:
        with self._lock:
            self._started -= lost_count
            for _ in range(0 if self._stopped else lost_count):
                self._start()

    def stop(self) -> None:
        """End every wait now, and the threads as soon as they can."""
        with self._lock:
            self._stopped, batches = True, list(self._batches)
        for batch in batches:
            batch.stop()
        _end(self._work, self._count)


class _Batch:
    """Holds the items of one caller."""

    def __init__(self, items: Iterable[Any], do: Callable[[Any], object]) -> None:
        self._waiting, self._do = deque(items), do
        self._running, self._lock, self._is_left = 0, threading.Lock(), False
        self.size = len(self._waiting)
        self.errors, self.over = list[BaseException](), threading.Event()

    def work(self) -> bool:
        """Process items until none is left. Return False if this thread was abandoned and replaced meanwhile."""
        while True:
            with self._lock:
                if self._is_left or self.errors or not self._waiting:
                    return True
                self._running += 1
                item = self._waiting.popleft()
            try:
                self._do(item)
            except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
                self.errors.append(error)
            with self._lock:
                self._running -= 1
                if self._is_left:
                    return False
                if not self._running and (self.errors or not self._waiting):
                    self.over.set()

    def stop(self) -> None:
        self.errors.insert(0, Stopped("the audit was stopped"))
        self.over.set()

    def leave(self) -> int:
        """Begin no further item. Return the number of threads that are busy with one, and are abandoned."""
        with self._lock:
            self._is_left, lost_count = True, self._running
            self._waiting.clear()
            return lost_count


def _serve(work: "SimpleQueue[_Batch | None]") -> None:
    while (batch := work.get()) is not None:
        if not batch.work():
            return
        del batch  # release whatever it holds


def _end(work: "SimpleQueue[_Batch | None]", count: int) -> None:
    for _ in range(count):
        work.put(None)
