"""No step takes longer than it may, whatever it waits for, and what it cost is one result."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from registry_audit.audit import time_limits as module
from registry_audit.audit.time_limits import in_time
from registry_audit.audit.turns import Turns
from registry_audit.errors import CouldNotVerify, LedgerError
from registry_audit.net import deadline
from registry_audit.net.deadline import Deadline, OutOfTime
from registry_audit.net.throttle import Throttle


class FakeSession:
    """What the loops need of a session."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.connection = SimpleNamespace(transfers=SimpleNamespace(throttle=Throttle()))
        self.is_stopped = False

    def pulse(self, count: int) -> None:
        deadline.check()

    def deadline(self) -> Deadline:
        return Deadline(0.05, "--max-version-seconds")

    def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "_LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(module, "_SECONDS_TO_COME_BACK", 0.02)
    return FakeSession()


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Is set when the test is over, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def run(session: Any, step: Any, items: list[Any], workers: int) -> dict[Any, Any]:
    from concurrent.futures import ThreadPoolExecutor

    results: dict[Any, Any] = {}

    def keep(item: Any, result: Any) -> None:
        assert item not in results
        results[item] = result

    pool = ThreadPoolExecutor(workers)
    work = module.Work(step, keep, lambda item, why: f"late: {why.message}")
    module.each_in_time(session, work, items, pool, workers)
    pool.shutdown(wait=False)
    return results


@pytest.mark.parametrize("workers", [1, 3])
def test_a_step_that_hangs_costs_its_own_result_only(session: Any, never: threading.Event, workers: int) -> None:
    hanging = {2, 5, 6}
    results = run(session, lambda item: never.wait() if item in hanging else item, list(range(9)), workers)
    assert {item for item, result in results.items() if "--max-version-seconds" in str(result)} == hanging
    assert {item: result for item, result in results.items() if item not in hanging} == {
        item: item for item in range(9) if item not in hanging
    }
    assert not session.is_stopped


def test_a_step_that_comes_back_late_is_not_kept_twice(session: Any) -> None:
    """It sees the deadline itself, or the result it comes with is nobody's any more."""
    came_back = threading.Event()

    def slow(item: int) -> str:
        came_back.wait(0.3)
        deadline.check()
        return "in time"

    with pytest.raises(OutOfTime):
        in_time(session, lambda: slow(0), deadline=Deadline(0.01, "x"))


def test_helping_threads_have_the_deadline_of_those_they_help(session: Any) -> None:
    seen = []
    with deadline.within(Deadline(10, "x")):
        call = deadline.carried(lambda: seen.append(deadline.current()))
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen[0] is not None
    assert deadline.current() is None


def test_what_ends_the_audit_ends_it(session: Any) -> None:
    def step(item: int) -> int:
        if item == 3:
            raise LedgerError("away")
        return item

    with pytest.raises(LedgerError):
        run(session, step, list(range(100)), 2)
    assert session.is_stopped


def test_an_error_of_the_step_is_the_callers(session: Any) -> None:
    def step() -> None:
        raise CouldNotVerify("no")

    with pytest.raises(CouldNotVerify, match="no"):
        in_time(session, step, deadline=Deadline(10, "x"))


def test_a_result_that_cannot_be_kept_ends_the_audit(session: Any, never: threading.Event) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def keep(item: int, result: Any) -> None:
        raise CouldNotVerify("the disk is full")

    for step in (lambda item: item, lambda item: never.wait()):
        with pytest.raises(CouldNotVerify, match="disk"):
            work = module.Work(step, keep, lambda item, why: why.message)
            module.each_in_time(session, work, [1], ThreadPoolExecutor(1), 1)
        never.set()
