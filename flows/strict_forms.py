"""Makes the Prefect server refuse unknown parameters of a deployment, and say why it refuses a value.

The schema that `prefect deploy` sends to the server allows any other name: a run with a mistyped parameter would be
accepted, wait for a worker, and fail there. For a wrong value of an optional parameter, the form only says that it "is
not valid under any of the given schemas". `python -m flows.strict_forms` fixes both for the deployments of
prefect.yaml, until they are deployed again. deploy.sh runs it, too.
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

_NONE = {"type": "null"}
# The server quotes this if somebody gives a single name instead of a list. Forms do not display it.
_NO_LIST = {"title": 'a text, where a list is asked for, such as ["Wine"]', "type": "string"}
_BOUNDS = ("pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")  # for texts or numbers only


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
    """Yield the deployments of prefect.yaml."""
    yield from yaml.safe_load(PROJECT.read_text(encoding="utf-8"))["deployments"]


def refuse_unknown_names(client: SyncPrefectClient, deployment_id: UUID) -> None:
    schema = client.read_deployment(deployment_id).parameter_openapi_schema
    client.update_deployment(deployment_id, DeploymentUpdate(parameter_openapi_schema=strict(schema or {})))


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that accepts the same values but no other names, and says what is wrong with a value."""
    fields = {name: _outspoken(field) for name, field in schema.get("properties", {}).items()}
    return {**schema, "properties": fields, "additionalProperties": False}


def _outspoken(field: dict[str, Any]) -> dict[str, Any]:
    """Move the bounds of an optional field out of its `anyOf`, because the server does not name bounds inside it."""
    given = [option for option in field.get("anyOf", []) if option != _NONE]
    if len(given) != 1 or len(given) == len(field["anyOf"]):
        return field
    moved, kept = _without_bounds(given[0])
    if "items" in kept:
        of_items, kept["items"] = _without_bounds(kept["items"])
        moved |= ({"items": of_items} if of_items else {}) | {"not": _NO_LIST}
    return {**field, "anyOf": [kept, _NONE], **moved}


def _without_bounds(part: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the bounds of a part of a schema, and the rest of it."""
    bounds = {name: value for name, value in part.items() if name in _BOUNDS}
    return bounds, {name: value for name, value in part.items() if name not in _BOUNDS}


def _id_of(client: SyncPrefectClient, name: str) -> UUID:
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound:
        raise UsageError(f"there is no deployment {name}: prefect deploy --all") from None


if __name__ == "__main__":
    sys.exit(boundary.run(command, "python -m flows.strict_forms"))
