"""The manners of an audit, without a server."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from registry_audit.errors import CouldNotVerify, Stopped
from registry_audit.net import deadline
from registry_audit.net.deadline import Deadline, OutOfTime
from registry_audit.net.throttle import MAX_PAUSE_SECONDS, Throttle, retry_after_seconds
from registry_audit.net.transfers import FILES_AT_ONCE, Transfers

HOST = "http://mlflow.example"


class AtOnce:
    """Counts how many threads are inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        yield
        with self._lock:
            self.now -= 1


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 7 ", 7),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 400, MAX_PAUSE_SECONDS),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_PAUSE_SECONDS),
        ("Fri, 99 Dec 2026 23:59:59 GMT", None),
        ("\u0665", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds


def test_retry_after_as_a_date() -> None:
    at = datetime.now(UTC) + timedelta(seconds=60)
    assert retry_after_seconds(format_datetime(at, usegmt=True)) == pytest.approx(60, abs=2)


def test_no_more_requests_at_once_than_allowed_whatever_the_host() -> None:
    throttle, at_once = Throttle(max_requests=3), AtOnce()

    def work() -> None:
        for host in (HOST, "http://other.example") * 10:
            with throttle.permit(host), at_once.inside():
                time.sleep(0.001)

    in_threads(12, work)
    assert at_once.most == 3


def test_a_refusal_halves_what_is_under_way_and_answers_let_it_grow_again() -> None:
    throttle, at_once = Throttle(), AtOnce()
    together = threading.Barrier(8)
    refusals = [0.01] * 8

    def work() -> None:
        with throttle.permit(HOST) as permit:
            together.wait(10)
            permit.refused(refusals.pop())
            together.wait(10)
        with throttle.permit(HOST), at_once.inside():
            time.sleep(0.02)

    in_threads(8, work)
    # 4 after the first of the 8 refusals of one moment, and a little more with each answer.
    assert 2 <= at_once.most < 8
    for _ in range(3000):
        with throttle.permit(HOST):
            pass
    assert throttle._hosts[HOST].allowed == math.inf


def test_all_wait_for_the_host_that_asked_for_it_and_for_no_other() -> None:
    throttle = Throttle()
    with throttle.permit(HOST) as permit:
        permit.refused(1.5)
    began = time.monotonic()
    with throttle.permit("http://other.example"):
        assert time.monotonic() - began < 1.4
    with throttle.permit(HOST):
        assert time.monotonic() - began >= 1.45


def test_bytes_per_second() -> None:
    throttle, began = Throttle(max_bytes_per_second=100_000), time.monotonic()

    def work() -> None:
        with throttle.permit(HOST) as permit:
            for _ in range(5):
                permit.read(2_000)

    in_threads(5, work)
    assert time.monotonic() - began >= 0.49


@pytest.mark.parametrize("waits_for", ["a place", "the host", "the rate"])
def test_stopping_ends_every_wait(waits_for: str) -> None:
    throttle = Throttle(max_requests=1, max_bytes_per_second=1)
    waiting, ended = threading.Event(), list[bool]()

    def work() -> None:
        try:
            with throttle.permit(HOST) as permit:
                waiting.set()
                if waits_for == "the rate":
                    permit.read(10_000)
                throttle.pause(1_000)
        except Stopped:
            ended.append(True)

    thread = threading.Thread(target=work)
    if waits_for == "a place":
        with throttle.permit(HOST):
            thread.start()
            throttle.stop()
            thread.join(10)
    else:
        if waits_for == "the host":
            with throttle.permit(HOST) as permit:
                permit.refused(1_000)
            waiting.set()
        thread.start()
        assert waiting.wait(10)
        throttle.stop()
        thread.join(10)
    assert ended == [True]
    with pytest.raises(Stopped), throttle.permit(HOST):
        pass


def test_stopping_breaks_off_what_is_being_read() -> None:
    throttle, broken_off = Throttle(), threading.Event()
    with throttle.permit(HOST) as permit:
        permit.abort_with(broken_off.set)
        throttle.stop()
        assert broken_off.is_set()


def test_a_limit_of_others_is_held_for_as_long_as_a_request_is_in_flight() -> None:
    at_once = AtOnce()
    throttle = Throttle(around=at_once.inside)
    with throttle.permit(HOST):
        assert at_once.now == 1
    assert at_once.now == 0


def test_for_each_begins_in_order_and_runs_several_at_once() -> None:
    transfers, at_once, begun = Transfers(), AtOnce(), list[int]()
    together = threading.Barrier(FILES_AT_ONCE)

    def do(item: int) -> None:
        begun.append(item)
        with at_once.inside():
            together.wait(20)

    transfers.for_each(range(2 * FILES_AT_ONCE), do)
    assert (at_once.most, sorted(begun)) == (FILES_AT_ONCE, list(range(2 * FILES_AT_ONCE)))
    transfers.stop()


@pytest.mark.parametrize("error", [IndexError("inside"), KeyboardInterrupt()])
def test_for_each_raises_the_first_error_and_begins_nothing_more(error: BaseException) -> None:
    transfers, begun = Transfers(), list[int]()

    def do(item: int) -> None:
        begun.append(item)
        raise error

    with pytest.raises(type(error)):
        transfers.for_each(range(1_000), do)
    assert len(begun) <= FILES_AT_ONCE
    transfers.stop()


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Is set when the test is over, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def test_stopping_leaves_behind_what_cannot_be_broken_off(over: threading.Event) -> None:
    throttle, begun = Throttle(), threading.Event()

    def stop() -> None:
        assert begun.wait(20)
        throttle.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(Stopped), throttle.permit(HOST) as permit:
        permit.aside(lambda: (begun.set(), over.wait(20)))
    stopping.join(20)


def test_what_comes_too_slowly_is_left_behind(over: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends the request need not have anybody look after it: a throttle does."""
    monkeypatch.setattr("registry_audit.net.throttle._SECONDS_TO_ARRIVE", 0.0)
    monkeypatch.setattr("registry_audit.net.throttle._LOOK_EVERY_SECONDS", 0.01)
    throttle = Throttle()
    for _ in range(3):
        with pytest.raises(CouldNotVerify, match="bytes per second"), throttle.permit(HOST) as permit:
            permit.answered(unseen_bytes=1)
            permit.aside(lambda: over.wait(60))
    with throttle.permit(HOST) as permit:  # one that comes in time
        assert permit.aside(lambda: 7) == 7
        with pytest.raises(IndexError):
            permit.aside(lambda: [].pop())


def test_what_has_no_time_left_is_left_behind(over: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.net.throttle._LOOK_EVERY_SECONDS", 0.01)
    throttle = Throttle()
    until = Deadline(0.02, "--max-listing-seconds")
    with deadline.within(until), pytest.raises(OutOfTime), throttle.permit(HOST) as permit:
        permit.aside(lambda: over.wait(60))


def test_threads_that_do_not_come_back_are_replaced(over: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """One version whose every file hangs leaves the others the threads that they need."""
    monkeypatch.setattr("registry_audit.net.threads._SECONDS_TO_COME_BACK", 0.1)
    transfers, done = Transfers(), list[int]()
    for _ in range(2):
        with deadline.within(Deadline(0.1, "--max-version-seconds")), pytest.raises(OutOfTime):
            transfers.for_each(range(2 * FILES_AT_ONCE), lambda item: over.wait(20))
    transfers.for_each(range(2 * FILES_AT_ONCE), done.append)
    assert sorted(done) == list(range(2 * FILES_AT_ONCE))
    over.set()
    together = threading.Barrier(FILES_AT_ONCE)  # neither fewer threads than before
    transfers.for_each(range(FILES_AT_ONCE), lambda item: together.wait(20))
    transfers.stop()


def test_a_transfer_after_the_end_is_stopped() -> None:
    transfers = Transfers()
    transfers.stop()
    with pytest.raises(Stopped):
        transfers.for_each(range(3), lambda item: None)
