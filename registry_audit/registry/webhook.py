"""Handles MLflow's webhooks: verifies deliveries, reads what they report, and has a server send them.

MLflow 3.17 signs as Standard Webhooks do (`mlflow/webhooks/delivery.py`): HMAC-SHA256 over `id.timestamp.body`. It
tries a delivery four times within some two minutes, with one id and one timestamp, on 429 and 5xx only.
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from registry_audit.errors import AuditError, CouldNotVerify, UsageError
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.connection import Connection
from registry_audit.registry.mlflow_environment import importing_mlflow
from registry_audit.registry.translate import translated

MAX_BODY_BYTES = 1_000_000  # it contains a version's description and tags
FRESH_SECONDS = 300
MIN_SECRET_CHARACTERS = 16

_EVENT = "model_version.created"
_SIGNATURE, _TIMESTAMP, _ID = "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id"
_MAX_ID_CHARACTERS = 100
_MAX_DIGITS = 18
_MAX_NAME_CHARACTERS = 1_000  # MLflow's own limit is 256
_NAME = "registry-audit"
# Characters of a name that MLflow's filters take literally; other versions are chosen by number, then by exact name.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ")


class Forged(AuditError):
    """The delivery is not signed with the secret, or too old: it may be from anybody, or a recording."""


class Malformed(AuditError):
    """The delivery is genuine, but not in the form that MLflow is known to send."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Names a version that was created. Every text in it is hostile, although the server signed it."""

    name: str
    version: str  # decimal
    workspace: str | None  # the workspace, on a server that has workspaces
    is_test: bool = False  # MLflow's example, sent when a person tests the webhook

    @property
    def label(self) -> str:
        return f"{printable(redact(self.name))[:100]}/{self.version}"

    def audit_parameters(self) -> dict[str, Any]:
        """Return the options of an audit of just this version."""
        number = f"version_number = {self.version}"
        is_plain = _PLAIN.issuperset(self.name)
        return {"models": [_only(self.name)], "filter": f"name = '{self.name}' AND {number}" if is_plain else number}


def _only(name: str) -> str:
    """Return a `--model` that selects the model of this name and no other, also if there is no such model any more.

    The name itself would then be a pattern for other names, and `glob.escape` may give the name of another model. So
    each wildcard becomes a class of this one character and the empty range `/-.`: no model has a slash in its name.
    """
    return re.sub(r"[*?[]", r"[\g<0>/-.]", name)


def verified_id(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> str:
    """Return the id of a genuine and fresh delivery. The same delivery sent twice has the same id.

    Args:
        headers: their names in lower case.
        now: seconds since the epoch.

    Raises:
        Forged: the signature is missing or wrong, or the time is more than five minutes from now.
    """
    signature, timestamp, delivery_id = (headers.get(name, "") for name in (_SIGNATURE, _TIMESTAMP, _ID))
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    expected = f"v1,{base64.b64encode(hmac.digest(secret.encode(), signed, 'sha256')).decode()}"
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise Forged("the signature is not that of the secret")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _MAX_DIGITS):
        raise Forged("there is no timestamp")
    if abs(now - int(timestamp)) > FRESH_SECONDS:
        raise Forged(f"the delivery is not of these {FRESH_SECONDS} seconds: too old, or the clocks differ")
    if not delivery_id or len(delivery_id) > _MAX_ID_CHARACTERS or not delivery_id.isprintable():
        raise Forged("there is no delivery id")
    return delivery_id


def registration_of(body: bytes) -> Registration | None:
    """Return the version that a delivery is about, or None for another event.

    Raises:
        Malformed: the delivery is not JSON, or lacks a name or a version's number.
    """
    try:
        told = json.loads(body)
        if f"{told['entity']}.{told['action']}" != _EVENT:
            return None
        data = told["data"]
        name, version, workspace = data["name"], str(data["version"]), told.get("workspace")
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise Malformed(f"the delivery is not one of {_EVENT}") from error
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME_CHARACTERS:
        raise Malformed("the delivery names no model")
    if not (version.isascii() and version.isdecimal() and len(version) <= _MAX_DIGITS and int(version) > 0):
        raise Malformed("the delivery names no version")
    return Registration(name, str(int(version)), workspace if isinstance(workspace, str) else None, data == _example())


def _example() -> Any:
    """Return MLflow's test payload: its source leads nowhere, so that no real version can look like it."""
    payload: Any = webhook_types().ModelVersionCreatedPayload
    return payload.example()


def must_be_strong(secret: str, variable: str) -> str:
    """Return the secret. Raises: UsageError: it is too short to be safe."""
    if len(secret) < MIN_SECRET_CHARACTERS:
        need = f"{MIN_SECRET_CHARACTERS} characters or more"
        raise UsageError(f"the webhook's secret needs {need}: set {variable}, for instance to `openssl rand -hex 32`")
    return secret


def subscribe(connection: Connection, url: str, secret: str) -> str:
    """Have the MLflow server send new versions to the URL, or update the webhook of that URL; return the webhook's id.

    Raises:
        UsageError: the server has no webhooks, or refuses the URL.
        CouldNotVerify: the server cannot be reached.
    """
    client = _writing_client(connection)
    told = {"events": [_EVENT], "secret": secret}
    with translated("register the webhook"):
        known = next((hook for hook in _webhooks(client) if hook.name == _NAME and hook.url == url), None)
        if known is None:
            made = client.create_webhook(_NAME, url, description="Audits each new version", **told)
        else:
            made = client.update_webhook(known.webhook_id, status="ACTIVE", **told)
    return str(made.webhook_id)


def must_arrive(connection: Connection, webhook_id: str) -> None:
    """Have the server send its test delivery.

    Raises:
        CouldNotVerify: the delivery did not arrive, or was refused.
    """
    with translated("test the webhook"):
        result = _writing_client(connection).test_webhook(webhook_id)
    if not result.success:
        said = result.error_message or f"status {result.response_status}: {result.response_body}"
        raise CouldNotVerify(
            f"the webhook is registered, but its test did not arrive: {printable(redact(str(said)))[:300]}"
        )


def _writing_client(connection: Connection) -> Any:
    """Return MLflow's own client, because the clients of an audit have no way to write."""
    with importing_mlflow():
        from mlflow import MlflowClient

    webhook_types()
    return MlflowClient(connection.tracking_uri, connection.registry_uri)


def _webhooks(client: Any) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = retried(partial(client.list_webhooks, max_results=100, page_token=token))
        found += page
        token = page.token
        if not token or not page:
            return found


def webhook_types() -> Any:
    """Return the module with MLflow's description of its webhooks' payloads.

    Raises:
        UsageError: this MLflow has no webhooks.
    """
    try:
        with importing_mlflow():
            from mlflow.webhooks import types
    except ImportError as error:
        with importing_mlflow():
            from mlflow.version import VERSION

        raise UsageError(f"MLflow {VERSION} here knows no webhooks: pip install 'mlflow>=3.3'") from error
    return types
