"""Events of an audit on a real Prefect server: what automations and people are told."""

import re
from pathlib import Path
from typing import Any

import pytest
from support import damage
from support.processes import wait_until
from support.registry import Registered, Registry

from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version
from tasks import events as product_events

from .conftest import FlowRun, RunFlow

AUDIT, NEW, FOUND, RESOLVED, MORE = (
    f"registry-audit.{name}"
    for name in ("audit.finished", "finding.new", "finding.found", "finding.resolved", "findings.more")
)


def _damage(registry: Registry, version: Registered) -> None:
    with registry.server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)


def events_of(run: FlowRun, expected: int) -> list[dict[str, Any]]:
    """Once there are as many as expected; Prefect stores them with a delay."""
    mine = {"event": {"prefix": ["registry-audit."]}, "related": {"id": [f"prefect.flow-run.{run.id}"]}}
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = run.server.post("events/filter", filter=mine, limit=50)["events"]
        return len(found) >= expected

    wait_until(are_there, timeout_seconds=30, what=f"{expected} events are not there")
    assert len(found) == expected
    return sorted(found, key=lambda event: (event["event"] != AUDIT, event["event"]))


def _audit(run_flow: RunFlow, registry: Registry, name: str, ledger: str, **more: Any) -> FlowRun:
    return run_flow(audit_registry, tracking_uri=registry.server.uri, models=[name], ledger=ledger, **more)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def test_a_clean_audit_is_one_event(run_flow: RunFlow, registry: Registry, ledger: str) -> None:
    run = _audit(run_flow, registry, registry.add().name, ledger, accept_new=True)
    (audit,) = events_of(run, 1)
    assert audit["event"] == AUDIT
    labels = {key: value for key, value in audit["resource"].items() if key.startswith("registry-audit.")}
    assert labels.pop("registry-audit.registry") == registry.server.uri
    assert labels == {
        "registry-audit.outcome": "clean",
        "registry-audit.full": "no",  # of one model only
        "registry-audit.new-findings": "no",
        "registry-audit.unverifiable": "no",
    }
    payload = audit["payload"]
    assert payload["coverage"]["audited"] == 1
    assert payload["audit_id"] == run.id
    assert re.fullmatch("[0-9a-f]{64}", payload["ledger_head"])
    roles = {related["prefect.resource.role"] for related in audit["related"]}
    assert {"audit", "flow-run", "flow"} <= roles


def test_new_known_and_resolved(run_flow: RunFlow, registry: Registry, ledger: str) -> None:
    version = registry.add()
    _audit(run_flow, registry, version.name, ledger, accept_new=True)
    registry.client.delete_run(version.run_id)

    audit, found = events_of(_audit(run_flow, registry, version.name, ledger), 2)
    assert audit["resource"]["registry-audit.new-findings"] == "yes"
    assert found["event"] == NEW
    assert found["resource"]["prefect.resource.name"] == f"{version.name}/1"
    assert found["resource"]["prefect.resource.id"].endswith(f".{version.name}/1")
    assert found["resource"]["registry-audit.rule"] == "RA004"
    assert found["payload"]["severity"] == found["resource"]["registry-audit.severity"] == "high"
    assert audit["payload"]["worst"] == [f"high RA004 {version.name}/1: {found['payload']['message']}"]

    (audit,) = events_of(_audit(run_flow, registry, version.name, ledger), 1)
    assert audit["resource"]["registry-audit.new-findings"] == "no"
    assert audit["payload"]["changes"]["known"] == 1

    registry.client.restore_run(version.run_id)
    audit, gone = events_of(_audit(run_flow, registry, version.name, ledger), 2)
    assert audit["resource"]["registry-audit.outcome"] == "clean"
    assert (gone["event"], gone["payload"]["rule"]) == (RESOLVED, "RA004")
    assert gone["resource"]["prefect.resource.id"] == found["resource"]["prefect.resource.id"]


