"""The Session of an audit, one in each process: its clients and caches cannot be handed from task to task."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from registry_audit.api import ledger_of, trust_readings
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.session import Session
from registry_audit.audit.workdir import WorkDirectory
from registry_audit.cli.startup import import_library
from registry_audit.registry.connection import Server
from tasks.configured import sign_in
from tasks.listeners import listeners_of

_OPEN_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Job:
    """Which server a task asks, for which audit, and how: all that it takes to open the Session anywhere.

    May be sent to another process, and never holds a URI in its `repr`.
    """

    server: Server
    options: AuditOptions
    audit_id: str
    resumable: bool = False  # whether readings outlive the process

    @property
    def workers(self) -> int:
        """Versions at once, however many tasks work on them."""
        return self.options.workers


_open: OrderedDict[Job, Session] = OrderedDict()
_lock = threading.Lock()


def audit_job(options: AuditOptions, audit_id: str) -> Job:
    return Job(options.server, options, audit_id, resumable=True)


def work_directory(job: Job) -> Path | None:
    """Where what the audit has read and said is kept on this machine."""
    return WorkDirectory(job.audit_id).path if job.resumable else None


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
            sign_in()
            session = Session(
                job.server,
                limits=job.options.limits,
                algorithm=job.options.digest,
                only_list=job.options.liveness,
                work_directory=work_directory(job),
                on_bytes=listeners_of(job.audit_id).read,
                signatures=job.options.signature_verifier(),
                politeness=job.options.politeness(),
            )
            if job.options.quick:
                trust_readings(session, ledger_of(job.options), job.options)
            _open[job] = session
        _open.move_to_end(job)
        while len(_open) > _OPEN_AT_MOST:  # of audits that ended elsewhere, or were killed
            _open.popitem(last=False)
        return session


def close_job(job: Job) -> int:
    """Forget the Session, end what it still reads, and say how many readings did not have to be repeated."""
    with _lock:
        session = _open.pop(job, None)
    if session is None:
        return 0
    session.stop()
    return session.readings.reused_count
