"""Two servers that are asked side by side, each told only who signs in to it."""

import os
from dataclasses import replace

from registry_audit.net.origin import Origin, origin_of
from registry_audit.registry.connection import Server

_OWNER = "MLFLOW_TRACKING_URI"


def each_with_its_own(one: Server, two: Server, owner_uri: str | None = None) -> tuple[Server, Server]:
    """The two, so that one of them is not sent the sign-in that the environment holds for the other.

    `MLFLOW_TRACKING_TOKEN`, `MLFLOW_TRACKING_USERNAME` and what else MLflow's client finds belong to the server that
    `MLFLOW_TRACKING_URI` names. Where that is one of the two, the other is signed in to as its configuration says, or
    as ~/.netrc has it for that very host, or not at all. Where it is neither, nothing shows whose they are, and both
    are asked as MLflow's own client would ask them.

    Args:
        owner_uri: in place of what the variable says.
    """
    owner = _origin(owner_uri or os.environ.get(_OWNER, ""))
    is_owner = [_origin(server.tracking_uri) == owner for server in (one, two)]
    if owner is None or not any(is_owner):
        return one, two
    return replace(one, by_itself=not is_owner[0]), replace(two, by_itself=not is_owner[1])


def _origin(uri: str) -> Origin | None:
    """None for what is no server."""
    try:
        origin = origin_of(uri)
    except ValueError:
        return None
    return origin if origin.scheme in ("http", "https") else None
