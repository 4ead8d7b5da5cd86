"""`compare` of two versions: what each wraps, from its own server."""

from typing import Any

from prefect import task

from registry_audit.audit.copies import Copy, Role
from registry_audit.audit.pairing import PairAudit, compare_pair
from registry_audit.registry.resolve import ResolvedVersion
from tasks.naming import short
from tasks.policy import RETRIED, presentable
from tasks.session import Job, open_session


def _run_name(parameters: dict[str, Any]) -> str:
    one, two = (short(version.version.label) for version in parameters["resolved"])
    return f"compare · {parameters['role'].words}s of {one} and {two}"


@task(name="compare", task_run_name=_run_name, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
@presentable
def compare_copies(
    job: Job,
    role: Role,
    resolved: tuple[ResolvedVersion, ResolvedVersion],
    copies: tuple[Copy, Copy],
    native_models: tuple[str | None, str | None],
) -> PairAudit:
    """Compare one role's copies of the two versions. A difference is part of the result, never an error.

    Raises:
        UsageError: neither model holds its native model.
    """
    return compare_pair(open_session(job), role, resolved, copies, native_models)
