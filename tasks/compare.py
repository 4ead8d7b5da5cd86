"""`compare`: compare what was downloaded, and judge."""

from prefect import task

from registry_audit.audit.copies import Copy
from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.pipeline import Resolved, compare_version
from registry_audit.audit.session import Session
from tasks.audit_session import Job
from tasks.batches import each
from tasks.policy import RETRIED, named_after, presentable
from tasks.result_storage import if_settled

_Downloaded = tuple[Resolved, Copy | None, Copy | None]


@task(name="compare", task_run_name=named_after("compare", "resolved"), **RETRIED)
@presentable
def compare(
    job: Job,
    resolved: tuple[Resolved, ...],
    run_models: tuple[Copy | None, ...],
    reg_models: tuple[Copy | None, ...],
) -> tuple[VersionAudit, ...]:
    """The row of every version of a batch, in their order. A difference is a row, never an error."""
    return if_settled(each(job, _compare, tuple(zip(resolved, run_models, reg_models, strict=True)), failed=_failed))


def _compare(session: Session, downloaded: _Downloaded) -> VersionAudit:
    resolved, run, reg = downloaded
    if isinstance(resolved, VersionAudit):
        return resolved
    if run is None:
        raise TypeError("a version that was resolved has a run model, or why there is none")
    return compare_version(session, resolved, run, reg)


def _failed(downloaded: _Downloaded, reason: str) -> VersionAudit:
    return unresolvable(downloaded[0].version, reason)
