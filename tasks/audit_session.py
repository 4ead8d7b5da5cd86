"""The Session of an audit, one in each process: its clients and caches cannot be handed from task to task."""

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
    """Which server a task asks, for which audit, and how: all that it takes to open the Session anywhere.

    May be sent to another process, and never holds a URI in its `repr`.
    """

    server: Server
    options: AuditOptions
    audit_id: str
    life: str | None = None  # of the audit: see `tasks.result_storage`; None: nothing outlives the process
    registry: str | None = None  # name of the block `RegistryAudit` that says who signs in

    @property
    def workers(self) -> int:
        """Versions at once, however many tasks work on them."""
        return self.options.workers


_open: OrderedDict[Job, Session] = OrderedDict()
_lock = threading.Lock()


def job_of(options: AuditOptions, audit_id: str, life: str | None = None, registry: str | None = None) -> Job:
    """Raises: UsageError: there is no such block."""
    return Job(signed_in(options.server, registry), options, audit_id, life, registry)


def work_directory(job: Job) -> Path | None:
    """Where what the audit has read and said is kept on this machine."""
    if job.life is None:
        return None
    path = WorkDirectory(job.audit_id).path
    return path if job.life == FIRST_LIFE else path / job.life


def sign_in_for(registry: str | None) -> None:
    """Have this process know who signs in: to the registry of that block, or to the worker's own.

    Raises:
        Transient: the Prefect server does not say so.
    """
    if registry is None:
        sign_in()
    else:
        sign_in_as(registry)


def open_session(job: Job) -> Session:
    """Opened by the first task of an audit that runs in this process.

    Raises:
        UsageError: the server's URI is not one MLflow can open, or the working directory cannot be written.
        Transient: the Prefect server does not say how to sign in.
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
        while len(_open) > _OPEN_AT_MOST:  # of audits that ended elsewhere, or were killed
            _open.popitem(last=False)
        return session


def close_job(job: Job) -> None:
    """Forget the Session, and end what it still reads."""
    with _lock:
        session = _open.pop(job, None)
    if session is not None:
        session.close()
