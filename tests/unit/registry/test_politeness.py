"""The manners of an audit, without a server."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from registry_audit.errors import Stopped
from registry_audit.registry.politeness import MAX_PAUSE_SECONDS, Politeness, retry_after_seconds
from registry_audit.registry.transfers import FILES_AT_ONCE, Transfers

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
    politeness, at_once = Politeness(max_requests=3), AtOnce()

    def work() -> None:
        for host in (HOST, "http://other.example") * 10:
            with politeness.request(host), at_once.inside():
                time.sleep(0.001)

    in_threads(12, work)
    assert at_once.most == 3


def test_a_refusal_halves_what_is_under_way_and_answers_let_it_grow_again() -> None:
    politeness, at_once = Politeness(), AtOnce()
    together = threading.Barrier(8)
    refusals = [0.01] * 8

    def work() -> None:
        with politeness.request(HOST) as flight:
            together.wait(10)
            flight.refused(refusals.pop())
            together.wait(10)
            flight.wait()
            with at_once.inside():
                time.sleep(0.02)

    in_threads(8, work)
    # 4 after the first of the 8 refusals of one moment, and a little more with each answer.
    assert 2 <= at_once.most < 8
    for _ in range(3000):
        with politeness.request(HOST):
            pass
    assert politeness._hosts[HOST].allowed == math.inf


def test_all_wait_for_the_host_that_asked_for_it_and_for_no_other() -> None:
    politeness = Politeness()
    with politeness.request(HOST) as flight:
        flight.refused(0.5)
    began = time.monotonic()
    with politeness.request("http://other.example"):
        assert time.monotonic() - began < 0.3
    with politeness.request(HOST):
        assert time.monotonic() - began >= 0.45


def test_bytes_per_second() -> None:
    politeness, began = Politeness(max_bytes_per_second=100_000), time.monotonic()

    def work() -> None:
        with politeness.request(HOST) as flight:
            for _ in range(5):
                flight.read(2_000)

    in_threads(5, work)
    assert time.monotonic() - began >= 0.49


@pytest.mark.parametrize("waits_for", ["a place", "the host", "the rate", "the next try"])
def test_stopping_ends_every_wait(waits_for: str) -> None:
    politeness = Politeness(max_requests=1, max_bytes_per_second=1)
    waiting, ended = threading.Event(), list[bool]()

    def work() -> None:
        try:
            with politeness.request(HOST) as flight:
                waiting.set()
                if waits_for == "the rate":
                    flight.read(10_000)
                flight.wait(1_000)
        except Stopped:
            ended.append(True)

    thread = threading.Thread(target=work)
    if waits_for == "a place":
        with politeness.request(HOST):
            thread.start()
            politeness.stop()
            thread.join(10)
    else:
        if waits_for == "the host":
            with politeness.request(HOST) as flight:
                flight.refused(1_000)
            waiting.set()
        thread.start()
        assert waiting.wait(10)
        politeness.stop()
        thread.join(10)
    assert ended == [True]
    with pytest.raises(Stopped), politeness.request(HOST):
        pass


def test_stopping_breaks_off_what_is_being_read() -> None:
    politeness, broken_off = Politeness(), threading.Event()
    with politeness.request(HOST) as flight:
        flight.abort_with(broken_off.set)
        politeness.stop()
        assert broken_off.is_set()


def test_a_limit_of_others_is_held_for_as_long_as_a_request_is_in_flight() -> None:
    at_once = AtOnce()
    politeness = Politeness(around=at_once.inside)
    with politeness.request(HOST):
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


def test_stopping_leaves_behind_what_cannot_be_broken_off() -> None:
    transfers, begun, over = Transfers(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        assert over.wait(20)

    def stop() -> None:
        assert begun.wait(20)
        transfers.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(Stopped):
        transfers.run(hang)
    over.set()
    stopping.join(20)


def test_a_transfer_after_the_end_is_stopped() -> None:
    transfers = Transfers()
    transfers.stop()
    with pytest.raises(Stopped):
        transfers.for_each(range(3), lambda item: None)
