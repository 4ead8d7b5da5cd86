"""Audit on registration, end to end: a version is registered at a real MLflow server, and a run audits exactly it."""

import base64
import hmac
import json
import re
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from support.processes import free_port, server_process, wait_until
from support.registry import Registry
from support.servers import mlflow_server

from registry_audit.registry.webhook import MAX_BODY_BYTES, Registration

from .conftest import CHECKOUT, POOL, FlowRun, PrefectServer, Program, worker_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECRET = "a-secret-of-this-test-alone"
# Names that mean something to globs, to MLflow's filters, to Markdown.
REST = " 'quoted' \"twice\" <b>%41\\"
HOSTILE, LIKE_IT = f"[a]*?{REST}", f"abc{REST}"  # the second is what the first matches where nobody escapes it
RUN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Receiver:
    url: str
    log: Path

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        return requests.post(self.url, data=body, headers=headers, timeout=30).status_code


@contextmanager
def receiver(directory: Path, prefect_api_url: str, *options: str) -> Iterator[Receiver]:
    port, log = free_port(), directory / "receiver.log"
    url = f"http://127.0.0.1:{port}/from/mlflow"

    def ready() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
        except requests.RequestException:
            return False

    with server_process(
        [sys.executable, "-m", "flows.on_registration", "serve", "--port", str(port), "--delay", "0", *options],
        log=log,
        ready=ready,
        environment={
            "PREFECT_API_URL": prefect_api_url,
            "PREFECT_HOME": str(directory / "home"),
            "REGISTRY_AUDIT_WEBHOOK_SECRET": SECRET,
        },
        directory=CHECKOUT,
    ):
        yield Receiver(url, log)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[Registry]:
    """An MLflow server that may send to loopback, and knows new webhooks at once."""
    environment = {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    with mlflow_server(tmp_path_factory.mktemp("mlflow-webhooks"), more_environment=environment) as server:
        yield Registry(server)


@pytest.fixture(scope="module")
def receiving(deployed: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiver(tmp_path_factory.mktemp("receiver"), deployed.api_url, "--again", "5") as found:
        yield found
    for run in _runs(deployed):  # which the workers of other tests would take up
        deployed.delete(f"flow_runs/{run['id']}")


def _runs(server: PrefectServer, *names: str) -> list[dict[str, Any]]:
    runs = server.post("flow_runs/filter", flow_runs={"tags": {"all_": ["on-registration"]}})
    asked = [Registration(name, "1", None).audit_parameters()["models"] for name in names]
    return [run for run in runs if not names or run["parameters"]["models"] in asked]


def _delivery(**changes: Any) -> tuple[bytes, dict[str, str]]:
    data = {"name": "nobody", "version": "1", "source": "s", "run_id": None, "tags": {}, "description": None}
    told = {"entity": "model_version", "action": "created", "timestamp": "2026", "data": data | changes}
    return json.dumps(told).encode(), {"Content-Type": "application/json"}


def _signed(body: bytes, secret: str = SECRET, *, age_seconds: int = 0, id: str | None = None) -> dict[str, str]:
    delivery_id, timestamp = id or str(uuid.uuid4()), str(int(time.time()) - age_seconds)
    digest = hmac.digest(secret.encode(), f"{delivery_id}.{timestamp}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"X-MLflow-Delivery-Id": delivery_id, "X-MLflow-Timestamp": timestamp, "X-MLflow-Signature": signature}


def test_a_registered_version_is_audited_and_gets_its_baseline(
    watched: Registry, receiving: Receiver, deployed: PrefectServer, program: Program, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    registering = program(
        "-m",
        "flows.on_registration",
        "register",
        "--url",
        receiving.url,
        "--tracking-uri",
        watched.server.uri,
        REGISTRY_AUDIT_WEBHOOK_SECRET=SECRET,
    )
    assert registering.exit_status == 0, registering.stderr
    assert "its test delivery arrived" in registering.stdout
    assert _runs(deployed, "example_model") == []

    names = (LIKE_IT, HOSTILE, "plain")
    for seed, name in enumerate(names):
        watched.client.create_registered_model(name)
        logged = watched.log_run_model(seed=seed)
        watched.client.create_model_version(name, logged.source, logged.run_id)
    wait_until(lambda: len(_runs(deployed, *names)) == 6, timeout_seconds=60, what="not every version has its two runs")

    limit = ("work-queue", "set-concurrency-limit", "registrations", "2", "--pool", POOL)
    assert program("-m", "prefect", *limit).exit_status == 0
    settings = {"MLFLOW_TRACKING_URI": watched.server.uri, "REGISTRY_AUDIT_LEDGER": ledger}
    with worker_of(program, tmp_path / "worker.log", PREFECT_WORKER_QUERY_SECONDS="2", **settings):
        wait_until(
            lambda: {run["state_type"] for run in _runs(deployed, *names)} <= {"COMPLETED", "FAILED", "CRASHED"},
            timeout_seconds=2 * RUN_SECONDS,
            what="the runs are not over",
        )
    runs = [FlowRun(deployed, run["id"]) for run in _runs(deployed, *names)]
    assert {run.ended_as for run in runs} == {("COMPLETED", "Completed")}, [run.log for run in runs]
    for run in runs:
        assert re.search(r"1 of \d+ listed", run.record["state"]["message"]), run.everything
    listed = program(
        "-m", "registry_audit", "baseline", "list", "--tracking-uri", watched.server.uri, "--ledger", ledger
    )
    assert listed.exit_status == 0, listed.stderr
    assert len([line for line in listed.stdout.splitlines() if "sha256:" in line]) == 3, listed.stdout


def test_a_forged_delivery_starts_nothing(receiving: Receiver, deployed: PrefectServer) -> None:
    before = len(_runs(deployed))
    body, headers = _delivery()
    assert receiving.post(body, headers) == 401
    assert receiving.post(body, headers | _signed(body, "another-secret-than-the-one")) == 401
    assert receiving.post(body + b" ", headers | _signed(body)) == 401
    assert receiving.post(body, headers | _signed(body) | {"X-MLflow-Delivery-Id": "other"}) == 401
    assert receiving.post(body, headers | _signed(body, age_seconds=3_600)) == 401
    assert receiving.post(body, headers | _signed(body, age_seconds=-3_600)) == 401
    assert len(_runs(deployed)) == before


def test_a_replayed_delivery_starts_nothing_more(receiving: Receiver, deployed: PrefectServer, tmp_path: Path) -> None:
    body, headers = _delivery(name="replayed")
    headers |= _signed(body)
    assert receiving.post(body, headers) == 202
    before = {run["id"] for run in _runs(deployed)}
    assert receiving.post(body, headers) == 202
    with receiver(tmp_path, deployed.api_url, "--again", "5") as another:  # which remembers nothing
        assert another.post(body, headers) == 202
    assert {run["id"] for run in _runs(deployed)} == before


def test_what_is_not_a_registration_starts_nothing(receiving: Receiver, deployed: PrefectServer) -> None:
    before = len(_runs(deployed))
    for status, body in (
        (200, json.dumps({"entity": "model_version_tag", "action": "set", "data": {}}).encode()),
        (200, json.dumps({**json.loads(_delivery()[0]), "workspace": "team-b"}).encode()),
        (400, b"not json"),
        (400, b"[" * 100_000),
        (400, _delivery(version="1 OR name LIKE '%'")[0]),
        (400, _delivery(version="0")[0]),
        (400, _delivery(name="")[0]),
        (400, _delivery(name=["list"])[0]),
        (413, b" " * (MAX_BODY_BYTES + 1)),
    ):
        assert receiving.post(body, _signed(body)) == status, body[:100]
    assert len(_runs(deployed)) == before


def test_without_prefect_mlflow_is_asked_to_try_again(tmp_path: Path) -> None:
    with receiver(tmp_path, "http://127.0.0.1:1/api") as found:
        body, headers = _delivery()
        answer = requests.post(found.url, data=body, headers=headers | _signed(body), timeout=30)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert SECRET not in found.log.read_text()


def test_a_deployment_that_is_not_there_is_no_loss_either(deployed: PrefectServer, tmp_path: Path) -> None:
    with receiver(tmp_path, deployed.api_url, "--deployment", "audit-registry/gone") as found:
        body, headers = _delivery()
        assert found.post(body, headers | _signed(body)) == 503


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("serve",), {}, "set REGISTRY_AUDIT_WEBHOOK_SECRET"),
        (("serve",), {"REGISTRY_AUDIT_WEBHOOK_SECRET": "short"}, "16 characters or more"),
        (("serve", "--tls-key", "pyproject.toml"), {"REGISTRY_AUDIT_WEBHOOK_SECRET": SECRET}, "need each other"),
        (("register", "--url", "https://a:b@host/"), {"REGISTRY_AUDIT_WEBHOOK_SECRET": SECRET}, "with credentials"),
        (("register", "--url", "https://host/"), {"REGISTRY_AUDIT_WEBHOOK_SECRET": SECRET}, "which tracking server?"),
    ],
)
def test_a_wrong_request_says_why(
    program: Program, arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    done = program("-m", "flows.on_registration", *arguments, **environment)
    assert done.exit_status == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_url_that_mlflow_refuses(program: Program, watched: Registry) -> None:
    done = program(
        "-m", "flows.on_registration", "register", "--url", "ftp://host/", "--tracking-uri", watched.server.uri,
        REGISTRY_AUDIT_WEBHOOK_SECRET=SECRET,
    )  # fmt: skip
    assert done.exit_status == 2
    assert "Invalid webhook URL scheme" in done.stderr


@pytest.mark.parametrize("command", [("flows.on_registration", "serve"), ("flows.serve",)])
def test_a_port_that_is_taken_ends_it(program: Program, command: tuple[str, ...]) -> None:
    """Beside the deployments a receiver that cannot listen would end unseen, and no registration be audited."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = program("-m", *command, "--port", port, REGISTRY_AUDIT_WEBHOOK_SECRET=SECRET)
    assert ended.exit_status == 2, ended.stderr
    assert f"cannot listen at 127.0.0.1:{port}: " in ended.stderr
    assert "Traceback" not in ended.stderr
