"""Installs automations.yaml on the Prefect server of the environment; brings up to date what is there."""

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import httpx
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.types import SecretDict

from registry_audit.cli import boundary
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact

AUTOMATIONS = Path(__file__).with_name("automations.yaml")
ALERTS_URL = "REGISTRY_AUDIT_ALERTS_URL"
OWN_BLOCK = "registry-audit-alerts"
DEFAULT_DAYS = 8  # a weekly audit, and a day for it to run late


@click.command("install_automations", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--block",
    metavar="TYPE/NAME",
    help="A notification block of the Prefect server, e.g. slack-webhook/ml-platform. "
    f"By default a block for {ALERTS_URL} is made.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=DEFAULT_DAYS,
    show_default=True,
    help="Days without a full audit, after which a message is sent.",
)
def command(block: str | None, days: int) -> None:
    """Install the automations: messages about new findings, incomplete audits and missing full audits; and runs whose
    machine died are marked as Crashed.

    Set REGISTRY_AUDIT_ALERTS_URL to the incoming webhook of Slack, Mattermost or Google Chat: each message is posted
    there as a JSON object with the key "text". The URL is a secret, so there is no option for it.
    """
    if not PREFECT_API_URL.value():
        raise UsageError("which Prefect server? Set PREFECT_API_URL, e.g. http://127.0.0.1:4200/api")
    try:
        with get_client(sync_client=True) as client:
            block_id = _block_id(client, block) if block else _own_block_id()
            for automation in automations(block_id, timedelta(days=days)):
                click.echo(f"{install(client, automation)} {automation.name}")
    except PrefectHTTPStatusError as error:
        raise UsageError(f"the Prefect server refuses: {printable(error.response.text)[:300]}") from error
    except (httpx.HTTPError, RuntimeError) as error:
        server = redact(PREFECT_API_URL.value())
        raise CouldNotVerify(f"the Prefect server {server} cannot be reached: {printable(str(error))[:300]}") from error


def automations(block_id: UUID, within: timedelta) -> Iterator[AutomationCore]:
    for given in yaml.safe_load(AUTOMATIONS.read_text(encoding="utf-8")):
        for trigger in given["trigger"].get("triggers", ()):
            trigger["within"] = within.total_seconds()
        for action in given["actions"]:
            if action["type"] == "send-notification":
                action["block_document_id"] = str(block_id)
                action |= {part: action[part].replace("{days}", f"{within.days}") for part in ("subject", "body")}
        yield AutomationCore.model_validate(given)


def install(client: SyncPrefectClient, automation: AutomationCore) -> str:
    """Make the automation, or bring the one of its name up to date; a second one of the name goes.

    One that is the same already is left alone: an update would set back the clock of what waits for an absence.
    """
    found = client.read_automations_by_name(automation.name)
    if not found:
        client.create_automation(automation)
        return "created"
    first, *others = sorted(found, key=lambda known: str(known.id))
    for other in others:
        client.delete_automation(other.id)
    wanted = automation.model_copy(update={"enabled": first.enabled})
    if AutomationCore.model_validate(first.model_dump()).model_dump() == wanted.model_dump():
        return "unchanged"
    client.update_automation(first.id, wanted)
    return "updated"


def _block_id(client: SyncPrefectClient, block: str) -> UUID:
    kind, _, name = block.partition("/")
    try:
        found: Any = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound as error:
        raise UsageError(
            f"there is no block '{printable(block)}': `prefect block ls` lists them, as TYPE/NAME"
        ) from error
    if "notify" not in found.block_schema.capabilities:
        raise UsageError(f"the block '{printable(block)}' cannot notify: `prefect block type ls` lists types that can")
    return UUID(str(found.id))


def _own_block_id() -> UUID:
    url = os.environ.get(ALERTS_URL)
    if not url:
        raise UsageError(f"who is told? Set {ALERTS_URL}, or name a notification block with --block TYPE/NAME")
    block = CustomWebhookNotificationBlock(
        name=OWN_BLOCK,
        url="{{url}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"url": url}),
    )
    return UUID(str(block.save(OWN_BLOCK, overwrite=True)))


if __name__ == "__main__":
    sys.exit(boundary.run(command, "install_automations"))
