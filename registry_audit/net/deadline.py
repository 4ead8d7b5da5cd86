"""Limits the time of a piece of work, whatever the servers do.

A deadline belongs to the thread that does the work and to its helper threads. The work checks the deadline between
requests and between chunks. A watcher thread cancels requests that wait for an answer past the deadline.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec, TypeVar

from registry_audit.errors import CouldNotVerify

_P = ParamSpec("_P")
_R = TypeVar("_R")


class OutOfTime(CouldNotVerify):
    """The work took longer than its time limit. Another try would take as long."""


class Deadline:
    """Limits the time of one version's steps, or of one listing of the registry."""

    def __init__(self, seconds: float, option: str) -> None:
        """
        Args:
            option: the option that sets the seconds; named in the error.
        """
        self._seconds, self._option = seconds, option
        self._at = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """Return the seconds until the deadline; negative once it has passed."""
        return self._at - time.monotonic()

    def error(self) -> OutOfTime:
        return OutOfTime(f"it took longer than {self._seconds:g} seconds ({self._option})")

    def check(self) -> None:
        """Raise an error if the deadline has passed. Raises: OutOfTime."""
        if self.left_seconds < 0:
            raise self.error()


def current() -> Deadline | None:
    """Return the deadline of the work of this thread, or None."""
    return _current.get()


def check() -> None:
    """Raise an error if the deadline of this thread's work has passed. Raises: OutOfTime."""
    deadline = _current.get()
    if deadline is not None:
        deadline.check()


@contextlib.contextmanager
def within(deadline: Deadline | None) -> Iterator[None]:
    """Apply this deadline to the body of the `with` statement."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def carried(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Wrap a call for another thread, so that it keeps the deadline of this thread."""
    deadline = _current.get()
    return call if deadline is None else partial(_called, deadline, call)


def _called(deadline: Deadline, call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    with within(deadline):
        return call(*args, **kwargs)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
