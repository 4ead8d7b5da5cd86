"""A Dask cluster that is lost, or never was one, costs its batches their audit within minutes, and holds nothing."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from distributed.client import FutureCancelledError

from flows.executors import dask_cluster
from flows.executors.dask_cluster import _answer_of, _OnCluster, _Workers
from registry_audit.errors import CouldNotVerify

SCHEDULER = "tcp://user:hunter2@dask.example:8786"


class _Future:
    """Of a task that no worker takes."""

    def __init__(self, done: bool = False) -> None:
        self.wrapped_future = SimpleNamespace(done=lambda: done)

    def wait(self, timeout: float) -> None:
        threading.Event().wait(timeout)

    def result(self) -> str:
        return "rows"


def _workers(nthreads: Callable[[], dict[str, int]]) -> _Workers:
    return _Workers(SimpleNamespace(client=SimpleNamespace(nthreads=nthreads)), SCHEDULER)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "ANSWERS_WITHIN_SECONDS", 0.2)
    monkeypatch.setattr(dask_cluster, "WORKERS_AWAY_SECONDS", 0.3)
    monkeypatch.setattr(dask_cluster, "_LOOK_EVERY_SECONDS", 0.05)


def _gone() -> dict[str, int]:
    raise OSError("the scheduler is gone")


def _silent() -> dict[str, int]:
    threading.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("nthreads", [dict, _gone, _silent])
def test_what_no_worker_takes_is_not_waited_for_without_end(nthreads: Callable[[], dict[str, int]]) -> None:
    batch = _OnCluster((), _workers(nthreads), _Future)
    with pytest.raises(CouldNotVerify, match=r"has had no workers for 0 s") as raised:
        batch.result()
    assert "hunter2" not in str(raised.value)


def test_workers_that_come_back_go_on() -> None:
    there: list[dict[str, int]] = [{}, {}, {"one": 1}]
    futures = [_Future(), _Future(), _Future(), _Future(done=True)]

    class Later(_Future):
        @property
        def wrapped_future(self) -> Any:
            return futures.pop(0).wrapped_future

        @wrapped_future.setter
        def wrapped_future(self, _: Any) -> None: ...

    batch = _OnCluster((), _workers(lambda: there.pop(0)), Later)
    assert batch.result() == "rows"


def test_a_scheduler_that_takes_no_work_costs_the_batch_and_not_the_audit() -> None:
    def submit() -> None:
        raise RuntimeError("Client is closed")

    with pytest.raises(CouldNotVerify, match="takes no work: Client is closed"):
        _OnCluster((), _workers(dict), submit).result()


def test_a_scheduler_that_is_lost_is_no_internal_error() -> None:
    class Lost(_Future):
        def result(self) -> str:
            raise FutureCancelledError("audit-batch-1", "scheduler-connection-lost")

    with pytest.raises(CouldNotVerify, match=r"lost it: .*scheduler-connection-lost"):
        _OnCluster((), _workers(dict), lambda: Lost(done=True)).result()


def test_what_is_no_scheduler_is_said_to_be_none() -> None:
    with pytest.raises(CouldNotVerify, match="does not answer: nothing within 0 s"):
        _answer_of(SCHEDULER, _silent)
    with pytest.raises(CouldNotVerify, match="does not answer: the scheduler is gone") as raised:
        _answer_of(SCHEDULER, _gone)
    assert "hunter2" not in str(raised.value)
