"""The Prefect server refuses parameters whose names a deployment does not have.

What `prefect deploy` tells the server of a flow's parameters allows any other name: a run with a mistyped one would be
accepted, wait for a worker, and fail there. `python -m flows.strict_forms` ends that for the deployments of
prefect.yaml, until they are deployed anew; deploy.sh does both.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound

from registry_audit.cli import boundary
from registry_audit.errors import CouldNotVerify, UsageError

PROJECT = Path(__file__).parents[1] / "prefect.yaml"


@click.command("strict-forms", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Have the Prefect server refuse parameters that the deployments of prefect.yaml do not have."""
    try:
        with get_client(sync_client=True) as client:
            for given in listed_deployments():
                flow = given["entrypoint"].rpartition(".")[2].replace("_", "-")
                refuse_unknown_names(client, _id_of(client, f"{flow}/{given['name']}"))
    except httpx.HTTPError as error:
        raise CouldNotVerify(f"the Prefect server cannot be reached: {type(error).__name__}") from error


def listed_deployments() -> Iterator[dict[str, Any]]:
    """Those of prefect.yaml."""
    yield from yaml.safe_load(PROJECT.read_text(encoding="utf-8"))["deployments"]


def refuse_unknown_names(client: SyncPrefectClient, deployment_id: UUID) -> None:
    schema = client.read_deployment(deployment_id).parameter_openapi_schema
    strict: dict[str, Any] = {**(schema or {}), "additionalProperties": False}
    client.update_deployment(deployment_id, DeploymentUpdate(parameter_openapi_schema=strict))


def _id_of(client: SyncPrefectClient, name: str) -> UUID:
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound:
        raise UsageError(f"there is no deployment {name}: prefect deploy --all") from None


if __name__ == "__main__":
    sys.exit(boundary.run(command, "python -m flows.strict_forms"))
