"""`prefect deploy --all`, a process worker, and a run of a deployment: as a team would use it."""

import time
from pathlib import Path

import pytest
import requests
from support.registry import Registry

from .conftest import CHECKOUT, FlowRun, PrefectServer, Worker

pytestmark = pytest.mark.slow

DEPLOYMENTS = ("audit-registry/ad-hoc", "check-model-version/ad-hoc", "compare-model-versions/ad-hoc")


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


def test_a_worker_audits(worker: Worker, deployed: PrefectServer, registry: Registry, tmp_path: Path) -> None:
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
