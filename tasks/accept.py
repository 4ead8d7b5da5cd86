"""`accept`: what is there now becomes the baseline, if it is what the last audit read."""

from prefect import task

from registry_audit.errors import UsageError
from registry_audit.ledger.accept import Acceptance, accept, prepare
from registry_audit.ledger.identity import audited_registry
from registry_audit.ledger.opening import open_ledger, remember
from tasks.policy import UNCACHED, presentable
from tasks.session import Job, open_session


@task(name="accept", task_run_name="accept", **UNCACHED)
@presentable
def accept_versions(
    job: Job, versions: tuple[str, ...], by: str, reason: str, dry_run: bool, despite: tuple[str, ...] = ()
) -> tuple[tuple[Acceptance, ...], str | None]:
    """What was, or would be, accepted; and the ledger's new head, if there is one. Never tried again by itself.

    Raises:
        UsageError: no such version, it was never audited, or there is no ledger.
        Moved: the bytes are not those of the last audit.
        LedgerError: the ledger is unusable.
    """
    if job.options.ledger is None:
        raise UsageError("accepting needs a ledger: give ledger, or set REGISTRY_AUDIT_LEDGER where the flow runs")
    session, ledger = open_session(job), open_ledger(job.options.ledger, create=False)
    with ledger.reading() as reader:
        registry = audited_registry(reader, session.connection.identity, job.options.registry_name)
    prepared = prepare(session, ledger, registry, versions, by=by, reason=reason, despite=despite)
    if dry_run:
        return prepared, None
    head = accept(ledger, registry, prepared)
    remember(ledger, head)
    return prepared, head.digest
