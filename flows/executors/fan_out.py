"""Fans an audit out: its batches are in the ledger's database, and its workers are child runs of a deployment."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import State, get_run_logger
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from sqlalchemy import make_url

from flows import parameters
from flows.executors.batch_order import Batch, RunningBatch, batches_of
from flows.executors.part_key import forget_key, make_key
from registry_audit.api import ledger_of
from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.work_directory import Seal
from registry_audit.errors import LedgerError, Transient, UsageError
from registry_audit.ledger.shared_work import NotOurs, SharedWork, Standing
from registry_audit.redact import holds_credentials
from registry_audit.registry.version import RegisteredVersion
from tasks.audit_session import Job, close_job, open_session
from tasks.configuration import asked
from tasks.prefect_sender import quick_client
from tasks.request_limit import share_of_requests
from tasks.result_storage import work_key

PART = "audit-part"  # name of the flow that each worker runs
PART_DEPLOYMENT = f"{PART}/worker"

_LOOK_EVERY_SECONDS = 1.0
_BEGINS_WITHIN = timedelta(minutes=5)
_ROUNDS = 3  # rounds of child runs; a new one starts if all runs of a round ended or were lost before the work was done


@dataclass(frozen=True, slots=True)
class FanOut:
    """Fans out one audit over several workers."""

    job: Job
    count: int  # child runs at once
    lost_after_seconds: float

    def rows(
        self, versions: Iterable[RegisteredVersion], batch_size: int, progress: Callable[[Standing], None]
    ) -> Iterator[VersionAudit]:
        """Yield the rows of all versions in order, after everything was audited.

        Raises:
            UsageError: there is no ledger that several machines can reach, or no deployment of the parts.
            Transient: the Prefect server, which starts them, does not answer.
            LedgerError: the ledger cannot be used.
        """
        ledger = ledger_of(self.job.options)
        if ledger is None or make_url(ledger.url).get_backend_name() != "postgresql":
            raise UsageError("fan_out needs a ledger that all workers reach: a PostgreSQL database")
        audit_id = self.job.audit_id
        work = SharedWork(ledger, audit_id, Seal(make_key(audit_id)), self.lost_after_seconds)
        try:
            work.offer(batches_of(versions, batch_size), work_key(self.job))
            self._see_it_done(work, progress)
            for position, batch in enumerate(batches_of(versions, batch_size)):
                yield from _rows(work, position, batch)
        finally:
            work.close()
            forget_key(audit_id)

    def _see_it_done(self, work: SharedWork, progress: Callable[[Standing], None]) -> None:
        for _ in range(_ROUNDS):
            standing = work.standing()
            if standing.done:
                return
            runs = [self._start() for _ in range(min(self.count, standing.total - standing.delivered))]
            get_run_logger().info("%d workers for %d batches", len(runs), standing.total - standing.delivered)
            self._wait(work, [run.id for run in runs], progress)

    def _wait(self, work: SharedWork, run_ids: list[Any], progress: Callable[[Standing], None]) -> None:
        """Wait until all batches are delivered, or until all workers have ended or been silent for too long."""
        waited_since = time.monotonic()
        while True:
            standing = work.standing()
            progress(standing)
            if standing.done:
                return
            if standing.at_work:
                waited_since = time.monotonic()
            elif self._nobody_is_at_it(run_ids, waited_since):
                return
            elif time.monotonic() - waited_since > self.lost_after_seconds:
                self._work_here(work, progress)
                waited_since = time.monotonic()
            time.sleep(_LOOK_EVERY_SECONDS)

    def _work_here(self, work: SharedWork, progress: Callable[[Standing], None]) -> None:
        """Audit batches in this run. The pool has no room for workers, perhaps because this run holds its only slot."""
        get_run_logger().warning(
            "no worker has begun: this run audits what nobody is at. Has the pool of %s a free slot?", PART_DEPLOYMENT
        )
        with share_of_requests(self.job.options, of=self.count) as shared:
            for _ in audited(work, replace(self.job, options=shared), parameters.this_run()):
                progress(work.standing())

    def _nobody_is_at_it(self, run_ids: list[Any], silent_since: float) -> bool:
        """Say whether all workers ended, or those that began have been silent for too long.

        Scheduled runs do not count as silent: the pool has no room for them yet.
        """
        try:
            states = [run.state for run in _read(run_ids)]
        except Transient:  # Prefect is unreachable, but workers deliver without it
            return False
        if all(state is not None and state.is_final() for state in states):
            return True
        return not any(map(_may_begin, states)) and time.monotonic() - silent_since > self.lost_after_seconds

    def _start(self) -> FlowRun:
        audit = self.job.options
        options = audit.model_dump(mode="json", exclude_defaults=True) | {"ledger": audit.ledger}
        # Prefect stores parameters, so values with credentials are left out; the worker takes them from its
        # environment.
        shown = {name: value for name, value in options.items() if not _holds_secret(value)}
        given = {
            "audit_id": self.job.audit_id,
            "options": shown,
            "life": self.job.life,
            "registry": self.job.registry,
            "of": self.count,
            "lost_after_seconds": self.lost_after_seconds,
        }
        try:
            run: Any = asked(lambda: run_deployment(PART_DEPLOYMENT, parameters=given, timeout=0))
        except ObjectNotFound as error:
            raise UsageError(f"fan_out needs the deployment {PART_DEPLOYMENT}: prefect deploy --all") from error
        return run  # type: ignore[no-any-return]


# The functions below run in a worker.


def audited(work: SharedWork, job: Job, worker: str) -> Iterator[int]:
    """Audit free batches until there are none. Yield the number of versions of each delivered batch.

    Args:
        worker: id of the flow run that calls this.

    Raises:
        UsageError: this process would produce other rows than the one that began the audit.
    """
    try:
        key = work_key(job)
        while (taken := work.take(worker, key)) is not None:
            with _told(work, worker, taken.position, job):
                rows = RunningBatch(job, taken.versions).rows()
            if not work.deliver(worker, taken.position, rows):
                break  # the audit ended, or considers this worker lost
            yield len(rows)
    finally:
        close_job(job)


@contextmanager
def _told(work: SharedWork, worker: str, position: int, job: Job) -> Iterator[None]:
    """Send heartbeats while the body runs. Stop its reading when the batch is no longer wanted."""
    ended_body = threading.Event()

    def tell() -> None:
        while not ended_body.wait(work.lost_after_seconds / 6):
            try:
                if not work.still_at(worker, position):
                    open_session(job).stop()
                    return
            except LedgerError:
                continue  # the database may be unreachable for a moment; a worker that is silent for long is replaced

    telling = threading.Thread(target=tell, name="still-at-work", daemon=True)
    telling.start()
    try:
        yield
    finally:
        ended_body.set()
        telling.join()


# The functions below look at the state of workers and collect their rows.


def _rows(work: SharedWork, position: int, batch: Batch) -> tuple[VersionAudit, ...]:
    """Return a row for every version of a batch, whatever the database contains for it."""
    try:
        rows = work.rows(position)
        why = f"its worker was lost, {_ROUNDS} times"
        if rows is not None:
            if tuple(row.version for row in rows) == batch:
                return rows
            why = "internal error: the workers lost a version of its batch"
    except NotOurs as error:
        why = error.message
    get_run_logger().error("%d versions were not audited: %s", len(batch), why)
    return tuple(unresolvable(version, why) for version in batch)


def _may_begin(state: State[Any] | None) -> bool:
    """Say whether a run may still begin.

    One that stays Pending will not: its worker died before it started the process.
    """
    if state is None or state.is_scheduled():
        return True
    return state.is_pending() and datetime.now(UTC) - state.timestamp < _BEGINS_WITHIN


def _holds_secret(value: object) -> bool:
    return isinstance(value, str) and holds_credentials(value)


def _read(run_ids: list[Any]) -> list[FlowRun]:
    """Return the runs that still exist. A run that somebody deleted is not working.

    Raises:
        Transient: the Prefect server does not answer.
    """
    found = []
    with quick_client() as client:
        for run_id in run_ids:
            with suppress(ObjectNotFound):
                found.append(asked(partial(client.read_flow_run, run_id)))
    return found