def test_what_a_check_saw_first_is_new_to_whom_audits_tell(run_flow: RunFlow, registry: Registry, ledger: str) -> None:
    version = registry.add()
    _audit(run_flow, registry, version.name, ledger, accept_new=True)
    registry.client.delete_run(version.run_id)
    asked = {"tracking_uri": registry.server.uri, "model": version.name, "version_or_stage": "1", "ledger": ledger}
    assert run_flow(check_model_version, **asked).ended_as == ("FAILED", "Findings")

    audit, found = events_of(_audit(run_flow, registry, version.name, ledger), 2)
    assert audit["resource"]["registry-audit.new-findings"] == "yes"
    assert audit["payload"]["headline"] == "1 new finding"
    (worst,) = audit["payload"]["worst"]
    assert worst.endswith(f"(first seen {found['payload']['first_seen']}, not told before)")
    assert (found["event"], found["payload"]["rule"]) == (NEW, "RA004")
    assert audit["payload"]["changes"]["known"] == 1, "the report says what the ledger knows"

    (audit,) = events_of(_audit(run_flow, registry, version.name, ledger), 1)
    assert audit["resource"]["registry-audit.new-findings"] == "no"


def test_what_an_audit_on_registration_told_is_known(run_flow: RunFlow, registry: Registry, ledger: str) -> None:
    version = registry.add()
    registry.client.delete_run(version.run_id)
    on_registration = {"filter": f"name = '{version.name}'", "tracking_uri": registry.server.uri, "ledger": ledger}
    audit, found = events_of(run_flow(audit_registry, **on_registration, accept_new=True), 2)
    assert (audit["resource"]["registry-audit.new-findings"], found["event"]) == ("yes", NEW)
    (audit,) = events_of(_audit(run_flow, registry, version.name, ledger), 1)
    assert audit["resource"]["registry-audit.new-findings"] == "no"


def test_without_a_ledger_nothing_is_called_new(run_flow: RunFlow, registry: Registry) -> None:
    version = registry.add(separate=True)
    _damage(registry, version)
    audit, found = events_of(_audit(run_flow, registry, version.name, "none"), 2)
    assert found["event"] == FOUND
    assert audit["resource"]["registry-audit.new-findings"] == "unknown"
    assert audit["payload"]["changes"] is None
    assert audit["payload"]["ledger_head"] is None


def test_a_hostile_name_stays_text_and_short(run_flow: RunFlow, registry: Registry) -> None:
    name = registry.new_name("password=pw-in-a-name \u202e\x1b[31m" + "n" * 210)
    version = registry.add(name, separate=True)
    _damage(registry, version)
    run = run_flow(audit_registry, tracking_uri=registry.server.uri, models=[f"*{name[-8:]}"], ledger="none")
    audit, found = events_of(run, 2)
    text = str((audit, found))
    assert "pw-in-a-name" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert len(found["resource"]["prefect.resource.id"]) < 300


def test_events_are_bounded_and_the_worst_come_first(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registry.new_name()
    versions = [registry.add(name, seed=seed, separate=True) for seed in range(4)]
    registry.client.delete_run(versions[0].run_id)  # high
    for version in versions[2:]:
        _damage(registry, version)  # critical
    monkeypatch.setattr(product_events, "FINDING_LIMIT", 2)
    audit, *found, more = events_of(_audit(run_flow, registry, name, "none"), 4)
    assert [event["payload"]["severity"] for event in found] == ["critical", "critical"]
    assert more["event"] == MORE
    assert more["payload"]["more"] == 1
    assert more["payload"]["found"] == audit["payload"]["new_or_found"] == 3


def test_events_that_cannot_be_sent_do_not_cost_the_audit(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the feed is closed")

    monkeypatch.setattr(product_events, "emit_event", refuse)
    run = _audit(run_flow, registry, registry.add(separate=True).name, "none")
    assert run.ended_as == ("COMPLETED", "Completed")
    assert "the events of the audit could not be sent: internal error: RuntimeError: the feed is closed" in run.log
