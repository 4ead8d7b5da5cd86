"""Audits on registration: a receiver turns MLflow's webhook into an audit of the version that was just created.

`python -m flows.on_registration serve` receives webhooks; `... register` asks the MLflow server to send them. The next
scheduled audit covers every webhook that never arrives.
"""

import asyncio
import functools
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import httpx
import uvicorn
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.states import Scheduled
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from registry_audit.cli import boundary
from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import SERVER, required_tracking_uri, with_options
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.webhook import (
    MAX_BODY_BYTES,
    Forged,
    Malformed,
    Registration,
    must_arrive,
    must_be_strong,
    registration_of,
    subscribe,
    verified_id,
)

SECRET = "REGISTRY_AUDIT_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable
DEPLOYMENT = "audit-registry/on-registration"
DEFAULT_DELAY_SECONDS = 60
DEFAULT_AGAIN_SECONDS = 900

_ANSWER_SECONDS = 15  # MLflow waits for 30
_BODY_SECONDS = 10
_RETRY_AFTER_SECONDS = 20  # MLflow retries three times, so a Prefect server may be away for a minute
_CONNECTIONS = 64
_FILE = click.Path(exists=True, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts the audits of a version: one soon, and one later for files or registrations that were not complete yet."""

    deployment: str
    delay: timedelta
    again: timedelta  # time after the first audit; zero for never

    async def start(self, registration: Registration, delivery_id: str) -> str:
        """Start the audits, and return the id of the first flow run. A repeated delivery returns the same run.

        Raises:
            CouldNotVerify: Prefect cannot be reached, or has no such deployment.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), get_client() as client:
                deployment = await client.read_deployment_by_name(self.deployment)
                first = await self._create(client, deployment.id, registration, delivery_id, quick=False)
                if self.again:
                    await self._create(client, deployment.id, registration, delivery_id, quick=True)
                return str(first)
        except ObjectNotFound as error:
            raise CouldNotVerify(f"Prefect has no deployment {printable(self.deployment)}") from error
        except (httpx.HTTPError, PrefectHTTPStatusError, TimeoutError, RuntimeError) as error:
            raise CouldNotVerify(f"Prefect cannot be reached: {type(error).__name__}") from error

    async def _create(
        self, client: Any, deployment_id: Any, registration: Registration, delivery_id: str, *, quick: bool
    ) -> Any:
        after = self.delay + (self.again if quick else timedelta())
        run = await client.create_flow_run_from_deployment(
            deployment_id,
            # The name of the scheduled run; the flow renames it when it starts.
            name=f"audit {registration.label}{' again' if quick else ''}",
            parameters=registration.audit_parameters() | {"accept_new": True, "quick": quick},
            state=Scheduled(scheduled_time=datetime.now(UTC) + after),
            # The Prefect server stores the key, so a replay starts nothing, even after a restart of this process.
            idempotency_key=f"mlflow-webhook {delivery_id}{' again' if quick else ''}",
            tags=["registry-audit", "on-registration"],
        )
        return run.id


def receiver(secret: str, starter: Starter, workspace: str) -> Starlette:
    """Return the application: MLflow's deliveries are accepted at any path, and `GET /health` says that it runs."""

    async def deliver(request: Request) -> Response:
        try:
            body = await _body_of(request)
            delivery_id = verified_id(request.headers, body, secret, time.time())
            registration = registration_of(body)
        except Forged as error:
            return _answer(401, f"refused: {error.message}")
        except Malformed as error:
            return _answer(400, f"refused: {error.message}")
        except _TooLarge:
            return _answer(413, f"refused: more than {MAX_BODY_BYTES:,} bytes")
        except (TimeoutError, ClientDisconnect):
            return _answer(408, f"refused: it did not arrive within {_BODY_SECONDS} s")
        if registration is None:
            return _answer(200, "ignored: another event")
        if registration.is_test:
            return _answer(200, "a test delivery arrived")
        if registration.workspace not in (None, workspace):
            return _answer(200, f"ignored: {registration.label} is of another workspace")
        try:
            run_id = await starter.start(registration, delivery_id)
        except CouldNotVerify as error:
            return _answer(503, f"{registration.label}: {error.message}", {"Retry-After": str(_RETRY_AFTER_SECONDS)})
        return _answer(202, f"{registration.label}: flow run {run_id}")

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[Route("/health", health, methods=["GET"]), Route("/{path:path}", deliver, methods=["POST"])]
    )


class _TooLarge(Exception):
    pass


