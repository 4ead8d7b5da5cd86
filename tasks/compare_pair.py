"""`compare` of two versions: what each wraps, from its own server; and each by itself."""

from collections.abc import Mapping
from typing import Any

from prefect import task

from registry_audit.audit.copies import Copy, Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.single import PairAudit, compare_pair, judge_by_itself
from registry_audit.registry.resolve import ResolvedVersion
from tasks.audit_session import Job, open_session
from tasks.policy import RETRIED, presentable, short


def _name_of_pair(parameters: dict[str, Any]) -> str:
    one, two = (short(version.version.label) for version in parameters["resolved"])
    return f"compare · {parameters['role'].words}s of {one} and {two}"


def _name_of_version(parameters: dict[str, Any]) -> str:
    return f"compare · {short(parameters['resolved'].version.label)}"


@task(name="compare", task_run_name=_name_of_pair, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
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


@task(name="compare", task_run_name=_name_of_version, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
@presentable
def judge_version(job: Job, resolved: ResolvedVersion, copies: Mapping[Role, Copy]) -> VersionAudit:
    """The row of one of the two versions, from its copies that were compared with the other's."""
    return judge_by_itself(open_session(job), resolved, copies)
