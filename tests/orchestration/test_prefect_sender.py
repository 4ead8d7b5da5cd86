"""What a run shows in Prefect, where the server hangs, refuses or breaks off: the work does not wait for it."""

import threading
from pathlib import Path
from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from support import faults
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.registry import Registry

from flows import final_state
from flows.audit_registry import audit_registry
from tasks import prefect_sender
from tasks.listeners import Listeners, listening

from .conftest import FlowRun, PrefectServer, RunFlow
from .test_events import events_of

ARTIFACTS = "/api/artifacts/"


def _audit(run_flow: RunFlow, registry: Registry, proxy: FaultyProxy, name: str, **more: object) -> FlowRun:
    with temporary_settings({PREFECT_API_URL: f"{proxy.uri}/api"}):
        return run_flow(
            audit_registry, models=[name], tracking_uri=registry.server.uri, ledger="none", audit_id="mine", **more
        )


def test_a_server_that_hangs_holds_no_audit(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry
) -> None:
    """The artifacts hang until the audit has made its report: it would never come if it waited for them."""
    name, reported = registry.new_name(), threading.Event()
    for seed in range(3):
        registry.add(name, seed=seed, separate=True)
    with faulty_proxy(prefect_server.api_url) as proxy:
        hanging = proxy.fault(faults.slow(release=reported), path=ARTIFACTS)
        with listening("mine", Listeners(reported=lambda document: reported.set())):
            run = _audit(run_flow, registry, proxy, name, batch_size=1)
    assert hanging.hits > 0
    assert run.ended_as == ("COMPLETED", "Completed")
    assert {"registry-audit-summary", "registry-audit-findings"} <= set(run.artifacts)
    assert run.artifacts["registry-audit-progress"]["data"] == 100.0


@pytest.mark.parametrize("fault", [faults.reset(), faults.status(503), faults.status(500)])
def test_what_failed_because_the_server_was_away_is_sent_again(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry, fault: faults.Fault
) -> None:
    version = registry.add(separate=True)
    with faulty_proxy(prefect_server.api_url) as proxy:
        away = proxy.fault(fault, path=ARTIFACTS, times=3)
        run = _audit(run_flow, registry, proxy, version.name)
    assert away.hits == 3
    assert run.ended_as == ("COMPLETED", "Completed")
    assert {f"registry-audit-{what}" for what in ("summary", "findings", "progress")} == set(run.artifacts)


def test_the_end_of_a_run_waits_for_a_server_no_longer_than_its_bound(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_sender.wait_for_arrival, "__defaults__", (0.5,))
    monkeypatch.setattr(prefect_sender, "LAST_SECONDS", 0.5)
    version = registry.add(separate=True)
    with faulty_proxy(prefect_server.api_url) as proxy:
        proxy.fault(faults.reset(), path=ARTIFACTS)
        run = _audit(run_flow, registry, proxy, version.name)
    assert run.ended_as == ("COMPLETED", "Completed")
    assert "the Prefect server is away: what this run found may not be on its page" in run.log
    assert run.artifacts == {}


def test_what_did_not_arrive_in_time_arrives_once_the_state_did(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_sender.wait_for_arrival, "__defaults__", (0.5,))
    version = registry.add(separate=True)
    with faulty_proxy(prefect_server.api_url) as proxy:
        proxy.fault(faults.reset(), path=ARTIFACTS)
        wait = final_state.wait_once_more

        def wait_with_a_server(run_id: UUID) -> None:
            proxy.clear()
            wait(run_id)

        monkeypatch.setattr(final_state, "wait_once_more", wait_with_a_server)
        run = _audit(run_flow, registry, proxy, version.name)
    assert "the Prefect server is away: what this run found may not be on its page" in run.log
    assert {f"registry-audit-{what}" for what in ("summary", "findings", "progress")} == set(run.artifacts)


def test_what_could_not_be_told_is_told_by_the_next_audit(
    prefect_server: PrefectServer,
    run_flow: RunFlow,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert prefect_sender.is_there()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:2/api"}):
        assert not prefect_sender.is_there()
    version, ledger = registry.add(), f"sqlite:///{tmp_path / 'ledger.db'}"
    asked = {"models": [version.name], "tracking_uri": registry.server.uri, "ledger": ledger}
    run_flow(audit_registry, **asked, accept_new=True)
    registry.client.delete_run(version.run_id)
    with monkeypatch.context() as away:
        away.setattr("tasks.report.is_there", lambda: False)
        assert run_flow(audit_registry, **asked).ended_as == ("FAILED", "Findings")
    audit, found = events_of(run_flow(audit_registry, **asked), 2)
    assert audit["resource"]["registry-audit.new-findings"] == "yes"
    assert "not told before" in audit["payload"]["worst"][0]
    assert found["payload"]["rule"] == "RA004"
