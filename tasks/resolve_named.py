"""`resolve-version` of the one version that a person named."""

from typing import Any

from prefect import task

from registry_audit.audit.pipeline import Resolved
from registry_audit.refs import parse_selector
from registry_audit.registry.versions import find_version
from tasks.audit_session import Job, open_session
from tasks.policy import RETRIED, presentable, short
from tasks.resolve_version import resolve_batch


def _run_name(parameters: dict[str, Any]) -> str:
    return f"resolve-version · {short(str(parameters['model']))}/{short(str(parameters['version_or_stage']))}"


@task(name="resolve-version", task_run_name=_run_name, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
@presentable
def resolve_named(job: Job, model: str, version_or_stage: str) -> tuple[Resolved, ...]:
    """A batch of one, as the other tasks take it.

    Raises:
        UsageError: `version_or_stage` names nothing.
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: the version is denied, or the server cannot be read.
    """
    return resolve_batch(job, (find_version(open_session(job).connection, model, parse_selector(version_or_stage)),))
