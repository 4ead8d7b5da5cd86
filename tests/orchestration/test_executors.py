"""One audit on threads, on a Dask cluster, and fanned out over workers of a pool, with a worker lost in the middle.

The report is the same on all of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import damage, warm
from support.processes import free_port, wait_until
from support.registry import Registry

from registry_audit.audit.work_directory import Seal
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.shared_work import SharedWork

from .conftest import CHECKOUT, POOL, FlowRun, PrefectServer, Program, processes_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MODELS, VERSIONS = 3, 4
_OF_THE_RUN = ("generated_at", "ledger", "changes", "history")  # times and ids


@pytest.fixture
def names(registry: Registry) -> list[str]:
    """A dozen versions in a registry, of which one differs and one is gone."""
    prefix = registry.new_name("executor")
    for model in range(MODELS):
        added = [registry.add(f"{prefix}-{model}", seed=number, separate=True) for number in range(VERSIONS)]
        if model:
            kind = (damage.flip_byte, damage.delete_tree)[model - 1]
            with registry.server.artifacts.edit(added[model].reg_location) as directory:
                kind(directory)
    return [f"{prefix}-*"]


@pytest.fixture
def processes() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start processes in the checkout that end with the test."""
    with ExitStack() as started:

        def start(log: Path, environment: dict[str, str], *arguments: str) -> "subprocess.Popen[bytes]":
            output = started.enter_context(log.open("wb"))
            process = warm.Popen(
                [sys.executable, *arguments], env=environment, cwd=CHECKOUT, stdout=output, stderr=output
            )
            started.callback(process.wait, 30)
            started.callback(process.kill)
            return process

        yield start


def _report(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / "audit.json").read_text(encoding="utf-8"))
    for key in _OF_THE_RUN:
        document.pop(key)
    for version in document["versions"]:
        assert version.pop("read_at") is not None or version["verdict"] == "unverifiable"
        version.pop("seconds"), version.pop("history")
        for finding in version["findings"]:
            finding.pop("new")
    return document


def _environment(program: Program, registry: Registry, ledger: str) -> dict[str, str]:
    own = {"MLFLOW_TRACKING_URI": registry.server.uri, "REGISTRY_AUDIT_LEDGER": ledger}
    return {**os.environ, **program.environment, **own}


def _audit(server: PrefectServer, **parameters: object) -> FlowRun:
    """Names server and ledger: a worker of other tests, which has its own, may take the run."""
    found = server.deployment("audit-registry/ad-hoc")
    created = server.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)
    return FlowRun(server, created["id"])


def _wait(run: FlowRun) -> None:
    final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    wait_until(lambda: run.ended_as[0] in final, timeout_seconds=240, what=f"the run {run.id} has not ended")
    assert run.ended_as == ("FAILED", "Findings"), run.log


@pytest.mark.postgres
def test_the_report_is_the_same_on_every_engine(
    deployed: PrefectServer,
    program: Program,
    registry: Registry,
    names: list[str],
    postgres_url: str,
    processes: Callable[..., "subprocess.Popen[bytes]"],
    tmp_path: Path,
) -> None:
    ledger = open_ledger(postgres_url, create=True)
    environment = _environment(program, registry, postgres_url)
    pool = ("-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process")
    processes(tmp_path / "worker-1.log", environment, *pool)
    processes(tmp_path / "worker-2.log", environment, *pool)

    # The ledger is the workers': its address names a user, which no parameter may.
    which = {"tracking_uri": registry.server.uri, "models": names}
    threads = _audit(deployed, **which, report_dir=str(tmp_path / "threads"), batch_size=2)
    _wait(threads)

    fanned = _audit(deployed, **which, report_dir=str(tmp_path / "fanned"), batch_size=1, fan_out=3)
    work = SharedWork(ledger, fanned.id, Seal(b"only to look how far it is"))
    wait_until(lambda: work.standing().delivered > 0, timeout_seconds=120, what="no batch was audited")
    for part in _parts(fanned)[:1]:
        for process in processes_of(part):
            process.kill()  # whatever it was at is another's after a minute
    _wait(fanned)
    assert work.standing().total == 0, "what the workers shared is gone with the audit"
    assert _report(tmp_path / "fanned") == _report(tmp_path / "threads")
    address = f"tcp://127.0.0.1:{free_port()}"
    host, port = address.removeprefix("tcp://").split(":")
    scheduler = ("-m", "distributed.cli.dask_scheduler", "--host", host, "--port", port, "--no-dashboard")
    processes(tmp_path / "scheduler.log", environment, *scheduler)
    dask_worker = ("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    lost = processes(tmp_path / "dask-1.log", environment, *dask_worker)
    processes(tmp_path / "dask-2.log", environment, *dask_worker)
    on_dask = _audit(deployed, models=names, report_dir=str(tmp_path / "dask"), batch_size=1, dask_scheduler=address)
    wait_until(
        lambda: any(run["state_type"] == "COMPLETED" for run in _task_runs(on_dask)),
        timeout_seconds=120,
        what="no batch was audited on the cluster",
    )
    lost.kill()
    _wait(on_dask)
    assert _report(tmp_path / "dask") == _report(tmp_path / "threads")
    ledger.verify()
    ledger.close()


def _parts(run: FlowRun) -> list[str]:
    """Ids of the runs that audit parts of it."""
    named = run.server.post("flow_runs/filter", flows={"name": {"any_": ["audit-part"]}})
    return [part["id"] for part in named if part["parameters"]["audit_id"] == run.id]


def _task_runs(run: FlowRun) -> list[dict[str, Any]]:
    wanted = {"id": {"any_": [run.id]}}
    named = {"name": {"like_": "audit-batch"}}
    found: list[dict[str, Any]] = run.server.post("task_runs/filter", flow_runs=wanted, task_runs=named)
    return found
