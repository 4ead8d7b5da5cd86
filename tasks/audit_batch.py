"""`audit-batch`: all steps of a batch in one task run, for engines where what lies between the steps would travel."""

from prefect import task

from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.pipeline import audit_version
from registry_audit.registry.version import RegisteredVersion
from tasks.audit_session import Job, open_session
from tasks.batches import each
from tasks.policy import RETRIED, named_after, presentable
from tasks.result_storage import if_settled


@task(name="audit-batch", task_run_name=named_after("audit-batch", "batch"), **RETRIED)
@presentable
def audit_batch(job: Job, batch: tuple[RegisteredVersion, ...]) -> tuple[VersionAudit, ...]:
    """The row of every version of a batch, in their order."""
    open_session(job).prefetch(batch)
    return if_settled(each(job, audit_version, batch, failed=unresolvable))
