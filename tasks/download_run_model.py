"""`download-run-model`: list and read the run models of a batch."""

from pathlib import Path

from prefect import task

from registry_audit.audit.copies import Copy, CopyFailure, Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.pipeline import Resolved
from registry_audit.audit.pipeline import download_run_model as download
from registry_audit.audit.session import Session
from tasks.audit_session import Job
from tasks.batches import each
from tasks.policy import RETRIED, named_after, presentable
from tasks.result_storage import if_settled


@task(name="download-run-model", task_run_name=named_after("download-run-model", "resolved"), **RETRIED)
@presentable
def download_run_model(
    job: Job, resolved: tuple[Resolved, ...], keep_in: Path | None = None, by_itself: bool = False
) -> tuple[Copy | None, ...]:
    """The copy of each version, in their order; None of one that could not be resolved.

    Args:
        keep_in: where the files of the only version stay; None streams them, or reads them in place.
        by_itself: read it in any case: it is to be compared with another version's.
    """

    def read(session: Session, item: Resolved) -> Copy | None:
        return None if isinstance(item, VersionAudit) else download(session, item, keep_in, by_itself=by_itself)

    return if_settled(each(job, read, resolved, failed=_failed))


def _failed(item: Resolved, reason: str) -> Copy | None:
    return None if isinstance(item, VersionAudit) else CopyFailure(Role.RUN_MODEL, item.run_model, reason)
