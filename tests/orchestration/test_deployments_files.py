"""The files of deployments/: what can be checked of them without a container engine."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import requests
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.server.api import collections_data
from prefect.server.schemas.schedules import CronSchedule
from prefect.utilities.templating import apply_values
from support.postgres import postgres_database
from support.processes import free_port, server_process

from flows import _EMBEDDED_SERVER
from registry_audit.compare_config import load_compare_config
from registry_audit.verdict import STATE_NAMES
from tasks import artifacts

from .conftest import CHECKOUT, PrefectServer, Program

FOLDER = CHECKOUT / "deployments"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
PASSWORD = "${POSTGRES_PASSWORD:?}"


def _audits() -> list[dict[str, Any]]:
    """Those of a whole registry."""
    audits = [d for d in PROJECT["deployments"] if d["entrypoint"] == "flows.audit_registry.audit_registry"]
    return [d for d in audits if d["name"] != "on-registration"]


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} +(.+)$", DOCKERFILE, flags=re.MULTILINE)


def _copied() -> list[str]:
    """Sources of all COPY instructions, from the root of the checkout."""
    return [source for instruction in _instructions("COPY") for source in instruction.split()[:-1]]


def _env_names(file: Path) -> list[str]:
    return re.findall(r"^#?([A-Z][A-Z_]+)=", file.read_text(encoding="utf-8"), flags=re.MULTILINE)


class TestPrefectYaml:
    def test_all_audits_share_a_queue_and_none_has_a_limit_that_would_end_it(self) -> None:
        assert {d["name"] for d in _audits()} == {"nightly", "weekly-full", "ad-hoc"}
        assert {d["work_pool"]["work_queue_name"] for d in _audits()} == {"audits"}
        assert not any("concurrency_limit" in d for d in PROJECT["deployments"])

    def test_the_flows_take_the_parameters(self) -> None:
        for deployment in PROJECT["deployments"]:
            flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
            given = deployment.get("parameters", {})
            assert set(given) <= set(flow.parameters.properties)
            assert flow.parameters.required or flow.validate_parameters(given)

    def test_what_is_scheduled_covers_every_night_once(self) -> None:
        scheduled = [s for d in _audits() for s in d.get("schedules", [])]
        start = datetime(2026, 12, 1, tzinfo=UTC)
        dates = [
            date
            for s in scheduled
            for date in asyncio.run(CronSchedule(cron=s["cron"], timezone=s["timezone"]).get_dates(80, start))
        ]
        nights = sorted(dates)[:70]
        assert {(later - earlier).total_seconds() for earlier, later in pairwise(nights)} == {24 * 3600}


class TestReadme:
    def test_every_link_leads(self) -> None:
        links = re.findall(r"\]\(([^)#:]+)", README)
        assert links
        assert [link for link in links if not (FOLDER / link).exists()] == []

    def test_every_variable_is_in_the_table(self) -> None:
        page = (CHECKOUT / "docs" / "configuring.md").read_text(encoding="utf-8")
        table = set(re.findall(r"`([A-Z][A-Z_]+)`", page))
        code = "".join(
            path.read_text(encoding="utf-8")
            for package in ("registry_audit", "tasks", "flows")
            for path in (CHECKOUT / package).rglob("*.py")
        )
        used = set(re.findall(r'"(REGISTRY_AUDIT_[A-Z_]+)"', code))
        used |= {*_env_names(FOLDER / "server.env"), *_env_names(FOLDER / "worker.env.example")}
        used |= {name for service in SERVICES.values() for name in service.get("environment", {})}
        used |= set(re.findall(r"\$\{(\w+)", str(COMPOSE)))
        used |= set(re.findall(r"\b((?:PREFECT|REGISTRY_AUDIT)_[A-Z_]+)=", DOCKERFILE))
        assert sorted(used - table) == []

    def test_every_final_state_and_artifact_is_explained(self) -> None:
        assert [name for name in STATE_NAMES.values() if f"| `{name}` |" not in README] == []
        from flows.accept_baseline import APPROVAL_KEY, ARTIFACT_KEY

        kinds = [f"{artifacts.AUDIT_KEY}-{kind}" for kind in ("summary", "findings", "progress")]
        singles = [f"{key}-summary" for key in (artifacts.CHECK_KEY, artifacts.COMPARE_KEY, artifacts.MIGRATION_KEY)]
        assert [key for key in (*kinds, *singles, APPROVAL_KEY, ARTIFACT_KEY) if f"`{key}`" not in README] == []


class TestExamples:
    def test_the_comparison_is_valid(self) -> None:
        one, two = load_compare_config(FOLDER / "compare.example.yaml").servers
        assert (one.username_env, one.password_env) == ("STAGING_USER", "STAGING_PASSWORD")
        assert two.token_env == "PRODUCTION_TOKEN"

    def test_the_worker_environment_reads_the_same_everywhere(self) -> None:
        for line in (FOLDER / "worker.env.example").read_text(encoding="utf-8").splitlines():
            assert not line or line.startswith("# ") or re.fullmatch(r"#?[A-Z_]+=[\w:/.@+-]*", line), line

    def test_workers_send_heartbeats_often_enough_for_the_automation_of_lost_runs(self) -> None:
        (setting,) = re.findall(
            r"^PREFECT_FLOWS_HEARTBEAT_FREQUENCY=(\d+)$", (FOLDER / "worker.env.example").read_text(), re.MULTILINE
        )
        assert SERVICES["worker"]["environment"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == setting
        automations = yaml.safe_load((FOLDER / "automations.yaml").read_text(encoding="utf-8"))
        (trigger,) = [each["trigger"] for each in automations if each["name"] == "Registry audit: lost runs"]
        assert 2 * int(setting) < trigger["within"] <= 120 - int(setting)
        ends = {event.rpartition(".")[2] for event in trigger["expect"]}
        assert set(STATE_NAMES.values()) <= ends
        flows = {load_flow_from_entrypoint(d["entrypoint"]).name for d in PROJECT["deployments"]}
        assert set(trigger["match_related"]["prefect.resource.name"]) == flows

    def test_the_server_has_the_settings_of_an_embedded_one(self) -> None:
        lines = (FOLDER / "server.env").read_text(encoding="utf-8").splitlines()
        found = dict(line.split("=") for line in lines if not line.startswith("#"))
        assert found.pop("PREFECT_UI_URL") == "http://127.0.0.1:4200"
        of_a_start_only = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
        assert found == {name: value for name, value in _EMBEDDED_SERVER.items() if name != of_a_start_only}


class TestDockerfile:
    def test_it_installs_the_lock_by_hash_and_runs_as_nobody_in_particular(self) -> None:
        assert _instructions("FROM") == ["python:3.11-slim"]
        locked, checkout = [run for run in _instructions("RUN") if "pip install" in run]
        assert {"--no-deps", "--require-hashes", "requirements.lock"} <= set(locked.split())
        assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(checkout.split())
        (user,) = _instructions("USER")
        assert f"useradd --uid 10001 --create-home {user}" in " ".join(DOCKERFILE.split())
        assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nCMD ")
        assert "://" not in DOCKERFILE

    def test_what_it_copies_exists_and_is_not_ignored(self) -> None:
        ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        assert "**/*.env" in ignored
        let_through = {line[1:] for line in ignored if line.startswith("!")}
        assert {*_copied(), "deployments/server.env"} == let_through
        assert [source for source in _copied() if not (CHECKOUT / source).exists()] == []


@pytest.fixture(scope="module")
def image_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image has in its working directory."""
    directory = tmp_path_factory.mktemp("image")
    for source in _copied():
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, directory / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(CHECKOUT / source, directory / source)
    return directory


