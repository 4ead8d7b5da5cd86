"""deployments/automations.yaml on a real Prefect server: what a person is told, and what not."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.schemas.automations import AutomationCore
from support import faults
from support.faulty_proxy import DOWNLOADS, FaultyProxy
from support.listening import Listener, listener
from support.processes import wait_until
from support.registry import Registry
from support.servers import MlflowServer, sqlite_store

from deployments import install_automations
from flows.audit_registry import audit_registry

from .conftest import Ended, FlowRun, PrefectServer, Program, RunFlow, processes_of, worker_of
from .test_submit import INCOMPLETE, Terminal

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
    assert done.stdout.count("created") == 5
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
    assert len(before) == 5
    again = installed(INSTALL)
    assert again.stdout.count("unchanged") == 5, again.stdout
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
    installed(INSTALL)


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
    assert told.startswith(f"Registry audit: 1 new finding in {registry.server.uri}")
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
        product = list(install_automations.automations(block.id, timedelta(seconds=10)))[2]
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


@pytest.mark.parametrize(
    ("name", "states", "end"),
    [
        ("runs that never began", ("PENDING",), ("CRASHED", "Crashed")),
        ("runs that never began", ("PENDING", "RUNNING"), ("RUNNING", "Running")),
        ("runs that never began", ("PENDING", "RUNNING", "SCHEDULED", "PENDING"), ("CRASHED", "Crashed")),
        # Its process lives and sends heartbeats.
        ("lost runs", ("RUNNING", "heartbeat", "PAUSED"), ("CRASHED", "Crashed")),
        ("lost runs", ("RUNNING", "heartbeat", "SUSPENDED"), ("PAUSED", "Suspended")),
    ],
)
def test_no_run_stays_in_a_state_for_ever(
    deployed: PrefectServer,
    installed: Program,
    sink: Listener,
    name: str,
    states: tuple[str, ...],
    end: tuple[str, str],
) -> None:
    """With the product's own triggers, under another name and in seconds instead of minutes."""
    found = deployed.deployment("compare-registries/ad-hoc")
    sides = {"source": {"host": "http://127.0.0.1:2"}, "target": {"host": "http://127.0.0.1:3"}}
    route = f"deployments/{found['id']}/create_flow_run"
    run = FlowRun(deployed, deployed.post(route, parameters=sides)["id"])  # nobody takes it: there is no worker
    with get_client(sync_client=True) as client:
        block = client.read_block_document_by_name(install_automations.OWN_BLOCK, "custom-webhook")
        every = install_automations.automations(block.id, timedelta(days=8))
        (product,) = [one for one in every if one.name == f"Registry audit: {name}"]
        trigger: Any = product.trigger
        in_a_hurry = client.create_automation(
            product.model_copy(
                update={
                    "name": f"Registry audit: {name}, in a hurry",
                    "trigger": trigger.model_copy(update={"within": timedelta(seconds=12)}),
                }
            )
        )
    try:
        for state in states:
            if state == "heartbeat":
                _send_heartbeat(run, found)
            elif state == "SUSPENDED":
                deployed.post(f"flow_runs/{run.id}/set_state", state={"type": "PAUSED", "name": "Suspended"})
            else:
                deployed.post(f"flow_runs/{run.id}/set_state", state={"type": state}, force=True)
            time.sleep(1)
        if end[0] == states[-1] or end[1] == "Suspended":
            time.sleep(25)
        else:
            wait_until(lambda: run.ended_as == end, timeout_seconds=60, what=f"it stays {states[-1]}")
        assert run.ended_as == end
        if end[0] == "CRASHED":
            assert f"{run.record['name']} ended as Crashed: its process" in _wait_for(sink, run.id)
    finally:
        deployed.delete(f"automations/{in_a_hurry}")
        deployed.delete(f"flow_runs/{run.id}")


def _send_heartbeat(run: FlowRun, deployment: dict[str, Any]) -> None:
    """As the process of the run would."""
    of_flow = {"prefect.resource.id": f"prefect.flow.{deployment['flow_id']}", "prefect.resource.role": "flow"}
    emit_event(
        "prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        related=[of_flow | {"prefect.resource.name": "compare-registries"}],
    )


def test_a_run_whose_machine_died_is_crashed_told_and_followed_no_longer(
    deployed: PrefectServer,
    installed: Program,
    sink: Listener,
    mlflow_a: MlflowServer,
    proxy_a: FaultyProxy,
    program: Program,
    tmp_path: Path,
) -> None:
    version, never = Registry(mlflow_a).add(), threading.Event()
    hanging = proxy_a.fault(faults.slow(release=never), path=DOWNLOADS)
    terminal, ended = Terminal(tmp_path, deployed.environment), list[Ended]()
    running = {"flow_runs": {"state": {"name": {"any_": ["Running"]}}}}
    others = {run["id"] for run in deployed.post("flow_runs/filter", **running)}  # of tests that killed theirs
    audit = ("audit", "--submit", "--model", version.name, "--tracking-uri", proxy_a.uri, "--ledger", "none")
    follower = threading.Thread(target=lambda: ended.append(terminal(*audit, seconds=240)))
    with worker_of(program, tmp_path / "log", PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as worker:
        follower.start()
        wait_until(lambda: hanging.hits > 0, timeout_seconds=120, what="no download began")
        (run,) = [run for run in deployed.post("flow_runs/filter", **running) if run["id"] not in others]
        worker.kill()
        for process in processes_of(run["id"]):
            process.kill()
        killed = time.monotonic()
    never.set()
    follower.join(timeout=240)
    assert time.monotonic() - killed < 130
    assert FlowRun(deployed, run["id"]).ended_as == ("CRASHED", "Crashed")
    assert ended[0].exit_status == INCOMPLETE
    assert "sends no heartbeats any more" in ended[0].stderr
    told = _wait_for(sink, run["id"])
    assert f"{run['name']} ended as Crashed" in told
    assert told.endswith(f"{deployed.ui_url}/runs/flow-run/{run['id']}")
