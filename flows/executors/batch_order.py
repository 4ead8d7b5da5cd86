"""Runs batches of versions through the steps.

The number of batches in flight is bounded, and no version is ever lost.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from prefect import Task, get_run_logger
from prefect.futures import PrefectFuture
from prefect.utilities.annotations import opaque

from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import RegisteredVersion
from tasks.audit_session import Job
from tasks.batches import audit_batch
from tasks.compare import compare
from tasks.download import download_reg_model, download_run_model
from tasks.policy import span
from tasks.resolve_version import resolve_version
from tasks.result_storage import SignedResults, kept

IN_FLIGHT = 2  # batches, whose listings and readings are held in memory
TASKS_PER_BATCH = 4

_Item = TypeVar("_Item")
Batch = tuple[RegisteredVersion, ...]


def whole(value: Any) -> Any:
    """Mark a value, or the future of one, as opaque.

    Otherwise Prefect looks for futures in every file of every model.
    """
    return opaque(value)


class Running(Protocol):
    """This is a batch in flight."""

    def rows(self) -> tuple[VersionAudit, ...]:
        """Return a row for every version of the batch, even if a task failed."""
        ...


Start = Callable[[Job, Batch], Running]


@dataclass(frozen=True, slots=True)
class Steps:
    """Holds the tasks that a batch goes through."""

    resolve_version: Task[..., Any] = resolve_version
    download_run_model: Task[..., Any] = download_run_model
    download_reg_model: Task[..., Any] = download_reg_model
    compare: Task[..., Any] = compare
    audit_batch: Task[..., Any] = audit_batch

    @classmethod
    def kept_in(cls, results: SignedResults | None) -> "Steps":
        """Return the tasks, with their results kept for a resumed audit if there is a place for results."""
        if results is None:
            return cls()
        return cls(
            kept(resolve_version, results, "resolved"),
            kept(download_run_model, results, "copies"),
            kept(download_reg_model, results, "copies"),
            kept(compare, results, "rows"),
            kept(audit_batch, results, "rows"),
        )


class RunningBatch:
    """Runs the four steps of a batch in this process, each as a separate task run."""

    def __init__(self, job: Job, batch: Batch, steps: Steps | None = None) -> None:
        self._batch, steps = batch, steps or Steps()
        resolved = steps.resolve_version.submit(job, whole(batch))
        run_models = steps.download_run_model.submit(job, whole(resolved))
        reg_models = steps.download_reg_model.submit(job, whole(resolved))
        self._compared = steps.compare.submit(job, whole(resolved), whole(run_models), whole(reg_models))
        self._before: tuple[PrefectFuture[Any], ...] = (resolved, run_models, reg_models)

    def rows(self) -> tuple[VersionAudit, ...]:
        return rows_of(self._batch, self._compared, self._cause)

    def _cause(self) -> Exception | None:
        """Return why an earlier step failed: for the last step, Prefect only says that it never ran."""
        for future in self._before:
            if (error := _error_of(future)) is not None:
                return error
        return None


class Promised(Protocol):
    """This is the future result of the last task of a batch."""

    def result(self) -> Any: ...


def rows_of(
    batch: Batch, future: Promised, cause: Callable[[], Exception | None] = lambda: None
) -> tuple[VersionAudit, ...]:
    """Return the result of the last task of a batch. If it failed, return rows with the reason."""
    try:
        rows: tuple[VersionAudit, ...] = future.result()
        if tuple(row.version for row in rows) == batch:
            return rows
        reason = "internal error: the steps lost a version of its batch"
    except Exception as error:  # noqa: BLE001 - a batch that cannot be audited becomes rows, and must not end the audit
        reason = reason_of(cause() or error)
    get_run_logger().error("no version of batch %s could be audited: %s", span(batch), reason)
    return tuple(unresolvable(version, reason) for version in batch)


def audited_rows(
    job: Job,
    versions: Iterable[RegisteredVersion],
    batch_size: int,
    *,
    start: Start = RunningBatch,
    in_flight: int = IN_FLIGHT,
) -> Iterator[tuple[VersionAudit, ...]]:
    """Yield the rows of one batch after the other, in the order of the versions."""
    waiting, running = iter(batches_of(versions, batch_size)), deque[Running]()
    while True:
        running.extend(start(job, batch) for batch in islice(waiting, in_flight - len(running)))
        if not running:
            return
        yield running.popleft().rows()


def batches_of(versions: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    remaining = iter(versions)
    while batch := tuple(islice(remaining, size)):
        yield batch


def _error_of(future: PrefectFuture[Any]) -> Exception | None:
    try:
        future.result()
    except Exception as error:  # noqa: BLE001 - the error is the result
        return error
    return None
