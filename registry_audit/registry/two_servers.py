"""Two servers that are asked side by side, each told only who signs in to it."""

import os
from dataclasses import replace

from registry_audit.net.origin import Origin, is_one_machine, origin_of
from registry_audit.registry.connection import Server

_OWNER = "MLFLOW_TRACKING_URI"


def each_with_its_own(one: Server, two: Server, owner_uri: str | None = None) -> tuple[Server, Server]:
    """The two, so that neither is sent the sign-in that the environment holds for another server.

    `MLFLOW_TRACKING_TOKEN`, `MLFLOW_TRACKING_USERNAME` and what else MLflow's client finds belong to the server that
    `MLFLOW_TRACKING_URI` names. Whoever is not that one is signed in to as its configuration says, or as ~/.netrc has
    it for that very host, or not at all. Where the variable names no server, they belong to those that the command
    names: both are asked as MLflow's own client would ask them.

    Args:
        owner_uri: in place of what the variable says.
    """
    owner = _origin(owner_uri or os.environ.get(_OWNER, ""))
    if owner is None:
        return one, two
    origins = [_origin(server.tracking_uri) for server in (one, two)]
    # Somebody may call this machine 127.0.0.1 here and localhost there.
    is_owner = [origin == owner for origin in origins]
    if not any(is_owner):
        is_owner = [origin is not None and is_one_machine(origin, owner) for origin in origins]
    return replace(one, by_itself=not is_owner[0]), replace(two, by_itself=not is_owner[1])


def _origin(uri: str) -> Origin | None:
    """None for what is no server."""
    try:
        origin = origin_of(uri)
    except ValueError:
        return None
    return origin if origin.scheme in ("http", "https") else None
