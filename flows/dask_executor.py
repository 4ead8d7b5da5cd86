"""Batches on a Dask cluster, whose workers have the environment of the lock and this checkout."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from prefect import Task
from prefect.settings import PREFECT_API_URL

from flows.batch_order import Batch, Running, Start, rows_of
from registry_audit.audit.judging import VersionAudit
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.redact import redact
from tasks.audit_session import Job
from tasks.request_limit import split_requests

IN_FLIGHT_PER_THREAD = 2  # batches: one under way, one that waits


@contextmanager
def dask_cluster(scheduler: str, audit_batch: Task[..., Any]) -> Iterator[tuple[Start, int]]:
    """How to start a batch on the cluster, and how many to keep under way.

    Args:
        scheduler: address, such as tcp://host:8786.
        audit_batch: the task that a batch is.

    Raises:
        UsageError: the extra is not installed, or workers would each start a Prefect server of their own.
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
    try:
        runner: Any = DaskTaskRunner(address=scheduler, client_kwargs={"set_as_default": False})
        runner.__enter__()
    except (OSError, ValueError) as error:
        raise CouldNotVerify(f"the Dask scheduler {redact(scheduler)} does not answer: {error}") from error
    try:
        threads = runner.client.nthreads()
        if not threads:
            raise CouldNotVerify(f"the Dask cluster {redact(scheduler)} has no workers: start some")

        def start(job: Job, batch: Batch) -> Running:
            own = replace(job, options=split_requests(job.options, len(threads)))
            # Not `whole`: Dask takes Prefect's annotations, which are tuples, apart.
            return _OnCluster(batch, runner.submit(audit_batch, {"job": own, "batch": batch}))

        yield start, sum(threads.values()) * IN_FLIGHT_PER_THREAD
    finally:
        runner.__exit__(None, None, None)


class _OnCluster:
    def __init__(self, batch: Batch, future: Any) -> None:
        self._batch, self._future = batch, future

    def rows(self) -> tuple[VersionAudit, ...]:
        return rows_of(self._batch, self._future)
