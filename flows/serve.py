"""Every deployment of prefect.yaml in one process, without a work pool, for a team of one machine.

`python -m flows.serve`, in the checkout, with the environment of a worker.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import uvicorn
import yaml
from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.on_registration import SECRET, receiving
from registry_audit.cli import boundary
from registry_audit.errors import CouldNotVerify

PROJECT = Path(__file__).parents[1] / "prefect.yaml"
_HEARTBEAT = ("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")  # the automation of lost runs waits for 90


@click.command("serve", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--limit", type=click.IntRange(min=1), default=4, show_default=True, help="Most runs at once.")
@receiving
def command(limit: int, server: Callable[[], uvicorn.Server], has_secret: bool) -> None:
    """Serve the nightly and the weekly audit, what is asked for, and audits on registration, from this process.

    Audits on registration only where REGISTRY_AUDIT_WEBHOOK_SECRET is set, or --secret-block given. Schedules are
    paused while nothing serves them.
    """
    os.environ.setdefault(*_HEARTBEAT)
    # Each run is a process of its own: what signs the webhooks is none of its business.
    if has_secret:
        threading.Thread(target=server().run, daemon=True, name="receiver").start()
        os.environ.pop(SECRET, None)
    try:
        serve(*deployments(), limit=limit, print_starting_message=False)
    except httpx.HTTPError as error:
        raise CouldNotVerify(f"the Prefect server cannot be reached: {type(error).__name__}") from error


def deployments() -> Iterator[RunnerDeployment]:
    """Those of prefect.yaml, without its work pool."""
    for given in yaml.safe_load(PROJECT.read_text(encoding="utf-8"))["deployments"]:
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
