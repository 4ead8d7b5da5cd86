"""deployments/automations.yaml on a real Prefect server: what a person is told, and what not."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from support.listening import Listener, listener
from support.processes import wait_until
from support.registry import Registry
from support.servers import sqlite_store

from deployments import install_automations
from flows.audit_registry import audit_registry

from .conftest import PrefectServer, Program, RunFlow

pytestmark = pytest.mark.slow

INSTALL = "deployments/install_automations.py"
SECRET_PATH = "b0b-path-that-stays-secret"


@pytest.fixture(scope="module")
def sink() -> Iterator[Listener]:
    with listener() as found:
        yield found


@pytest.fixture(scope="module")
def installed(prefect_server: PrefectServer, sink: Listener) -> Iterator[Program]:
    program = Program(prefect_server.environment | {"REGISTRY_AUDIT_ALERTS_URL": sink.url + SECRET_PATH})
    done = program(INSTALL)
    assert done.exit_status == 0, done.stderr
    assert done.stdout.count("created") == 3
    yield program
    for automation in _automations(prefect_server):
        prefect_server.delete(f"automations/{automation['id']}")


def _automations(server: PrefectServer) -> list[dict[str, Any]]:
    return [known for known in server.post("automations/filter") if known["name"].startswith("Registry audit")]


def _wait_for(sink: Listener, text: str) -> str:
    """The one message with the text in it."""

    def messages() -> list[str]:
        return [body for body in list(sink.bodies) if text in body]

    wait_until(lambda: bool(messages()), timeout_seconds=60, what=f"nobody was told of {text}: {sink.bodies}")
    (message,) = messages()
    return str(json.loads(message)["text"])


def test_installing_again_changes_nothing(prefect_server: PrefectServer, installed: Program) -> None:
    before = _automations(prefect_server)
    assert len(before) == 3
    again = installed(INSTALL)
    assert again.stdout.count("unchanged") == 3, again.stdout
    assert sorted(_automations(prefect_server), key=str) == sorted(before, key=str)


def test_other_days_are_an_update_and_what_was_switched_off_stays_so(
    prefect_server: PrefectServer, installed: Program
) -> None:
    (waiting,) = [known for known in _automations(prefect_server) if known["name"] == "Registry audit: no full audit"]
    route = f"automations/{waiting['id']}"
    prefect_server.patch(route, enabled=False)
    assert "updated Registry audit: no full audit" in installed(INSTALL, "--days", "15").stdout
    changed = prefect_server.get(route)
    assert changed["enabled"] is False
    assert [trigger["within"] for trigger in changed["trigger"]["triggers"]] == [15 * 86_400] * 2
    assert "15 days" in changed["actions"][0]["subject"]
    prefect_server.patch(route, enabled=True)


def test_the_url_is_kept_as_a_secret(prefect_server: PrefectServer, installed: Program) -> None:
    assert prefect_server.files_with(SECRET_PATH) == []


def test_new_findings_and_incomplete_audits_are_told_known_findings_are_not(
    run_flow: RunFlow, registry: Registry, installed: Program, sink: Listener, tmp_path: Path
) -> None:
    version = registry.add(registry.new_name("<!channel> model"))
    asked: dict[str, Any] = {
        "tracking_uri": registry.server.uri,
        "models": [f"*{version.name[-8:]}"],
        "ledger": f"sqlite:///{tmp_path / 'ledger.db'}",
    }
    run_flow(audit_registry, **asked, accept_new=True)
    registry.client.delete_run(version.run_id)
    run_flow(audit_registry, **asked)
    told = _wait_for(sink, version.name[-8:])
    assert told.startswith(f"Registry audit: 1 new findings in {registry.server.uri}")
    assert "high RA004" in told
    assert "&lt;!channel>" in told

    run_flow(audit_registry, **asked)  # known by now
    nothing_listens = "http://127.0.0.1:2"
    run_flow(audit_registry, tracking_uri=nothing_listens, ledger="none")
    assert "ended as Incomplete: could not reach the tracking server" in _wait_for(sink, nothing_listens)
    assert len([body for body in sink.bodies if version.name[-8:] in body]) == 1


def test_absence_of_a_full_audit_is_told(
    prefect_server: PrefectServer, run_flow: RunFlow, sink: Listener, installed: Program, tmp_path: Path
) -> None:
    """With the product's own triggers, under another name and in seconds instead of days."""
    registry = Registry(sqlite_store(tmp_path))
    registry.add()
    with get_client(sync_client=True) as client:
        block = client.read_block_document_by_name(install_automations.OWN_BLOCK, "custom-webhook")
        product = list(install_automations.automations(block.id, timedelta(seconds=10)))[-1]
        found = product.model_copy(update={"name": "Registry audit: no full audit, in a hurry"})
        assert isinstance(found, AutomationCore)
        in_a_hurry = client.create_automation(found)
    try:
        # None of any registry, then none of this one.
        wait_until(lambda: any("(any registry)" in body for body in sink.bodies), timeout_seconds=60, what="not told")
        for subset in ("1/1", None):  # the first is not full by its options, though it audits everything
            run_flow(audit_registry, tracking_uri=registry.server.uri, ledger="none", subset=subset)
        assert registry.server.uri in _wait_for(sink, f"({registry.server.uri})")
    finally:
        prefect_server.delete(f"automations/{in_a_hurry}")  # the other tests count those of the product
