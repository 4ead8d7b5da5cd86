"""Chooses one of three executors for the batches of an audit, and the size of its batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from flows.executors.batch_order import RunningBatch, Steps, audited_rows
from flows.executors.dask_cluster import dask_cluster
from flows.executors.fan_out import FanOut
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.errors import UsageError
from registry_audit.ledger.shared_work import LOST_AFTER_SECONDS
from registry_audit.registry.version import RegisteredVersion
from tasks.audit_session import Job
from tasks.request_limit import share_of_requests

DASK_SCHEDULER = "REGISTRY_AUDIT_DASK_SCHEDULER"

_SMALLEST_BATCH, _LARGEST_BATCH, _BATCHES = 100, 400, 25

Progress = Callable[[int], None]  # called with the number of finished versions


@dataclass(frozen=True, slots=True)
class Executor:
    batch_size: int | None  # None: it depends on the number of versions
    dask_scheduler: str | None = None
    fan_out: int | None = None
    steps: Steps = field(default_factory=Steps)

    def share(self, options: AuditOptions) -> AbstractContextManager[AuditOptions]:
        """Return the options within a request limit over all workers.

        The parts of a fanned-out audit each take their own share.
        """
        return share_of_requests(options) if self.fan_out is None else nullcontext(options)

    def rows(self, job: Job, versions: Sequence[RegisteredVersion], progress: Progress) -> Iterator[VersionAudit]:
        """Yield the rows of all versions in order, independent of the executor.

        Raises:
            UsageError: the executor is not available, or two were chosen.
        """
        if self.dask_scheduler is not None and self.fan_out is not None:
            raise UsageError("give dask_scheduler or fan_out, not both")
        elsewhere = self.fan_out is not None or self.dask_scheduler is not None
        # Small batches can be distributed among many workers.
        size = self.batch_size or (_SMALLEST_BATCH if elsewhere else batch_size_for(len(versions)))
        if self.fan_out is not None:
            workers = FanOut(job, self.fan_out, LOST_AFTER_SECONDS)
            yield from workers.rows(versions, size, lambda standing: progress(standing.delivered * size))
        elif self.dask_scheduler is not None:
            with dask_cluster(self.dask_scheduler, self.steps.audit_batch) as (start, in_flight):
                yield from _counted(audited_rows(job, versions, size, start=start, in_flight=in_flight), progress)
        else:
            start_here = partial(RunningBatch, steps=self.steps)
            yield from _counted(audited_rows(job, versions, size, start=start_here), progress)


def batch_size_for(versions: int) -> int:
    """Return a batch size that keeps Prefect's overhead small, which is some 16 ms per task run.

    Batches are not larger than needed, because what the versions of batches in flight list and read is held in memory.
    """
    return min(max(_SMALLEST_BATCH, versions // _BATCHES), _LARGEST_BATCH)


def _counted(batches: Iterator[tuple[VersionAudit, ...]], progress: Progress) -> Iterator[VersionAudit]:
    done = 0
    for batch in batches:
        yield from batch
        done += len(batch)
        progress(done)
