"""Opens the Session of an audit, one in each process, because its clients and caches cannot be passed between tasks."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from registry_audit.api import ledger_of, trust_readings
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.session import Session
from registry_audit.audit.work_directory import WorkDirectory
from registry_audit.cli.boundary import import_library
from registry_audit.registry.connection import Server
from tasks.configuration import sign_in
from tasks.listeners import listeners_of
from tasks.registry_block import sign_in_as, signed_in

FIRST_LIFE = "0"
_OPEN_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Job:
    """Says which server a task uses, for which audit, and how: everything needed to open the Session in any process.

    A job can be sent to another process, and its `repr` never contains a URI.
    """

    server: Server
    options: AuditOptions
    audit_id: str
    life: str | None = None  # see `tasks.result_storage.life_of`; None: nothing outlives the process
    registry: str | None = None  # name of the block `RegistryAudit` with the credentials

    @property
    def workers(self) -> int:
        """Return how many versions are processed at once, independent of the number of tasks."""
        return self.options.workers


_open: OrderedDict[Job, Session] = OrderedDict()
_lock = threading.Lock()


def job_of(options: AuditOptions, audit_id: str, life: str | None = None, registry: str | None = None) -> Job:
    """Make a job. Raises: UsageError: there is no such block."""
    return Job(signed_in(options.server, registry), options, audit_id, life, registry)


def work_directory(job: Job) -> Path | None:
    """Return the local directory for what the audit has read, or None.

    Raises:
        UsageError: there is a directory of that name that no audit made.
    """
    if job.life is None:
        return None
    work = WorkDirectory(job.audit_id)
    work.must_be_own()  # the worker may be on another machine than the flow, which checked it on its own
    path = work.path
    return path if job.life == FIRST_LIFE else path / job.life


def sign_in_for(registry: str | None) -> None:
    """Load the credentials into this process: those of the block, or the worker's own.

    Raises:
        Transient: the Prefect server does not answer.
    """
    if registry is None:
        sign_in()
    else:
        sign_in_as(registry)


def open_session(job: Job) -> Session:
    """Return the Session of a job. The first task of the audit in this process opens it.

    Raises:
        UsageError: MLflow cannot open the server's URI, or the working directory cannot be written.
        Transient: the Prefect server does not provide the credentials.
        LedgerError: a quick audit's ledger is unusable.
    """
    with _lock:
        session = _open.get(job)
        if session is None:
            import_library()
            sign_in_for(job.registry)
            session = Session(
                job.server,
                limits=job.options.limits,
                algorithm=job.options.digest,
                only_list=job.options.liveness,
                work_directory=work_directory(job),
                on_bytes=listeners_of(job.audit_id).read,
                signatures=job.options.signature_verifier(),
                throttle=job.options.throttle(),
            )
            if job.options.quick:
                trust_readings(session, ledger_of(job.options), job.options)
            _open[job] = session
        _open.move_to_end(job)
        while len(_open) > _OPEN_AT_MOST:  # sessions of audits that ended in another process, or were killed
            _open.popitem(last=False)
        return session


def close_job(job: Job) -> None:
    """Remove the Session and stop what it still reads."""
    with _lock:
        session = _open.pop(job, None)
    if session is not None:
        session.close()