async def _body_of(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(_BODY_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _TooLarge
    return bytes(body)


def _answer(status: int, said: str, headers: dict[str, str] | None = None) -> Response:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {status} {said}", err=True)
    return JSONResponse({"said": said}, status_code=status, headers=headers)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Audit each model version when it is registered: MLflow's webhook starts a Prefect flow run."""


def receiving(serve: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that receives webhooks. It is given a function `server` that makes the server."""

    @click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
    @click.option("--port", type=click.IntRange(1, 65535), default=4280, show_default=True, help="Port to listen at.")
    @click.option("--tls-certificate", type=_FILE, metavar="FILE", help="Certificate and its whole chain, in PEM.")
    @click.option("--tls-key", type=_FILE, metavar="FILE", help="Private key of the certificate, in PEM.")
    @click.option(
        "--deployment",
        default=DEPLOYMENT,
        show_default=True,
        metavar="FLOW/NAME",
        help="Deployment that audits a new version.",
    )
    @click.option(
        "--delay",
        type=click.IntRange(min=0),
        default=DEFAULT_DELAY_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="Wait this long before the audit: a version may be created before its files are there.",
    )
    @click.option(
        "--again",
        type=click.IntRange(min=0),
        default=DEFAULT_AGAIN_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="After this time, audit once more what changed; 0 for never.",
    )
    @click.option(
        "--secret-block", metavar="NAME", help=f"Prefect Secret block that holds the secret, instead of {SECRET}."
    )
    @functools.wraps(serve)
    def command(
        *,
        host: str,
        port: int,
        tls_certificate: str | None,
        tls_key: str | None,
        deployment: str,
        delay: int,
        again: int,
        secret_block: str | None,
        **options: Any,
    ) -> Any:
        if (tls_certificate is None) != (tls_key is None):
            raise UsageError("--tls-certificate and --tls-key need each other")
        if not PREFECT_API_URL.value():
            raise UsageError("which Prefect server? Set PREFECT_API_URL, e.g. http://127.0.0.1:4200/api")

        def server() -> uvicorn.Server:
            import_library()  # before the first delivery, which would have to wait
            starter = Starter(deployment, timedelta(seconds=delay), timedelta(seconds=again))
            application = receiver(_secret(secret_block), starter, os.environ.get("MLFLOW_WORKSPACE") or "default")
            configuration = uvicorn.Config(
                application,
                host=host,
                port=port,
                ssl_certfile=tls_certificate,
                ssl_keyfile=tls_key,
                limit_concurrency=_CONNECTIONS,
                access_log=False,
                log_level="warning",
                server_header=False,
            )
            _must_be_free(host, port)
            click.echo(f"listening at {'https' if tls_certificate else 'http'}://{host}:{port}", err=True)
            return uvicorn.Server(configuration)

        has_secret = bool(secret_block or os.environ.get(SECRET))
        return serve(server=server, has_secret=has_secret, **options)

    return command


@command.command("serve")
@receiving
def serve(server: Callable[[], uvicorn.Server], has_secret: bool) -> None:
    """Receive MLflow's webhooks, and start an audit of each new version.

    REGISTRY_AUDIT_WEBHOOK_SECRET holds the secret with which MLflow signs its webhooks.
    """
    server().run()


@command.command("register")
@click.option("--url", required=True, metavar="URL", help="URL of the receiver, as the MLflow server reaches it.")
@click.option(
    "--secret-block", metavar="NAME", help=f"Prefect Secret block that holds the secret, instead of {SECRET}."
)
@with_options(*SERVER)
def register(url: str, secret_block: str | None, tracking_uri: str | None, registry_uri: str | None) -> None:
    """Ask the MLflow server to send each new version to the receiver, and have it send a test.

    Run it again after a change of the secret, REGISTRY_AUDIT_WEBHOOK_SECRET.
    """
    if redact(url) != url:
        raise UsageError("a URL with credentials or a token in it is shown to everybody who lists webhooks")
    secret = _secret(secret_block)
    from registry_audit.registry.connection import Server, connect

    connection = connect(Server(required_tracking_uri(tracking_uri), registry_uri))
    webhook_id = subscribe(connection, url, secret)
    click.echo(f"registered the webhook {printable(webhook_id)} at {connection.registry_address.shown}")
    must_arrive(connection, webhook_id)
    click.echo("its test delivery arrived")


def _must_be_free(host: str, port: int) -> None:
    """Check that the port is free: a receiver in a thread beside other work would fail to listen unnoticed."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise UsageError(
            f"cannot listen at {printable(host)}:{port}: {error.strerror}; give another --host or --port"
        ) from error


def _secret(block: str | None) -> str:
    if block is None:
        return must_be_strong(os.environ.get(SECRET, ""), SECRET)
    from prefect.blocks.system import Secret

    try:
        loaded: Any = Secret.load(block)
    except ValueError as error:
        raise UsageError(f"there is no Secret block '{printable(block)}'") from error
    return must_be_strong(str(loaded.get()), f"the Secret block {printable(block)}")


if __name__ == "__main__":
    sys.exit(boundary.run(command, "python -m flows.on_registration"))
