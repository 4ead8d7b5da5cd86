"""Runs batches on a Dask cluster, whose workers have the locked environment and this checkout."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from prefect import Task
from prefect.settings import PREFECT_API_URL

from flows.executors.batch_order import Batch, Running, Start, rows_of
from registry_audit.audit.judging import VersionAudit
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.redact import redact
from tasks.audit_session import Job
from tasks.request_limit import split_requests

IN_FLIGHT_PER_THREAD = 2  # batches: one running, one waiting
ANSWERS_WITHIN_SECONDS = 60.0  # Dask itself waits forever for a scheduler that accepts a connection but never answers
WORKERS_AWAY_SECONDS = 300.0  # enough for a machine to be restarted
_LOOK_EVERY_SECONDS = 5.0

_Answer = TypeVar("_Answer")


@contextmanager
def dask_cluster(scheduler: str, audit_batch: Task[..., Any]) -> Iterator[tuple[Start, int]]:
    """Connect to the cluster. Yield the function that starts a batch, and how many batches to keep in flight.

    Args:
        scheduler: address, such as tcp://host:8786.
        audit_batch: the task that audits a batch.

    Raises:
        UsageError: the extra is not installed, or each worker would start its own Prefect server.
        CouldNotVerify: the scheduler does not answer, or has no workers.
    """
    if not PREFECT_API_URL.value():
        raise UsageError(
            "a Dask cluster needs a Prefect server that its workers reach: set PREFECT_API_URL (without it each "
            "worker starts a server of its own, and the audit stalls)"
        )
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError("dask_scheduler needs the extra: pip install 'mlflow-registry-audit[dask]'") from error
    runner: Any = DaskTaskRunner(address=scheduler, client_kwargs={"set_as_default": False})
    runner.__enter__()
    try:
        threads = _answer_of(scheduler, lambda: runner.client.nthreads())
        if not threads:
            raise CouldNotVerify(f"the Dask cluster {redact(scheduler)} has no workers: start some")
        workers = _Workers(runner, scheduler)

        def start(job: Job, batch: Batch) -> Running:
            own = replace(job, options=split_requests(job.options, len(threads)))
            # Not `whole`: Prefect's annotations are tuples, which Dask takes apart.
            return _OnCluster(batch, workers, lambda: runner.submit(audit_batch, {"job": own, "batch": batch}))

        yield start, sum(threads.values()) * IN_FLIGHT_PER_THREAD
    finally:
        runner.__exit__(None, None, None)


class _Workers:
    """Watches whether the cluster has workers: without any, Dask keeps its tasks forever."""

    def __init__(self, runner: Any, scheduler: str) -> None:
        self._runner, self._scheduler, self._seen_at = runner, scheduler, time.monotonic()

    def must_be_there(self) -> None:
        """Check for workers.

        Raises:
            CouldNotVerify: there have been none for too long.
        """
        try:
            is_there = bool(_answer_of(self._scheduler, lambda: self._runner.client.nthreads()))
        except CouldNotVerify:
            is_there = False
        if is_there:
            self._seen_at = time.monotonic()
        elif time.monotonic() - self._seen_at > WORKERS_AWAY_SECONDS:
            raise CouldNotVerify(
                f"the Dask cluster {redact(self._scheduler)} has had no workers for {WORKERS_AWAY_SECONDS:.0f} s"
            )


class _OnCluster:
    def __init__(self, batch: Batch, workers: _Workers, submit: Callable[[], Any]) -> None:
        self._batch, self._workers = batch, workers
        try:
            self._future, self._lost = submit(), None
        except Exception as error:  # noqa: BLE001 - the scheduler is gone: only the batch fails, not the audit
            self._future, self._lost = None, CouldNotVerify(f"the Dask cluster takes no work: {redact(str(error))}")

    def rows(self) -> tuple[VersionAudit, ...]:
        return rows_of(self._batch, self)

    def result(self) -> tuple[VersionAudit, ...]:
        """Wait for the result of the task.

        Raises:
            CouldNotVerify: no worker can run the task.
        """
        if self._lost is not None:
            raise self._lost
        while not self._future.wrapped_future.done():
            self._workers.must_be_there()
            self._future.wait(timeout=_LOOK_EVERY_SECONDS)
        try:
            rows: tuple[VersionAudit, ...] = self._future.result()
        except CancelledError as error:  # raised by Dask if the connection was lost, and the task with it
            raise CouldNotVerify(f"the Dask cluster lost it: {redact(str(error))}") from None
        return rows


def _answer_of(scheduler: str, ask: Callable[[], _Answer]) -> _Answer:
    """Return the scheduler's answer.

    Raises:
        CouldNotVerify: it does not answer in time, or is not a scheduler.
    """
    answers, errors = list[_Answer](), list[Exception]()

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001 - anything may listen at that address
            errors.append(error)

    asking = threading.Thread(target=run, daemon=True, name="dask-scheduler")
    asking.start()
    asking.join(ANSWERS_WITHIN_SECONDS)
    if answers:
        return answers[0]
    why = redact(str(errors[0])) if errors else f"nothing within {ANSWERS_WITHIN_SECONDS:.0f} s"
    raise CouldNotVerify(f"the Dask scheduler {redact(scheduler)} does not answer: {why}")
