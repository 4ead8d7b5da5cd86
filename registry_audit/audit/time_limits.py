"""Runs steps in threads, each with a time limit.

A step is cancelled when its deadline has passed. If the step does not return even then, for instance because a network
disk hangs or a plugin waits forever, its thread is abandoned: the item gets a result that says so, and a new thread
takes over the work of the abandoned one.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from registry_audit.audit.session import Session
from registry_audit.net.deadline import Deadline, OutOfTime, within
from registry_audit.net.transfers import submitted

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_LOOK_EVERY_SECONDS = 1.0
_SECONDS_TO_COME_BACK = 15.0  # after it was cancelled
_SECONDS_TO_STOP = 5.0  # an interrupted process may be killed soon after


@dataclass(frozen=True, slots=True)
class Work(Generic[_Item, _Result]):
    """Defines the step that runs for every item, and the handling of its result."""

    step: Callable[[_Item], _Result]
    keep: Callable[[_Item, _Result], None]  # called once for every item, from any thread
    late: Callable[[_Item, OutOfTime], _Result]  # makes the result of a step that never returned


def in_time(session: Session, step: Callable[[], _Result], *, deadline: Deadline) -> _Result:
    """Run the step in a thread of its own, and return its result.

    Raises: OutOfTime: it took too long.
    """
    results = list[tuple[_Result] | Exception]()

    def attempted(_: None) -> tuple[_Result] | Exception:
        try:
            return (step(),)
        except Exception as error:  # noqa: BLE001 - re-raised below, in the thread that asked
            return error

    work: Work[None, tuple[_Result] | Exception] = Work(
        attempted, lambda _, result: results.append(result), lambda _, why: why
    )
    pool = ThreadPoolExecutor(1, thread_name_prefix="in-time")
    try:
        each_in_time(session, work, [None], pool, 1, deadline=lambda: deadline)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result[0]


def each_in_time(
    session: Session,
    work: Work[_Item, _Result],
    items: Iterable[_Item],
    pool: ThreadPoolExecutor,
    workers: int,
    *,
    deadline: Callable[[], Deadline] | None = None,
) -> None:
    """Do the work on every item: each thread takes the next item when it has finished one.

    A future for each item would cost more than reading a small model.

    Args:
        deadline: makes the deadline of an item that begins now; by default a version's.
    """
    _Loops(session, work, items, deadline or session.deadline).run(pool, workers)


@dataclass(slots=True, eq=False)
class _Underway(Generic[_Item]):
    item: _Item
    deadline: Deadline
    loop: "_Loop"


@dataclass(slots=True, eq=False)
class _Loop:
    """Represents one thread's loop over items."""

    is_left_alone: bool = False


class _Loops(Generic[_Item, _Result]):
    def __init__(
        self,
        session: Session,
        work: Work[_Item, _Result],
        items: Iterable[_Item],
        deadline: Callable[[], Deadline],
    ) -> None:
        self._session, self._work, self._deadline = session, work, deadline
        self._remaining = iter(items)
        self._taking, self._claiming, self._over = threading.Lock(), threading.Lock(), threading.Event()
        self._underway = dict[_Loop, _Underway[_Item]]()

    def run(self, pool: ThreadPoolExecutor, workers: int) -> None:
        loops = dict[Future[None], _Loop]()
        try:
            for _ in range(workers):
                self._start(pool, loops)
            while loops:
                done, _ = wait(loops, _LOOK_EVERY_SECONDS, FIRST_EXCEPTION)
                for ended in done:
                    loops.pop(ended)
                    ended.result()
                for late in self._leave_late():
                    loops = {future: loop for future, loop in loops.items() if loop is not late}
                    self._start(ThreadPoolExecutor(1, thread_name_prefix="audit"), loops)
        except BaseException:
            with self._claiming:  # from now on no result is kept
                self._over.set()
            self._session.stop()
            wait(loops, _SECONDS_TO_STOP)
            raise

    def _start(self, pool: ThreadPoolExecutor, loops: "dict[Future[None], _Loop]") -> None:
        loop = _Loop()
        loops[submitted(pool, self._take_turns, loop)] = loop

    def _take_turns(self, loop: _Loop) -> None:
        try:
            with self._session.turns.kept_between():
                while not self._over.is_set() and not loop.is_left_alone:
                    self._session.pulse(0)  # also ends a loop that began only after the audit was stopped
                    with self._taking:
                        item = next(self._remaining, _NO_MORE)
                    if isinstance(item, _NoMore):
                        return
                    self._do(loop, item)
        except BaseException:
            if not loop.is_left_alone:
                self._over.set()
                raise

    def _do(self, loop: _Loop, item: _Item) -> None:
        mine = self._underway[loop] = _Underway(item, self._deadline(), loop)
        with within(mine.deadline):
            result = self._work.step(item)
        if self._claim(mine):
            self._work.keep(item, result)

    def _claim(self, underway: _Underway[_Item]) -> bool:
        """Say whether the result of an item is still wanted: only the first caller may give it."""
        with self._claiming:
            return self._underway.pop(underway.loop, None) is not None and not self._over.is_set()

    def _leave_late(self) -> list[_Loop]:
        """Abandon steps that are late and do not return, although the throttle has cancelled their requests."""
        left = list[_Loop]()
        for underway in list(self._underway.values()):
            over_seconds = -underway.deadline.left_seconds
            if over_seconds > _SECONDS_TO_COME_BACK and self._claim(underway):
                underway.loop.is_left_alone = True
                left.append(underway.loop)
                self._work.keep(underway.item, self._work.late(underway.item, underway.deadline.error()))
        return left


class _NoMore:
    """Marks the end: it differs from every item."""


_NO_MORE = _NoMore()