def test_what_is_copied_is_enough_to_build_and_to_load_every_flow(image_checkout: Path) -> None:
    entrypoints = sorted({d["entrypoint"] for d in PROJECT["deployments"]})
    script = "import importlib, sys\nfor name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    modules = [entrypoint.rpartition(".")[0] for entrypoint in entrypoints]
    for command in (["-c", script, *modules], ["-m", "hatchling", "build", "--target", "wheel"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=image_checkout, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        if command[0] == "-c":
            files = done.stdout.splitlines()
            assert len(files) == len(modules)
            assert all(Path(file).is_relative_to(image_checkout) for file in files), files


class TestCompose:
    def test_every_name_in_it_is_there(self) -> None:
        for name, service in SERVICES.items():
            assert service["image"] in ("mlflow-registry-audit", "postgres:17"), name
            for other, condition in service.get("depends_on", {}).items():
                assert other in SERVICES
                if condition["condition"] == "service_healthy":
                    assert "healthcheck" in SERVICES[other], other
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                assert (FOLDER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], volume
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
            assert "env_file" not in service or (FOLDER / service["env_file"]).is_file()
        build = SERVICES["prefect-server"]["build"]
        assert (FOLDER / build["context"]).resolve() == CHECKOUT
        assert CHECKOUT / build["dockerfile"] == FOLDER / "Dockerfile"
        assert set(re.findall(r"\$\{[^}]*\}", str(COMPOSE))) == {PASSWORD}

    def test_services_find_each_other(self) -> None:
        for service in SERVICES.values():
            for value in service.get("environment", {}).values():
                host = urlsplit(value.replace(PASSWORD, "secret")).hostname
                assert host in (None, "127.0.0.1", *SERVICES), value
        pages = SERVICES["prefect-server"]["environment"]["PREFECT_UI_URL"]
        assert SERVICES["prefect-server"]["environment"]["PREFECT_SERVER_UI_API_URL"] == f"{pages}/api"

    def test_every_database_is_created(self) -> None:
        created = re.findall(r"^CREATE DATABASE (\w+);$", (FOLDER / "create-databases.sql").read_text(), re.MULTILINE)
        assert sorted(created) == sorted(set(re.findall(r"@postgres:5432/(\w+)", str(COMPOSE))))

    def test_docker_compose_accepts_it(self) -> None:
        docker = shutil.which("docker")
        if (
            docker is None
            or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
        ):
            pytest.skip("no docker CLI with the compose plugin here")
        command = [docker, "compose", "--file", str(FOLDER / "compose.yaml"), "config", "--quiet"]
        done = subprocess.run(
            command, env=os.environ | {"POSTGRES_PASSWORD": "secret"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class TestKubernetes:
    DOCUMENTS: ClassVar[list[dict[str, Any]]] = list(
        yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8"))
    )

    def test_the_schemas_of_kubernetes_accept_it(self) -> None:
        assert [document["kind"] for document in self.DOCUMENTS] == ["Deployment", "PersistentVolumeClaim"]
        for version in ("1.28", kubernetes_validate.latest_version()):
            for document in self.DOCUMENTS:
                assert kubernetes_validate.validate(document, version, strict=True) is not None

    def test_every_name_in_it_is_there(self) -> None:
        deployment, claim = self.DOCUMENTS
        pod = deployment["spec"]["template"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["state"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounted = tuple(mount["mountPath"] for mount in container["volumeMounts"])
        assert all(variable["value"].startswith(mounted) for variable in container["env"])
        assert "command" not in container  # the image's own
        assert "args" not in container

    def test_it_runs_as_the_user_of_the_image_and_holds_no_secret(self) -> None:
        pod = self.DOCUMENTS[0]["spec"]["template"]["spec"]
        assert f"--uid {pod['securityContext']['runAsUser']} " in DOCKERFILE
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
        named = {variable["name"] for variable in pod["containers"][0]["env"]}
        assert not named & {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "REGISTRY_AUDIT_LEDGER"}


class TestPools:
    """Base job templates for work pools of a container for each run."""

    TEMPLATES: ClassVar[dict[str, dict[str, Any]]] = {
        kind: json.loads((FOLDER / f"{kind}-pool.json").read_text(encoding="utf-8"))
        for kind in ("docker", "kubernetes")
    }

    @pytest.mark.parametrize("kind", TEMPLATES)
    def test_it_is_prefects_own_with_other_defaults(self, kind: str) -> None:
        metadata = Path(collections_data.__path__[0]) / "views" / "aggregate-worker-metadata.json"
        own = json.loads(metadata.read_text(encoding="utf-8"))[f"prefect-{kind}"][kind][
            "default_base_job_configuration"
        ]
        template = self.TEMPLATES[kind]
        privileged = {"privileged"} if kind == "docker" else set[str]()
        assert template["job_configuration"].keys() == own["job_configuration"].keys() - privileged
        missing = own["variables"]["properties"].keys() - template["variables"]["properties"].keys()
        assert missing == privileged

    @pytest.mark.parametrize("kind", TEMPLATES)
    def test_a_server_takes_it(self, prefect_server: PrefectServer, kind: str) -> None:
        file = str(FOLDER / f"{kind}-pool.json")
        program = Program(prefect_server.environment)
        made = program(
            "-m", "prefect", "work-pool", "create", f"of-{kind}", "--type", kind, "--base-job-template", file
        )
        assert made.exit_status == 0, made.stdout + made.stderr
        assert prefect_server.get(f"work_pools/of-{kind}")["base_job_template"] == self.TEMPLATES[kind]

    def test_the_job_is_one_of_kubernetes_and_as_careful_as_the_worker(self) -> None:
        template = self.TEMPLATES["kubernetes"]
        defaults = {name: said.get("default") for name, said in template["variables"]["properties"].items()}
        given = {name: value for name, value in defaults.items() if value is not None and name != "env"}
        given |= {"env": [{"name": n, "value": v} for n, v in defaults["env"].items()], "name": "audit", "labels": {}}
        given |= {"command": ["prefect", "flow-run", "execute"]}
        job = apply_values(template["job_configuration"]["job_manifest"], given, remove_notset=True)
        for version in ("1.28", kubernetes_validate.latest_version()):
            assert kubernetes_validate.validate(job, version, strict=True) is not None
        pod, worker = job["spec"]["template"]["spec"], TestKubernetes.DOCUMENTS[0]["spec"]["template"]["spec"]
        assert pod["securityContext"] == worker["securityContext"]
        assert pod["containers"][0]["securityContext"] == worker["containers"][0]["securityContext"]
        assert pod["containers"][0]["envFrom"] == worker["containers"][0]["envFrom"]
        assert pod["automountServiceAccountToken"] is False

    @pytest.mark.parametrize("kind", TEMPLATES)
    def test_its_runs_say_that_they_live(self, kind: str) -> None:
        env = self.TEMPLATES[kind]["variables"]["properties"]["env"]["default"]
        assert env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


class Composed:
    """The command and environment of a service, as processes here: other ports, the databases of a test."""

    def __init__(self, service: str, port: int, database_url: str) -> None:
        given = SERVICES[service]
        own_port = given["ports"][0].rpartition(":")[2]
        self.command = [part.replace(own_port, str(port)) for part in given["command"]]
        self.own_host = f"{service}:{port}"
        database = database_url.partition("://")[2]
        replaced = re.compile(rf"postgres:{re.escape(PASSWORD)}@postgres:5432/\w+")
        self.environment = {
            name: replaced.sub(database, value).replace(own_port, str(port))
            for name, value in given["environment"].items()
        }
        if "env_file" in given:
            lines = (FOLDER / given["env_file"]).read_text(encoding="utf-8").splitlines()
            self.environment |= dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        _, *health = given["healthcheck"]["test"]
        self.health = [sys.executable, *(part.replace(own_port, str(port)) for part in health[1:])]

    def is_healthy(self) -> bool:
        return subprocess.run(self.health, capture_output=True, check=False, timeout=30).returncode == 0


def _environment(directory: Path, **more: str) -> dict[str, str]:
    foreign = ("PREFECT_", "MLFLOW_", "REGISTRY_AUDIT_", "PYTEST_", "COV_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return own | {"PATH": path, "HOME": str(directory), "PREFECT_HOME": str(directory / "prefect")} | more


@pytest.fixture
def started(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _start(stack: ExitStack, service: str, directory: Path) -> Composed:
    composed = Composed(service, free_port(), stack.enter_context(postgres_database()))
    command = [part.replace("/var/lib/mlflow", str(directory / "artifacts")) for part in composed.command]
    stack.enter_context(
        server_process(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            log=directory / f"{service}.log",
            ready=composed.is_healthy,
            environment=_environment(directory, **composed.environment),
            directory=directory,
            timeout_seconds=150,
        )
    )
    return composed


@pytest.mark.slow
@pytest.mark.postgres
def test_the_prefect_server_of_compose_starts_and_takes_the_deployments_of_the_image(
    started: ExitStack, image_checkout: Path, tmp_path: Path
) -> None:
    composed = _start(started, "prefect-server", tmp_path)
    api_url = composed.environment["PREFECT_SERVER_UI_API_URL"]
    # The image has no git.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')  # a link would lose its packages
    (programs / "python").chmod(0o755)
    for name in ("sh", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        SERVICES["deploy"]["command"],
        cwd=image_checkout,
        env=_environment(tmp_path, PREFECT_API_URL=api_url, PATH=str(programs)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout
    deployed = requests.post(f"{api_url}/deployments/filter", json={}, timeout=30).json()
    assert len(deployed) == len(PROJECT["deployments"])
    assert all(d["parameter_openapi_schema"]["properties"] for d in deployed)


@pytest.mark.slow
@pytest.mark.postgres
def test_the_mlflow_server_of_compose_answers_to_its_name_only(started: ExitStack, tmp_path: Path) -> None:
    composed = _start(started, "mlflow", tmp_path)
    port = composed.own_host.partition(":")[2]
    search = f"http://127.0.0.1:{port}/api/2.0/mlflow/registered-models/search"
    statuses = [
        requests.get(search, headers={"Host": host}, timeout=30).status_code
        for host in (composed.own_host, f"127.0.0.1:{port}", f"elsewhere:{port}")
    ]
    assert statuses == [200, 200, 403]
