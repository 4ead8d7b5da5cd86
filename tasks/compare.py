"""Defines `compare`: compare and judge what was downloaded, for a batch of versions, or for two versions."""

from collections.abc import Mapping
from typing import Any

from prefect import task

from registry_audit.audit.copies import Copy, Role
from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.named_versions import PairAudit, compare_pair, judge_by_itself
from registry_audit.audit.pipeline import Resolved, compare_version
from registry_audit.audit.session import Session
from registry_audit.registry.resolve import ResolvedVersion
from tasks.audit_session import Job, open_session
from tasks.batches import each
from tasks.policy import RETRIED, named_after, presentable, short
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
    """Return the row of every version of a batch, in their order. A difference is a row, never an error."""
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


# Two versions are compared below. Each may have its own server.


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
        UsageError: neither model contains its native model.
    """
    return compare_pair(open_session(job), role, resolved, copies, native_models)


@task(name="compare", task_run_name=_name_of_version, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
@presentable
def judge_version(job: Job, resolved: ResolvedVersion, copies: Mapping[Role, Copy]) -> VersionAudit:
    """Return the row of one of the two versions, from its copies that were compared with the other version's."""
    return judge_by_itself(open_session(job), resolved, copies)
