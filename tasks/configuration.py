"""Reads the configuration of the flows: from the environment, then from Prefect variables, then from Secret blocks.

Parameters of a run take precedence over all three (see `flows.parameters`).
"""

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException
from prefect.variables import Variable

from registry_audit.errors import Transient, UsageError
from registry_audit.redact import holds_credentials
from registry_audit.registry.address import registry_beside

TRACKING_URI, REGISTRY_URI, LEDGER = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "REGISTRY_AUDIT_LEDGER"

# For each, the Prefect variable, which everybody can see, and the Secret block, for a URI with a password.
_URIS = {
    TRACKING_URI: ("registry_audit_tracking_uri", "registry-audit-tracking-uri"),
    REGISTRY_URI: ("registry_audit_registry_uri", "registry-audit-registry-uri"),
    LEDGER: ("registry_audit_ledger", "registry-audit-ledger"),
}
_SIGN_IN = {
    "MLFLOW_TRACKING_USERNAME": "registry-audit-tracking-username",
    "MLFLOW_TRACKING_PASSWORD": "registry-audit-tracking-password",
    "MLFLOW_TRACKING_TOKEN": "registry-audit-tracking-token",
}

_Answer = TypeVar("_Answer")

_from_blocks: dict[str, str] = {}  # values that `sign_in` put into the environment of this process
_lock = threading.Lock()


def configured_uri(name: str) -> str | None:
    """Return the URI that is configured for an environment variable, or None.

    Args:
        name: name of the environment variable.

    Raises:
        UsageError: a Prefect variable holds credentials, or a variable or block holds no text.
        Transient: the Prefect server does not answer.
    """
    if from_environment := os.environ.get(name):
        return from_environment
    variable, block = _URIS[name]
    get: Any = Variable.get
    value = _text(asked(lambda: get(variable, None, _sync=True)), f"the Prefect variable {variable}")
    if value is not None and holds_credentials(value):
        raise UsageError(
            f"the Prefect variable {variable} holds credentials, and whoever sees Prefect sees it: consider them "
            f"known, change them, and keep the URI in the Secret block {block}"
        )
    return value or _secret(block)


def configured_registry_uri(tracking_uri: str) -> str | None:
    """Return the configured model registry, if the tracking server is the configured one.

    Raises:
        UsageError, Transient: see `configured_uri`.
    """
    registry_uri = configured_uri(REGISTRY_URI)
    return registry_uri and registry_beside(tracking_uri, configured_uri(TRACKING_URI), registry_uri)


def sign_in() -> None:
    """Copy the credentials of the Secret blocks into the environment, unless the environment already has some.

    It is called in each process that uses the server, and again for each audit. So no secret is passed between
    processes, and a new password takes effect.
    """
    with _lock:
        if any(os.environ.get(name) not in (None, "", _from_blocks.get(name)) for name in _SIGN_IN):
            return
        for name, block in _SIGN_IN.items():
            value = _secret(block)
            if value is not None:
                os.environ[name] = _from_blocks[name] = value
            elif _from_blocks.pop(name, None) is not None:
                del os.environ[name]


def _secret(block: str) -> str | None:
    load: Any = Secret.load
    try:
        found = asked(lambda: load(block, _sync=True))
    except ValueError:  # raised by Prefect if there is no such block
        return None
    return _text(found.get(), f"the Secret block {block}")


def asked(ask: Callable[[], _Answer]) -> _Answer:
    """Return the Prefect server's answer.

    Raises:
        ObjectNotFound, ObjectAlreadyExists: the server says so.
        Transient: it does not answer, or answers with an error.
    """
    try:
        return ask()
    except (ObjectNotFound, ObjectAlreadyExists):
        raise
    except (httpx.HTTPError, PrefectException) as error:
        raise Transient(f"the Prefect server does not answer ({type(error).__name__})") from None


def _text(value: object, what: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError(f"{what} holds no text")
    return value
