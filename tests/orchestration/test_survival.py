"""What happens to an audit in the middle of its downloads: cancelled from the UI, or its Prefect server restarted."""

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from support import faults
from support.faulty_proxy import DOWNLOADS, FaultyProxy
from support.processes import free_port, wait_until
from support.registry import Registry
from support.servers import MlflowServer

from .conftest import FlowRun, PrefectServer, Program, own_server, processes_of, worker_of

pytestmark = pytest.mark.slow

_SECONDS = 30  # the flow's process is told at once; Prefect's own states take the rest


def test_cancelling_stops_the_downloads(
    deployed: PrefectServer, program: Program, mlflow_a: MlflowServer, proxy_a: FaultyProxy, tmp_path: Path
) -> None:
    version = Registry(mlflow_a).add()
    never = threading.Event()
    hanging = proxy_a.fault(faults.slow(release=never), path=DOWNLOADS)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    settings = {"TMPDIR": str(scratch), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with worker_of(program, tmp_path / "worker.log", **settings):
        found = deployed.deployment("audit-registry/ad-hoc")
        report = tmp_path / "report"
        parameters = {"models": [version.name], "tracking_uri": proxy_a.uri, "ledger": "none"}
        parameters["report_dir"] = str(report)
        run = FlowRun(
            deployed, deployed.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"]
        )
        wait_until(lambda: hanging.hits > 0, timeout_seconds=120, what="no download began")
        deployed.post(f"flow_runs/{run.id}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        wait_until(lambda: run.ended_as[0] == "CANCELLED", timeout_seconds=_SECONDS, what="it is not cancelled")
        wait_until(lambda: not processes_of(run.id), timeout_seconds=_SECONDS, what="its process still runs")
        never.set()
    document = json.loads((report / "audit.json").read_text())
    assert (document["outcome"]["exit_status"], document["coverage"]["not_reached"]) == (130, 1)
    assert run.errors == []
    left = [path for path in scratch.rglob("*") if path.is_file()]
    assert left == [], "scratch files"


def test_a_comparison_that_is_cancelled_leaves_a_report(
    deployed: PrefectServer,
    program: Program,
    mlflow_a: MlflowServer,
    mlflow_b: MlflowServer,
    proxy_a: FaultyProxy,
    tmp_path: Path,
) -> None:
    version = Registry(mlflow_a).add()
    only_there = Registry(mlflow_b).add()
    never = threading.Event()
    hanging = proxy_a.fault(faults.slow(release=never), path=DOWNLOADS)
    with worker_of(program, tmp_path / "worker.log", PREFECT_WORKER_QUERY_SECONDS="1"):
        found = deployed.deployment("compare-registries/ad-hoc")
        report = tmp_path / "report"
        parameters = {"source": {"host": proxy_a.uri}, "target": {"host": mlflow_b.uri}, "report_dir": str(report)}
        parameters["models"] = [version.name, only_there.name]
        run = FlowRun(
            deployed, deployed.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"]
        )
        wait_until(lambda: hanging.hits > 0, timeout_seconds=120, what="no download began")
        deployed.post(f"flow_runs/{run.id}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        wait_until(lambda: run.ended_as[0] == "CANCELLED", timeout_seconds=_SECONDS, what="it is not cancelled")
        wait_until(lambda: not processes_of(run.id), timeout_seconds=_SECONDS, what="its process still runs")
        never.set()
    document = json.loads((report / "migration.json").read_text())
    assert document["outcome"] == {"exit_status": 130, "state": "incomplete"}
    assert "1 of 1 models of the source were not reached" in " ".join(document["coverage"]["source"]["notes"])
    assert document["summary"]["complete"] is False


def audit_that_lost_its_server(
    program: Program, registry: Registry, proxy: FaultyProxy, directory: Path
) -> tuple["subprocess.Popen[bytes]", int, threading.Event]:
    """Its process, the port that its Prefect server had, and what lets its downloads go on, in whose middle it is."""
    version, port, go_on = registry.add(separate=True), free_port(), threading.Event()
    hanging = proxy.fault(faults.slow(release=go_on), path=DOWNLOADS)
    audit = ("--tracking-uri", proxy.uri, "--model", version.name, "--report-dir", str(directory / "report"))
    with own_server(directory, port) as server:
        there = Program({**program.environment, **server.environment})
        process = there.start("-m", "flows.audit_registry", *audit)
        wait_until(lambda: hanging.hits > 0, timeout_seconds=120, what="no download began")
    return process, port, go_on


def test_a_restarted_server_costs_no_result(
    program: Program, mlflow_a: MlflowServer, proxy_a: FaultyProxy, tmp_path: Path
) -> None:
    process, port, go_on = audit_that_lost_its_server(program, Registry(mlflow_a), proxy_a, tmp_path)
    with own_server(tmp_path, port) as server:
        go_on.set()
        assert process.wait(timeout=120) == 0
        assert json.loads((tmp_path / "report/audit.json").read_text(encoding="utf-8"))["coverage"]["audited"] == 1
        (run,) = server.post("flow_runs/filter")
        assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")


def test_an_audit_goes_on_without_its_server_and_shows_everything_once_it_is_back(
    program: Program, mlflow_a: MlflowServer, proxy_a: FaultyProxy, tmp_path: Path
) -> None:
    process, port, go_on = audit_that_lost_its_server(program, Registry(mlflow_a), proxy_a, tmp_path)
    go_on.set()
    wait_until(lambda: proxy_a.in_flight == 0, timeout_seconds=_SECONDS, what="it does not read on without the server")
    assert process.poll() is None
    with own_server(tmp_path, port) as server:
        assert process.wait(timeout=120) == 0
        (run,) = server.post("flow_runs/filter")
        assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
        artifacts = FlowRun(server, run["id"]).artifacts
        assert {"registry-audit-summary", "registry-audit-findings"} <= set(artifacts)
        assert artifacts["registry-audit-progress"]["data"] == 100.0


@pytest.mark.skipif(os.name == "nt", reason="a pipe does not tell there that its other end is closed")
def test_a_killed_worker_does_not_take_its_audit_with_it(
    deployed: PrefectServer, program: Program, mlflow_a: MlflowServer, proxy_a: FaultyProxy, tmp_path: Path
) -> None:
    version = Registry(mlflow_a).add(separate=True)
    go_on = threading.Event()
    hanging = proxy_a.fault(faults.slow(release=go_on), path=DOWNLOADS)
    with worker_of(program, tmp_path / "worker.log", PREFECT_WORKER_QUERY_SECONDS="1") as worker:
        found = deployed.deployment("audit-registry/ad-hoc")
        parameters = {"models": [version.name], "tracking_uri": proxy_a.uri, "ledger": "none"}
        run = FlowRun(
            deployed, deployed.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"]
        )
        wait_until(lambda: hanging.hits > 0, timeout_seconds=120, what="no download began")
        worker.kill()
        worker.wait()
        assert processes_of(run.id), "it must not have ended before"
        go_on.set()
        wait_until(lambda: run.ended_as[0] == "COMPLETED", timeout_seconds=120, what="it did not go on")
        wait_until(lambda: not processes_of(run.id), timeout_seconds=_SECONDS, what="its process still runs")
    assert run.artifacts["registry-audit-progress"]["data"] == 100.0
