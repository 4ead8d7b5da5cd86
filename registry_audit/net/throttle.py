"""Limits the load of one audit on its servers: concurrent requests, bytes per second, and `Retry-After`.

On 429 or 503 every thread backs off for as long as the server says, then the audit resumes with half as many concurrent
requests. Each answer that is no refusal raises that number again (additive increase, multiplicative decrease, as in
TCP).
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from registry_audit.errors import CouldNotVerify, Stopped
from registry_audit.net.deadline import current
from registry_audit.net.threads import Helpers

_Result = TypeVar("_Result")

REFUSALS = (429, 503)
MAX_PAUSE_SECONDS = 300.0  # the most that a Retry-After may ask for
_UNLIMITED_FROM = 64.0  # concurrent requests to one host, from which on a host has fully recovered
# A body that arrives at less than this rate is cancelled, once it had some time.
_LEAST_BYTES_PER_SECOND = 4_096
_SECONDS_TO_ARRIVE = 120.0
_LOOK_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class _Host:
    in_flight: int = 0
    allowed: float = math.inf
    paused_until: float = 0.0  # monotonic clock


class Throttle:
    """Limits what one audit asks of its servers at once; it is shared by all of its threads."""

    def __init__(
        self,
        max_requests: int | None = None,
        max_bytes_per_second: int | None = None,
        *,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """
        Args:
            max_requests: concurrent requests to all hosts together.
            max_bytes_per_second: bound on the bytes of files and of listings.
            around: entered for as long as a request is in flight, to keep to limits that other processes share.
        """
        self._max_requests = math.inf if max_requests is None else max_requests
        self._max_bytes_per_second = max_bytes_per_second
        self._around = around
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._hosts: dict[str, _Host] = {}
        self._in_flight = 0
        self._bytes_paid_until = 0.0
        self._aborts: dict[Permit, Callable[[], object]] = {}
        self._is_watched = False
        self.helpers = Helpers("request")

    @contextlib.contextmanager
    def permit(self, host: str) -> Iterator["Permit"]:
        """Hold a permit for one request, from before it is sent until its answer is read. Waits until one is free.

        Do not ask for another permit while holding one: two threads that do could wait for each other forever.

        Raises:
            Stopped: the audit is being stopped.
        """
        with self._changed:
            state = self._hosts.setdefault(host, _Host())
        self._enter(state)
        permit = Permit(self, state)
        try:
            with self._around():
                yield permit
        finally:
            self.abort_with(permit, None)
            self._leave(state, answered=not permit.was_refused)

    def stop(self) -> None:
        """End every wait, and cancel every answer that is being read."""
        self._stopping.set()
        with self._changed:
            aborts = list(self._aborts.values())
            self._changed.notify_all()
        for abort in aborts:
            with contextlib.suppress(Exception):  # it has ended meanwhile
                abort()

    def pause(self, seconds: float) -> None:
        """Wait for some seconds. Raises: Stopped: the audit is being stopped."""
        if self._stopping.wait(seconds) if seconds > 0 else self._stopping.is_set():
            raise Stopped("the audit was stopped")

    def _enter(self, host: _Host) -> None:
        with self._changed:
            while True:
                self.pause(0)
                wait = host.paused_until - time.monotonic()
                room = host.in_flight < host.allowed and self._in_flight < self._max_requests
                if wait <= 0 and room:
                    host.in_flight += 1
                    self._in_flight += 1
                    return
                self._changed.wait(wait if wait > 0 else None)

    def _leave(self, host: _Host, *, answered: bool) -> None:
        with self._changed:
            host.in_flight -= 1
            self._in_flight -= 1
            if answered:
                host.allowed += 1 / host.allowed
                if host.allowed >= _UNLIMITED_FROM:
                    host.allowed = math.inf
            self._changed.notify_all()

    def refused(self, host: _Host, seconds: float) -> None:
        with self._changed:
            now = time.monotonic()
            if now >= host.paused_until:  # only the first refusal counts: the others were sent before it
                host.allowed = max(1.0, host.in_flight // 2)
            host.paused_until = max(host.paused_until, now + min(seconds, MAX_PAUSE_SECONDS))

    def read(self, count: int) -> None:
        if self._max_bytes_per_second is None:
            return
        with self._changed:
            now = time.monotonic()
            self._bytes_paid_until = max(self._bytes_paid_until, now) + count / self._max_bytes_per_second
            wait = self._bytes_paid_until - now
        self.pause(wait)

    def break_off(self) -> None:
        """Cancel answers that arrive too slowly or whose deadline has passed."""
        with self._changed:
            reading = list(self._aborts.items())
        for permit, abort in reading:
            if permit.is_late():
                with contextlib.suppress(Exception):  # it has ended meanwhile
                    abort()

    def _watch(self) -> None:
        """Watch the requests while there are any, so that their senders need not."""
        while True:
            self._stopping.wait(_LOOK_EVERY_SECONDS)
            with self._changed:
                if self._stopping.is_set() or not self._aborts:
                    self._is_watched = False
                    return
            self.break_off()

    def abort_with(self, permit: "Permit", abort: Callable[[], object] | None) -> None:
        with self._changed:
            if abort is None:
                self._aborts.pop(permit, None)
                return
            self._aborts[permit] = abort
            begins, self._is_watched = not self._is_watched, True
        if begins:
            threading.Thread(target=self._watch, name="watch", daemon=True).start()
        self.pause(0)


class Permit:
    """Permits one request, from before it is sent until its answer is read."""

    def __init__(self, throttle: Throttle, host: _Host) -> None:
        self._throttle, self._host = throttle, host
        self.deadline = current()
        self._answered_at: float | None = None  # monotonic clock; moved forward by what our own limits made it wait
        self._to_be_answered_by: float | None = None
        self._received_bytes = self._unseen_bytes = 0
        self.was_refused = False

    def refused(self, seconds: float) -> None:
        """Record a 429 or 503: no thread asks the host for this long. A retry needs a new permit."""
        self.was_refused = True
        self._throttle.refused(self._host, seconds)

    def read(self, count: int) -> None:
        """Account for bytes that arrived, and wait if they arrive faster than the limit.

        Raises:
            Stopped: the audit is being stopped.
        """
        self._received_bytes += count
        asked_at = time.monotonic()
        self._throttle.read(count)
        if self._answered_at is not None:
            self._answered_at += time.monotonic() - asked_at

    def asked(self, within_seconds: float) -> None:
        """Record that a request is on its way; the head of its answer must arrive within the seconds."""
        self._to_be_answered_by = time.monotonic() + within_seconds + _SECONDS_TO_ARRIVE

    def answered(self, unseen_bytes: int = 0) -> None:
        """Record that a body begins to arrive; the bytes that arrive are accounted for with `read`.

        Args:
            unseen_bytes: bytes that may have arrived and are not accounted for yet.
        """
        self._answered_at, self._received_bytes, self._unseen_bytes = time.monotonic(), 0, unseen_bytes

    def aside(self, call: Callable[[], _Result]) -> _Result:
        """Return the result of a call that cannot be interrupted: another thread makes it, and is abandoned if need be.

        Raises:
            Stopped: the audit is being stopped.
            CouldNotVerify: the answer comes too slowly, or the deadline has passed.
        """
        errand = self._throttle.helpers.begin(call)
        self.abort_with(errand.leave)
        answer = errand.wait()
        if answer is None:
            self.must_be_in_time()
            raise CouldNotVerify("the request was broken off")
        return answer[0]

    def is_late(self) -> bool:
        """Say whether nothing should wait for this request any longer."""
        return self.is_too_slow() or (self.deadline is not None and self.deadline.left_seconds < 0)

    def is_too_slow(self) -> bool:
        if self._answered_at is None:
            return self._to_be_answered_by is not None and time.monotonic() > self._to_be_answered_by
        seconds = time.monotonic() - self._answered_at - _SECONDS_TO_ARRIVE
        return seconds > (self._received_bytes + self._unseen_bytes) / _LEAST_BYTES_PER_SECOND

    def must_be_in_time(self) -> None:
        """Raise the reason if the answer was cancelled, because what arrived may be incomplete.

        Raises:
            Stopped: the audit is being stopped.
            CouldNotVerify: the answer comes too slowly, or the deadline has passed.
        """
        self._throttle.pause(0)
        if self.deadline is not None:
            self.deadline.check()
        if self.is_too_slow():
            raise CouldNotVerify(f"the answer comes at less than {_LEAST_BYTES_PER_SECOND} bytes per second")

    def abort_with(self, abort: Callable[[], object]) -> None:
        """Register how another thread can cancel the answer, when the audit is stopped or the answer is late."""
        self._throttle.abort_with(self, abort)

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Mark what this thread sends in the body, by any library, as this request: see `sent_now`."""
        token = _sending.set(self)
        try:
            yield
        finally:
            _sending.reset(token)


_sending: ContextVar[Permit | None] = ContextVar("sending", default=None)


def sent_now() -> Permit | None:
    """Return the permit of the request that this thread is sending, or None outside of an audit."""
    return _sending.get()


def retry_after_seconds(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date; None if there is none."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_PAUSE_SECONDS)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_PAUSE_SECONDS)
