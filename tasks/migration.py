"""Defines the steps of `compare-registries`: list and read each registry, then compare them."""

from collections.abc import Callable, Sequence
from typing import Any

from prefect import task

from registry_audit.api import conclude_migration
from registry_audit.migration.both import Both
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.registries_config import MigrationOptions, SideName
from registry_audit.migration.registry_reading import Listed, Side, fill_side
from registry_audit.migration.registry_reading import list_registry as list_side
from registry_audit.registry.version import RegisteredVersion
from registry_audit.report.registries_document import MigrationDocument
from tasks.audit_session import Job, open_session
from tasks.policy import RETRIED, presentable, short_address, span
from tasks.result_storage import if_settled


def _named(step: str) -> Callable[..., str]:
    def name(parameters: dict[str, Any]) -> str:
        server = parameters["job"].server
        registry = f"{step} · {parameters['side']} {short_address(server.registry_uri or server.tracking_uri)}"
        return f"{registry} · {span(parameters['batch'])}" if "batch" in parameters else registry

    return name


@task(name="list-registry", task_run_name=_named("list-registry"), **RETRIED)
@presentable
def list_registry(job: Job, side: SideName) -> Listed:
    """List one registry completely.

    Raises:
        UsageError: the server refuses the credentials.
        CouldNotVerify: the server cannot be read.
    """
    return list_side(open_session(job))


@task(name="read-registry", task_run_name=_named("read-registry"), **RETRIED)
@presentable
def read_registry(
    job: Job, side: SideName, batch: tuple[RegisteredVersion, ...], positions: Sequence[int], into: Side, workers: int
) -> tuple[VersionFacts, ...]:
    """Read some versions of one registry. A version that cannot be read becomes a row with its reason.

    Args:
        positions: positions of the batch in that registry.
        into: receives what is read. The flow holds it too, and keeps it if reading is interrupted.
    """
    fill_side(open_session(job), into, workers=workers, positions=positions)
    return if_settled(tuple(into.at(position) for position in positions))


@task(name="match", task_run_name="match", **RETRIED)
@presentable
def match(jobs: tuple[Job, Job], both: Both, options: MigrationOptions) -> MigrationDocument:
    """Pair the versions and compare each pair. A difference is part of the result, never an error."""
    source, target = (open_session(job) for job in jobs)
    return conclude_migration((source, target), both, options)
