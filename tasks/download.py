"""Defines `download-run-model` and `download-reg-model`, which list and read the copies of a batch."""

from functools import partial
from pathlib import Path

from prefect import task

from registry_audit.audit import pipeline
from registry_audit.audit.copies import Copy, CopyFailure, Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.named_versions import location_of
from registry_audit.audit.pipeline import Resolved
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
    """Return the run model of each version, in their order; None for a version that could not be resolved.

    Args:
        keep_in: where the files of the only version are kept; None streams them, or reads them in place.
        by_itself: always read it, because it is compared with another version's copy.
    """
    return _downloaded(Role.RUN_MODEL, job, resolved, keep_in, by_itself=by_itself)


@task(name="download-reg-model", task_run_name=named_after("download-reg-model", "resolved"), **RETRIED)
@presentable
def download_reg_model(
    job: Job, resolved: tuple[Resolved, ...], keep_in: Path | None = None, by_itself: bool = False
) -> tuple[Copy | None, ...]:
    """Return the registry model of each version, in their order; None for a version that could not be resolved.

    It is also None if it is in the run model's storage, which is read only once.

    Args:
        keep_in: where the files of the only version are kept; None streams them, or reads them in place.
        by_itself: always read it, because it is compared with another version's copy.
    """
    return _downloaded(Role.REG_MODEL, job, resolved, keep_in, by_itself=by_itself)


def _downloaded(
    role: Role, job: Job, resolved: tuple[Resolved, ...], keep_in: Path | None, *, by_itself: bool
) -> tuple[Copy | None, ...]:
    download = pipeline.download_run_model if role is Role.RUN_MODEL else pipeline.download_reg_model

    def read(session: Session, item: Resolved) -> Copy | None:
        return None if isinstance(item, VersionAudit) else download(session, item, keep_in, by_itself=by_itself)

    return if_settled(each(job, read, resolved, failed=partial(_failed, role)))


def _failed(role: Role, item: Resolved, reason: str) -> Copy | None:
    return None if isinstance(item, VersionAudit) else CopyFailure(role, location_of(item, role), reason)
