"""`prefect deploy --all`, a process worker, and a run of a deployment: as a team would use it."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.processes import server_process
from support.registry import Registry

from .conftest import CHECKOUT, FlowRun, PrefectServer, Program, Worker

pytestmark = pytest.mark.slow

DEPLOYMENTS = ("audit-registry/ad-hoc", "check-model-version/ad-hoc", "compare-model-versions/ad-hoc")


def _run(server: PrefectServer, deployment: str, **parameters: object) -> FlowRun:
    found = server.deployment(deployment)
    created = server.post(f"deployments/{found['id']}/create_flow_run", parameters=parameters)
    run = FlowRun(server, created["id"])
    deadline = time.monotonic() + 120
    while run.ended_as[0] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        assert time.monotonic() < deadline, run.everything
        time.sleep(1)
    return run


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_deployment_is_there_with_its_parameters(deployed: PrefectServer, deployment: str) -> None:
    found = deployed.deployment(deployment)
    assert found["parameter_openapi_schema"]["properties"]
    assert found["enforce_parameter_schema"] is True
    assert found["parameter_openapi_schema"]["additionalProperties"] is False
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


@pytest.mark.parametrize("clones", [True, False], ids=["a clone for each run", "where the worker was started"])
def test_which_checkout_a_worker_runs(
    prefect_server: PrefectServer, registry: Registry, tmp_path: Path, clones: bool
) -> None:
    """Never the one that happens to be installed. It clones with the lines of prefect.yaml that are a comment there."""
    version = registry.add(separate=True)
    repository, pool = tmp_path / "team.git", f"clones-{clones}".lower()
    git("clone", "--quiet", str(CHECKOUT), str(repository))
    for name in ("prefect.yaml", "flows", "tasks", "registry_audit"):
        source, target = CHECKOUT / name, repository / name
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    flow = repository / "flows" / "check_model_version.py"
    flow.write_text(flow.read_text().replace('return f"check ', 'return f"from here: check '))
    project = repository / "prefect.yaml"
    project.write_text(_project(project.read_text(), pool, repository if clones else None))
    here = ("-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com")
    git(*here, "add", "--all")
    git(*here, "commit", "--quiet", "-m", "ours")

    program = Program(prefect_server.environment)
    created = program("-m", "prefect", "work-pool", "create", pool, "--type", "process")
    assert created.exit_status == 0, created.stdout + created.stderr
    deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    environment = os.environ | prefect_server.environment
    done = subprocess.run(
        deploy, cwd=repository, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    with server_process(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"],
        log=tmp_path / "worker.log",
        ready=lambda: bool(prefect_server.post(f"work_pools/{pool}/workers/filter")),
        environment=environment | {"MLFLOW_TRACKING_URI": registry.server.uri, "PREFECT_WORKER_QUERY_SECONDS": "1"},
        directory=empty if clones else repository,
        cold=True,  # the flows are those of the repository
    ):
        run = _run(prefect_server, f"check-model-version/{pool}", model=version.name, version_or_stage="1")
    assert run.ended_as == ("COMPLETED", "Completed"), run.log
    assert run.record["name"] == f"from here: check {version.name}/1"


def _project(project: str, name: str, cloned: Path | None) -> str:
    """prefect.yaml with one deployment under another name; for a clone, with the step that is a comment there."""
    step = re.search(r"^((?:#   .*\n)+)pull:\n", project, re.MULTILINE)
    assert step
    content = yaml.safe_load(project)
    (check,) = [d for d in content["deployments"] if d["entrypoint"].startswith("flows.check_model_version.")]
    content["deployments"] = [check | {"name": name, "work_pool": check["work_pool"] | {"name": name}}]
    if cloned is not None:
        content["pull"] = yaml.safe_load(re.sub(r"^#   ", "", step[1], flags=re.MULTILINE))
        ((kind, clone),) = content["pull"][0].items()
        assert kind == "prefect.deployments.steps.git_clone"
        assert clone["branch"] == "main"
        branch = git("-C", str(cloned), "branch", "--show-current").strip()
        clone.update(repository=cloned.as_uri(), branch=branch)
        del content["deployments"][0]["work_pool"]["job_variables"]["working_dir"]
    return yaml.safe_dump(content)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("audit-registry/ad-hoc", {"tracking_uri": "http://bob:never-stored@host"}),
        (
            "compare-model-versions/ad-hoc",
            {
                f"tracking_server_{n}": {"host": "http://bob:never-stored@host", "model": "m", "version_or_stage": "1"}
                for n in (1, 2)
            },
        ),
    ],
)
def test_the_server_refuses_a_password_before_it_stores_it(
    deployed: PrefectServer, deployment: str, parameters: dict[str, object]
) -> None:
    found = deployed.deployment(deployment)
    answer = deployed.ask("POST", f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    assert answer.status_code == 409
    assert deployed.files_with("never-stored") == []


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("audit-registry/ad-hoc", {"model": ["Wine"]}),
        ("audit-registry/nightly", {"fail-on": "high"}),
        ("check-model-version/ad-hoc", {"model": "Wine", "version_or_stage": "1", "version": "2"}),
        ("compare-registries/ad-hoc", {"source": {"host": "http://a", "user": "bob"}, "target": {"host": "http://b"}}),
    ],
)
def test_the_server_refuses_a_parameter_that_is_not_there(
    deployed: PrefectServer, deployment: str, parameters: dict[str, object]
) -> None:
    found = deployed.deployment(deployment)
    answer = deployed.ask("POST", f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    assert answer.status_code == 409
    assert "Additional properties are not allowed" in answer.json()["detail"]
