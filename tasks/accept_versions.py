"""Defines `prepare` and `accept`: bytes become the baseline if the last audit read them and they were approved."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from prefect import task

from registry_audit.errors import UsageError
from registry_audit.ledger.accept import Acceptance, Moved, accept, prepare
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.identity import audited_registry
from registry_audit.ledger.store import Ledger
from registry_audit.printable import printable
from tasks.audit_session import Job, open_session
from tasks.policy import UNCACHED, presentable

GONE = "gone"  # stands for the digest of a version that no longer exists


@task(name="prepare", task_run_name="prepare", **UNCACHED)
@presentable
def prepare_versions(
    job: Job, versions: tuple[str, ...], by: str, reason: str, despite: tuple[str, ...] = ()
) -> tuple[Acceptance, ...]:
    """Return what would be accepted. Nothing is written.

    Raises:
        UsageError: a version does not exist or was never audited, or there is no ledger.
        Moved: the bytes are not those of the last audit.
        LedgerError: the ledger is unusable.
    """
    with _opened(job) as (ledger, registry):
        return _prepared(job, ledger, registry, versions, by, reason, despite)


@task(name="accept", task_run_name="accept", **UNCACHED)
@presentable
def accept_approved(
    job: Job, approved: Mapping[str, str], by: str, reason: str, despite: tuple[str, ...] = ()
) -> tuple[tuple[Acceptance, ...], str]:
    """Accept versions, and return what was accepted and the ledger's new head. The task is never retried.

    Args:
        approved: for each version, as NAME/V, the digest of the manifest that was approved.

    Raises:
        Moved: the bytes are not those that were approved, or not those of the last audit. Nothing was accepted.
        UsageError, LedgerError: see `prepare_versions`.
    """
    with _opened(job) as (ledger, registry):
        prepared = _prepared(job, ledger, registry, tuple(approved), by, reason, despite)
        for one in prepared:
            if (one.digest or GONE) != approved.get(one.reference):
                raise Moved(f"{printable(one.reference)} is not what was approved any more: nothing was accepted")
        head = accept(ledger, registry, prepared)
        remember(ledger, head)
        return prepared, head.digest


@contextmanager
def _opened(job: Job) -> Iterator[tuple[Ledger, str]]:
    """Open the ledger, and find the key of the registry in it."""
    if job.options.ledger is None:
        raise UsageError("accepting needs a ledger: give ledger, or set REGISTRY_AUDIT_LEDGER where the flow runs")
    session = open_session(job)
    with closing(open_ledger(job.options.ledger, create=False)) as ledger:
        with ledger.reading() as reader:
            registry = audited_registry(reader, session.connection.identity, job.options.registry_name)
        yield ledger, registry


def _prepared(
    job: Job, ledger: Ledger, registry: str, versions: tuple[str, ...], by: str, reason: str, despite: tuple[str, ...]
) -> tuple[Acceptance, ...]:
    return prepare(open_session(job), ledger, registry, versions, by=by, reason=reason, despite=despite)
