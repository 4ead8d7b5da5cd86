"""`accept-baseline` on a real Prefect server: nothing is accepted that nobody approved, and nothing that moved."""

import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow, get_client
from prefect.flow_engine import run_flow as run_retried
from support import damage
from support.processes import wait_until
from support.registry import Registered, Registry

from flows.accept_baseline import APPROVAL_KEY, ARTIFACT_KEY, accept_baseline
from flows.audit_registry import audit_registry
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.entry_bodies import RegistryNamed

from .conftest import (
    SECONDS,
    Approver,
    FlowRun,
    PrefectServer,
    Program,
    RunFlow,
    paused_run,
    processes_of,
    resume,
    worker_of,
)
from .test_submit import Terminal

COMPLETED, FINDINGS, REFUSED = ("COMPLETED", "Completed"), ("FAILED", "Findings"), ("FAILED", "Refused")


def _audit(run_flow: RunFlow, registry: Registry, version: Registered, ledger: str, **more: object) -> FlowRun:
    return run_flow(audit_registry, models=[version.name], tracking_uri=registry.server.uri, ledger=ledger, **more)


def _overwrite(registry: Registry, version: Registered, how: damage.Damage = damage.flip_byte) -> None:
    with registry.server.artifacts.edit(version.reg_location) as directory:
        how(directory)


