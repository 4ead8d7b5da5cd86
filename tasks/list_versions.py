"""Defines `list-versions`, which finds the versions that an audit covers."""

from prefect import task

from registry_audit.api import begin_audit, ledger_of
from registry_audit.audit.scope import Scope, list_scope
from tasks.audit_session import Job, open_session
from tasks.policy import RETRIED, presentable


@task(name="list-versions", task_run_name="list-versions", **RETRIED)
@presentable
def list_versions(job: Job) -> Scope:
    """List the registry, select the requested versions, and record in the ledger that the audit began.

    Raises:
        UsageError: something that the options name does not exist, or the server refuses the filter or the credentials.
        CouldNotVerify: the server cannot be read.
        LedgerError: the ledger is unusable.
    """
    options = job.options
    ledger = ledger_of(options)
    session = open_session(job)
    return begin_audit(ledger, session, options, list_scope(session, options), job.audit_id)
