"""Serves every deployment of prefect.yaml from one process, without a work pool, for a team with one machine.

Run `python -m flows.serve` in the checkout, with the environment of a worker.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import click
import httpx
import uvicorn
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import TerminationSignal
from prefect.flows import load_flow_from_entrypoint
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.on_registration import SECRET, receiving
from flows.strict_forms import listed_deployments, refuse_unknown_names
from registry_audit.cli import boundary
from registry_audit.errors import CouldNotVerify

_HEARTBEAT = ("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")  # seconds; the automation for lost runs waits for 90


@click.command("serve", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--limit", type=click.IntRange(min=1), default=4, show_default=True, help="Maximum number of runs at once."
)
@receiving
def command(limit: int, server: Callable[[], uvicorn.Server], has_secret: bool) -> None:
    """Serve every deployment of prefect.yaml from this process: scheduled and requested runs, audits on registration.

    Audits on registration need REGISTRY_AUDIT_WEBHOOK_SECRET or --secret-block. Schedules are paused while this command
    does not run.
    """
    os.environ.setdefault(*_HEARTBEAT)
    # Each run is a separate process, which must not inherit the secret of the webhooks.
    if has_secret:
        threading.Thread(target=server().run, daemon=True, name="receiver").start()
        os.environ.pop(SECRET, None)
    try:
        _serve(limit)
    except httpx.HTTPError as error:
        raise CouldNotVerify(f"the Prefect server cannot be reached: {type(error).__name__}") from error


def _serve(limit: int) -> None:
    """Do what `prefect.serve` does, and make the server refuse unknown parameters."""
    runner = Runner(limit=limit)
    with get_client(sync_client=True) as client:
        for deployment in deployments():
            added: Any = runner.add_deployment(deployment)
            refuse_unknown_names(client, added)
    with suppress(KeyboardInterrupt, TerminationSignal):  # the usual ways to stop it
        asyncio.run(runner.start())


def deployments() -> Iterator[RunnerDeployment]:
    """Yield the deployments of prefect.yaml, without its work pool."""
    for given in listed_deployments():
        flow: Flow[..., Any] = load_flow_from_entrypoint(given["entrypoint"], use_placeholder_flow=False)
        made: Any = flow.to_deployment(
            given["name"],
            description=given["description"],
            tags=given["tags"],
            parameters=given.get("parameters"),
            schedules=[Cron(s["cron"], timezone=s["timezone"], slug=s["slug"]) for s in given.get("schedules", ())],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        click.echo(f"serving {flow.name}/{given['name']}", err=True)
        yield made


if __name__ == "__main__":
    sys.exit(boundary.run(command, "python -m flows.serve"))
