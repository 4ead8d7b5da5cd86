"""`prefect deploy --all`, a process worker, and a run of a deployment: as a team would use it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.registry import Registry

from .conftest import CHECKOUT, FlowRun, PrefectServer, Program

pytestmark = pytest.mark.slow

POOL = "registry-audit"
DEPLOYMENTS = ("audit-registry/ad-hoc", "check-model-version/ad-hoc", "compare-model-versions/ad-hoc")


@pytest.fixture(scope="module")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    program = Program(prefect_server.environment)
    created = program("-m", "prefect", "work-pool", "create", POOL, "--type", "process")
    assert created.exit_status == 0, created.stdout + created.stderr
    done = program("-m", "prefect", "--no-prompt", "deploy", "--all")
    assert done.exit_status == 0, done.stdout + done.stderr
    return prefect_server


@pytest.fixture
def worker(deployed: PrefectServer, program: Program, registry: Registry, tmp_path: Path) -> Iterator[None]:
    """A worker that knows the tracking server, and nothing else does."""
    environment = {**os.environ, **program.environment, "MLFLOW_TRACKING_URI": registry.server.uri}
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _run(server: PrefectServer, deployment: str, **parameters: object) -> FlowRun:
    found = requests.get(f"{server.api_url}/deployments/name/{deployment}", timeout=30).json()
    created = server.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)
    run = FlowRun(server, created["id"])
    deadline = time.monotonic() + 120
    while run.ended_as[0] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        assert time.monotonic() < deadline, run.everything
        time.sleep(1)
    return run


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_deployment_is_there_with_its_parameters(deployed: PrefectServer, deployment: str) -> None:
    found = requests.get(f"{deployed.api_url}/deployments/name/{deployment}", timeout=30).json()
    assert found["parameter_openapi_schema"]["properties"]
    assert found["enforce_parameter_schema"] is True
    assert found["description"]
    assert str(CHECKOUT) not in str(found), "a deployment that names a directory of this machine"


def test_a_worker_audits(worker: None, deployed: PrefectServer, registry: Registry, tmp_path: Path) -> None:
    version = registry.add(separate=True)
    report_dir = tmp_path / "report"
    run = _run(deployed, "audit-registry/ad-hoc", models=[version.name], report_dir=str(report_dir))
    assert run.ended_as == ("COMPLETED", "Completed"), run.log
    assert (report_dir / "audit.json").is_file()
    checked = _run(deployed, "check-model-version/ad-hoc", model=version.name, version_or_stage="1")
    assert checked.ended_as == ("COMPLETED", "Completed"), checked.log


def test_the_server_refuses_a_password_before_it_stores_it(deployed: PrefectServer) -> None:
    found = requests.get(f"{deployed.api_url}/deployments/name/audit-registry/ad-hoc", timeout=30).json()
    answer = requests.post(
        f"{deployed.api_url}/deployments/{found['id']}/create_flow_run",
        json={"parameters": {"tracking_uri": "http://bob:never-stored@host"}},
        timeout=30,
    )
    assert answer.status_code == 409
    assert deployed.files_with("never-stored") == []
