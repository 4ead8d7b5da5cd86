"""Processes a batch of versions in one task run: one step for all of them, in threads, or all steps at once."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from prefect import get_run_logger, task

from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.pipeline import audit_version
from registry_audit.audit.runner import in_threads
from registry_audit.audit.session import Session
from registry_audit.errors import AuditError, Stopped
from registry_audit.net.deadline import OutOfTime
from registry_audit.registry.translate import is_foreign, reason_of
from registry_audit.registry.version import RegisteredVersion
from tasks.audit_session import Job, open_session
from tasks.policy import RETRIED, named_after, presentable, redacted_traceback
from tasks.result_storage import if_settled

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each(
    job: Job,
    step: Callable[[Session, _Item], _Result],
    items: Sequence[_Item],
    *,
    failed: Callable[[_Item, str], _Result],
) -> tuple[_Result, ...]:
    """Run `step` for every item, and return the results in the order of the items.

    Args:
        failed: makes the result of an item for which `step` raised. A defect that one model triggers must not prevent
            the audit of the others in its batch.
    """
    session, logger = open_session(job), get_run_logger()

    def one(item: _Item) -> _Result:
        try:
            return step(session, item)
        except Stopped:
            raise
        except AuditError as error:
            return failed(item, error.message)
        except BaseException as error:  # see `failed`
            if not is_foreign(error):
                raise
            logger.error(redacted_traceback(error))  # noqa: TRY400 - would log the causes as they are
            return failed(item, reason_of(error))

    def late(item: _Item, why: OutOfTime) -> _Result:
        return failed(item, why.message)

    return in_threads(session, one, items, workers=job.workers, late=late)


@task(name="audit-batch", task_run_name=named_after("audit-batch", "batch"), **RETRIED)
@presentable
def audit_batch(job: Job, batch: tuple[RegisteredVersion, ...]) -> tuple[VersionAudit, ...]:
    """Return the row of every version of a batch, in their order.

    This is used on a Dask cluster, where results of separate steps would have to be transferred.
    """
    open_session(job).prefetch(batch)
    return if_settled(each(job, audit_version, batch, failed=unresolvable))
