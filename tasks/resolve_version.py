"""Defines `resolve-version`, which finds the root storages of registered versions without a download."""

from typing import Any

from prefect import task

from registry_audit.audit.judging import unresolvable
from registry_audit.audit.pipeline import Resolved, must_resolve
from registry_audit.audit.session import Session
from registry_audit.errors import Transient
from registry_audit.refs import parse_selector
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.versions import find_version
from tasks.audit_session import Job, open_session
from tasks.batches import each
from tasks.policy import RETRIED, is_last_try, named_after, presentable, short
from tasks.result_storage import if_settled


@task(name="resolve-version", task_run_name=named_after("resolve-version", "batch"), **RETRIED)
@presentable
def resolve_version(job: Job, batch: tuple[RegisteredVersion, ...]) -> tuple[Resolved, ...]:
    """Resolve a batch. A version that cannot be resolved is returned as its row.

    Raises:
        Transient: at least one version should be retried, and there is a retry left.
    """
    return _resolved(job, batch)


def _name_of_one(parameters: dict[str, Any]) -> str:
    return f"resolve-version · {short(str(parameters['model']))}/{short(str(parameters['version_or_stage']))}"


@task(name="resolve-version", task_run_name=_name_of_one, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
@presentable
def resolve_named(job: Job, model: str, version_or_stage: str) -> tuple[Resolved, ...]:
    """Resolve one version, and return it as a batch of one.

    Raises:
        UsageError: `version_or_stage` is not a valid selector.
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: access to the version is denied, or the server cannot be read.
    """
    return _resolved(job, (find_version(open_session(job).connection, model, parse_selector(version_or_stage)),))


def _resolved(job: Job, batch: tuple[RegisteredVersion, ...]) -> tuple[Resolved, ...]:
    open_session(job).prefetch(batch)
    found = each(job, _resolve, batch, failed=unresolvable)
    again = [result for result in found if isinstance(result, Transient)]
    if again and not is_last_try():
        raise Transient(f"{len(again)} of {len(batch)} versions: {again[0].message}")
    return if_settled(tuple(_row(version, result) for version, result in zip(batch, found, strict=True)))


def _resolve(session: Session, version: RegisteredVersion) -> Resolved | Transient:
    try:
        return must_resolve(session, version)
    except Transient as error:
        return error


def _row(version: RegisteredVersion, result: Resolved | Transient) -> Resolved:
    return unresolvable(version, result.message, retryable=True) if isinstance(result, Transient) else result