@pytest.fixture
def overwritten(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> tuple[Registered, dict[str, Any]]:
    """A version that was audited after an overwrite, and the request to accept it."""
    version, ledger = registry.add(), f"sqlite:///{tmp_path / 'ledger.db'}"
    assert _audit(run_flow, registry, version, ledger, accept_new=True).ended_as == COMPLETED
    _overwrite(registry, version)
    assert _audit(run_flow, registry, version, ledger).ended_as == FINDINGS
    at = {"tracking_uri": registry.server.uri, "ledger": ledger}
    return version, {"versions": [f"{version.name}/1"], "reason": "retrained", "by": "alice", **at}


@pytest.fixture
def move_and_approve(
    run_flow: RunFlow, approved_run: Approver, registry: Registry, overwritten: tuple[Registered, dict[str, Any]]
) -> Callable[[str], None]:
    """Approves a run whose bytes were changed and audited anew while it waited."""
    version, accept = overwritten

    def answer(run_id: str) -> None:
        _overwrite(registry, version, damage.change_nested_file)
        assert _audit(run_flow, registry, version, accept["ledger"]).ended_as == FINDINGS
        approved_run.approve(run_id)

    return answer


def test_a_dry_run_accepts_nothing_and_an_approval_does(
    run_flow: RunFlow,
    approved_run: Approver,
    registry: Registry,
    overwritten: tuple[Registered, dict[str, Any]],
    program: Program,
) -> None:
    version, accept = overwritten
    dry = run_flow(accept_baseline, **accept)
    assert dry.ended_as == COMPLETED
    assert "would accept 1 version" in dry.artifacts[ARTIFACT_KEY]["data"]
    assert _audit(run_flow, registry, version, accept["ledger"]).ended_as == FINDINGS

    run = approved_run(accept_baseline, **accept, dry_run=False)
    assert run.ended_as == COMPLETED
    assert run.record["state"]["message"] == "accepted 1 version, as bob approved"
    shown = run.artifacts[APPROVAL_KEY]["data"]
    assert f"{version.name}/1: " in shown.replace("\\", "")
    assert " bytes sha256:" in shown
    assert _audit(run_flow, registry, version, accept["ledger"]).ended_as == COMPLETED
    history = program(
        *("-m", "registry_audit", "baseline", "history", f"{version.name}/1"),
        *("--ledger", accept["ledger"], "--tracking-uri", registry.server.uri),
    )
    assert "bob: looked at it (asked for by alice: retrained)" in history.stdout


def test_what_moved_after_the_audit_or_while_it_waited_is_refused(
    run_flow: RunFlow,
    approved_run: Approver,
    registry: Registry,
    overwritten: tuple[Registered, dict[str, Any]],
    move_and_approve: Callable[[str], None],
) -> None:
    version, accept = overwritten
    moved = approved_run(accept_baseline, move_and_approve, **accept, dry_run=False)
    assert moved.ended_as == FINDINGS
    assert "is not what was approved any more: nothing was accepted" in moved.record["state"]["message"]

    _overwrite(registry, version)
    again = run_flow(accept_baseline, **accept, dry_run=False)
    assert again.ended_as == FINDINGS
    assert "audit it again" in again.record["state"]["message"]


def test_an_approval_needs_a_name_and_a_reason_and_may_leave_versions_out(
    prefect_server: PrefectServer, approved_run: Approver, overwritten: tuple[Registered, dict[str, Any]]
) -> None:
    _, accept = overwritten
    said: list[str] = []

    def answer(run_id: str) -> None:
        for given in ({"name": "bob"}, {"reason": "r"}, {"name": " ", "reason": "r"}, {"name": "bob", "reason": ""}):
            said.append(resume(prefect_server, run_id, **given))
        said.append(resume(prefect_server, run_id, name="bob", reason="none of them", versions=[]))

    run = approved_run(accept_baseline, answer, **accept, dry_run=False)
    assert said == [*["REJECT"] * 4, "ACCEPT"]
    assert run.ended_as == REFUSED
    assert "no version was approved" in run.record["state"]["message"]


def test_nobody_approves(
    run_flow: RunFlow, overwritten: tuple[Registered, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.accept_baseline._HOUR_SECONDS", 1)
    monkeypatch.setattr("flows.accept_baseline._LOOK_EVERY_SECONDS", 0.1)  # before the server looks for expired pauses
    run = run_flow(accept_baseline, **overwritten[1], dry_run=False)
    assert run.ended_as == REFUSED
    assert "nobody approved it within 1 hour: nothing was accepted" in run.record["state"]["message"]


def test_a_run_that_ended_can_be_retried_and_asks_anew(
    approved_run: Approver, overwritten: tuple[Registered, dict[str, Any]], move_and_approve: Callable[[str], None]
) -> None:
    _, accept = overwritten
    first = approved_run(accept_baseline, move_and_approve, **accept, dry_run=False)
    assert first.ended_as == FINDINGS  # its bytes moved; the answer to its form is kept by Prefect
    with get_client(sync_client=True) as client:
        again = client.read_flow_run(UUID(first.id))

    def retried(flow: Flow[..., Any], **parameters: Any) -> FlowRun:
        """What the engine does with a run that *Retry* was pressed for."""
        state = run_retried(flow, flow_run=again, parameters=parameters, return_type="state")
        return FlowRun(first.server, first.id, state)

    second = Approver(retried, first.server)(accept_baseline, **accept, dry_run=False)
    assert (second.id, second.ended_as) == (first.id, COMPLETED), second.record["state"]


def test_only_a_run_of_a_deployment_can_be_suspended(
    run_flow: RunFlow, overwritten: tuple[Registered, dict[str, Any]]
) -> None:
    run = run_flow(accept_baseline, **overwritten[1], dry_run=False, suspend=True)
    assert run.ended_as == REFUSED
    assert "the run cannot wait for an approval" in run.record["state"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("deployment", [(), ("--deployment", "for-hours")])
def test_submit_says_that_it_waits_and_how_to_approve(
    deployed: PrefectServer,
    program: Program,
    overwritten: tuple[Registered, dict[str, Any]],
    tmp_path: Path,
    deployment: tuple[str, ...],
) -> None:
    version, accept = overwritten
    terminal = Terminal(tmp_path, deployed.environment)
    command = ("baseline", "accept", "--submit", f"{version.name}/1", "--reason", "retrained", *deployment)
    at = ("--tracking-uri", accept["tracking_uri"], "--ledger", accept["ledger"])
    said = tmp_path / "stderr"
    with worker_of(program, tmp_path / "log", PREFECT_WORKER_QUERY_SECONDS="1"), said.open("wb") as stderr:
        follower = subprocess.Popen(
            terminal.command(*command, *at),
            cwd=terminal.directory,
            env=terminal.environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        run_id = paused_run(deployed)
        waits = f"it waits for an approval: open {deployed.ui_url}/runs/flow-run/{run_id}, press Resume"
        wait_until(lambda: waits in said.read_text(), timeout_seconds=SECONDS, what="it does not say that it waits")
        if deployment:
            wait_until(lambda: not processes_of(run_id), timeout_seconds=SECONDS, what="its process stays")
        assert resume(deployed, run_id, name="bob", reason="looked at it") == "ACCEPT"
        stdout, _ = follower.communicate(timeout=240)
    assert (follower.returncode, "Traceback" in said.read_text()) == (0, False), said.read_text()
    assert b"accepted 1 version, as bob approved" in stdout
    asked = "asks to accept 1 version\\: retrained"  # the run's own Markdown, escaped once
    assert [line for line in said.read_text().splitlines() if line.startswith("## ") and line.endswith(asked)]


def test_no_ledger_and_no_version(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    uri = registry.server.uri
    none = run_flow(accept_baseline, versions=["x/1"], reason="r", by="me", tracking_uri=uri, ledger="none")
    assert none.ended_as == REFUSED
    missing = f"sqlite:///{tmp_path / 'no.db'}"
    gone = run_flow(accept_baseline, versions=["x/1"], reason="r", by="me", tracking_uri=uri, ledger=missing)
    assert gone.ended_as == ("FAILED", "Ledger")
    for nameless in ({"reason": "r", "by": " "}, {"reason": " ", "by": "me"}):
        refused = run_flow(accept_baseline, versions=["x/1"], tracking_uri=uri, ledger=_started(tmp_path), **nameless)
        assert refused.ended_as == REFUSED


def _started(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'started.db'}"
    with closing(open_ledger(url, create=True)) as ledger:
        ledger.append([RegistryNamed(address=None, name=None).draft("http://somewhere")])
    return url
