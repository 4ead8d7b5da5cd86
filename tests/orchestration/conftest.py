"""One real Prefect server for all of these tests, with a home of its own."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prefect import Flow, State
from prefect.context import get_settings_context
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
    temporary_settings,
)
from requests.adapters import HTTPAdapter
from support import warm
from support.processes import free_port, server_process, wait_until
from support.registry import Registry
from support.servers import MlflowServer
from urllib3.util import Retry

CHECKOUT = Path(__file__).parents[2]
POOL = "registry-audit"
SECONDS = 300  # far more than it takes, also where ten others run
_SETTLED_SECONDS = 15
_QUIET_SECONDS = 4  # in which nothing new was recorded
_WHILE_BUSY = Retry(
    total=None,
    connect=0,
    read=0,
    status=30,
    status_forcelist=[503],
    allowed_methods=None,
    backoff_factor=0.1,
    backoff_max=1,
    raise_on_status=False,
)
_TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True, slots=True)
class PrefectServer:
    api_url: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PREFECT_API_URL": self.api_url, "PREFECT_HOME": str(self.home)}

    @property
    def ui_url(self) -> str:
        return self.api_url.removesuffix("/api")

    def ask(self, method: str, route: str, body: Any = None) -> requests.Response:
        """Asks again for a while when it says 503: its SQLite is busy, and nothing was done."""
        with requests.Session() as session:
            session.mount(self.api_url, HTTPAdapter(max_retries=_WHILE_BUSY))
            session.headers["Connection"] = "close"  # after a 503 the server closes it, and may do so unsaid
            return session.request(method, f"{self.api_url}/{route}", json=body, timeout=30)

    def post(self, route: str, **body: Any) -> Any:
        return self._done("POST", route, body).json()

    def get(self, route: str) -> Any:
        return self._done("GET", route).json()

    def patch(self, route: str, **body: Any) -> None:
        self._done("PATCH", route, body)

    def delete(self, route: str) -> None:
        self._done("DELETE", route)

    def deployment(self, name: str) -> dict[str, Any]:
        """By `flow/deployment`."""
        return dict(self.get(f"deployments/name/{name}"))

    def _done(self, method: str, route: str, body: Any = None) -> requests.Response:
        answer = self.ask(method, route, body)
        assert answer.ok, f"{method} {route}: {answer.status_code} {answer.text}"
        return answer

    def files_with(self, text: str) -> list[Path]:
        """Of everything that the server and its clients keep, what holds the text anywhere."""
        files = (path for path in self.home.rglob("*") if path.is_file())
        return [path for path in files if text.encode() in path.read_bytes()]


@dataclass(frozen=True, slots=True)
class FlowRun:
    """What Prefect's API says of a run, once it has written everything down."""

    server: PrefectServer
    id: str
    state: State[Any] | None = None  # as the caller got it

    @property
    def record(self) -> dict[str, Any]:
        (only,) = self.server.post("flow_runs/filter", flow_runs={"id": {"any_": [self.id]}})
        return dict(only)

    @property
    def ended_as(self) -> tuple[str, str]:
        """Type and name of the final state."""
        return self.record["state_type"], self.record["state_name"]

    @property
    def task_runs(self) -> list[dict[str, Any]]:
        """In the order of their start. Prefect records them one after the other, with a delay of some seconds."""
        wanted = {"id": {"any_": [self.id]}}
        changed, before = time.monotonic(), list[Any]()
        deadline = changed + _SETTLED_SECONDS
        while True:
            found = self.server.post("task_runs/filter", flow_runs=wanted, sort="EXPECTED_START_TIME_ASC")
            now = time.monotonic()
            if found != before:
                changed, before = now, found
            # Every flow's last task is the report, unless it was refused, or is not one of ours.
            whole = any(run["name"] == "report" for run in found) or now - changed > _QUIET_SECONDS
            settled = whole and all(run["state_type"] in (*_TERMINAL, "PENDING") for run in found)
            if settled or now > deadline:
                return list(found)
            time.sleep(0.3)

    @property
    def log(self) -> str:
        """All messages, up to the one about the final state."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            rows = self.server.post("logs/filter", logs={"flow_run_id": {"any_": [self.id]}}, sort="TIMESTAMP_ASC")
            text = "\n".join(row["message"] for row in rows)
            if any(not row["task_run_id"] and row["message"].startswith("Finished in state") for row in rows):
                return text
            if time.monotonic() > deadline:
                return text
            time.sleep(0.3)

    @property
    def errors(self) -> list[str]:
        """Messages of level ERROR, and whatever has a traceback."""
        assert self.log
        rows = self.server.post("logs/filter", logs={"flow_run_id": {"any_": [self.id]}})
        return [row["message"] for row in rows if row["level"] >= logging.ERROR or "Traceback" in row["message"]]

    @property
    def artifacts(self) -> dict[str, Any]:
        rows = self.server.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [self.id]}})
        return {row["key"]: row for row in rows}

    @property
    def table(self) -> list[dict[str, str]]:
        (key,) = [key for key in self.artifacts if key.endswith("-findings")]
        rows: list[dict[str, str]] = json.loads(self.artifacts[key]["data"])
        return rows

    @property
    def everything(self) -> str:
        """All that Prefect stored of the run."""
        return json.dumps([self.record, self.task_runs, self.log, self.artifacts])


RunFlow = Callable[..., FlowRun]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with own_server(tmp_path_factory.mktemp("prefect"), free_port()) as server:
        settings = {
            PREFECT_API_URL: server.api_url,
            PREFECT_HOME: server.home,
            PREFECT_LOGGING_TO_API_BATCH_INTERVAL: 0.2,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # each flow would wait up to a second for its end
        }
        # Prefect's own threads for logs and events know only the process-wide settings.
        with temporary_settings(settings), pytest.MonkeyPatch.context() as patch:
            patch.setattr("prefect.context.GLOBAL_SETTINGS_CONTEXT", get_settings_context())
            yield server
            APILogWorker.drain_all()  # what is still to be sent, while there is a server


@contextmanager
def own_server(directory: Path, port: int) -> Iterator[PrefectServer]:
    """A server with the settings that deployments/ gives it; its files are in the directory."""
    found = PrefectServer(f"http://127.0.0.1:{port}/api", directory / "home")
    lines = (CHECKOUT / "deployments" / "server.env").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    if not (found.home / "prefect.db").exists():
        found.home.mkdir(exist_ok=True)
        shutil.copyfile(_migrated_database(), found.home / "prefect.db")
    with server_process(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        log=directory / f"server-{uuid.uuid4().hex}.log",
        ready=lambda: _is_healthy(found),
        environment=inherited | settings | {"PREFECT_HOME": str(found.home), "PREFECT_UI_URL": found.ui_url},
        directory=directory,
        timeout_seconds=150,
    ):
        yield found


def _migrated_database() -> Path:
    """Prefect's migrations are more than half of the time that a new server starts in: a run does them once."""
    with warm.made_once("prefect.db") as (made, directory):
        if directory:
            home = directory / "home"
            command = ["-m", "prefect", "server", "database", "upgrade", "-y"]
            done = Program({"PREFECT_HOME": str(home)})(*command)
            assert done.exit_status == 0, done.stdout + done.stderr
            (home / "prefect.db").rename(made)
    return made


def _is_healthy(server: PrefectServer) -> bool:
    try:
        return requests.get(f"{server.api_url}/health", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture
def run_flow(prefect_server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFlow:
    """Run a flow in this process, against the server."""
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    # A second try comes at once.
    for task in ("list_versions", "resolve_version", "download_run_model", "download_reg_model", "compare"):
        module = "download" if task.startswith("download") else task
        monkeypatch.setattr(f"tasks.{module}.{task}.retry_delay_seconds", [0.01])

    def run(flow: Flow[..., Any], **parameters: Any) -> FlowRun:
        state = flow(**parameters, return_state=True)
        APILogWorker.drain_all()  # while what it writes to is there: some tests put a proxy before the server
        return FlowRun(prefect_server, str(state.state_details.flow_run_id), state)

    return run


@dataclass(frozen=True, slots=True)
class Approver:
    """Runs `accept-baseline` here, and gives the approval that it waits for."""

    run_flow: RunFlow
    server: PrefectServer

    def __call__(self, flow: Flow[..., Any], answer: Callable[[str], None] | None = None, **parameters: Any) -> FlowRun:
        """
        Args:
            answer: what is done with the run of this id once it waits, in place of approving it.
        """
        failed: list[Exception] = []

        def give_answer() -> None:
            run_id = paused_run(self.server)
            try:
                (answer or self.approve)(run_id)
            except Exception as error:
                failed.append(error)
                resume(self.server, run_id, name="nobody", reason="the test failed", versions=[])

        answering = threading.Thread(target=give_answer)
        answering.start()
        try:
            return self.run_flow(flow, **parameters)
        finally:
            answering.join(timeout=SECONDS)
            if failed:
                raise failed[0]

    def approve(self, run_id: str) -> None:
        assert resume(self.server, run_id, name="bob", reason="looked at it") == "ACCEPT"


def paused_run(server: PrefectServer) -> str:
    """The id of the run that waits for an approval, once there is one and it has its form."""
    found: list[dict[str, Any]] = []

    def waits() -> bool:
        found[:] = server.post("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["PAUSED"]}}})
        if not found:
            return False
        keys = found[0]["state"]["state_details"]["run_input_keyset"]
        return keys["schema"] in [row["key"] for row in _form(server, found[0]["id"])]

    wait_until(waits, timeout_seconds=SECONDS, what="no run waits for an approval")
    return str(found[0]["id"])


def _form(server: PrefectServer, run_id: str) -> list[dict[str, Any]]:
    return list(server.post(f"flow_runs/{run_id}/input/filter", prefix="", limit=10))


def resume(server: PrefectServer, run_id: str, **given: object) -> str:
    """What the server says to an answer to the form, with the form's own versions where none are given."""
    (run,) = server.post("flow_runs/filter", flow_runs={"id": {"any_": [run_id]}})
    key = run["state"]["state_details"]["run_input_keyset"]["schema"]
    (schema,) = [json.loads(row["value"]) for row in _form(server, run_id) if row["key"] == key]
    answer = {"versions": schema["properties"]["versions"]["default"]} | given
    return str(server.post(f"flow_runs/{run_id}/resume", run_input=answer)["status"])


@pytest.fixture
def approved_run(run_flow: RunFlow, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Approver:
    monkeypatch.setattr("flows.accept_baseline._LOOK_EVERY_SECONDS", 0.2)
    return Approver(run_flow, prefect_server)


@pytest.fixture
def registry(mlflow_local: MlflowServer) -> Registry:
    return Registry(mlflow_local)


@dataclass(frozen=True, slots=True)
class Ended:
    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Program:
    """Runs Python modules as processes of their own, in the checkout."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: str, **more: str) -> Ended:
        done = warm.run(
            [sys.executable, *arguments],
            imported=warm.FLOWS,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, **self.environment, **more},
            cwd=CHECKOUT,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return warm.Popen(
            [sys.executable, *arguments],
            imported=warm.FLOWS,
            env={**os.environ, **self.environment},
            cwd=CHECKOUT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def program(prefect_server: PrefectServer, tmp_path: Path) -> Program:
    own = {
        "REGISTRY_AUDIT_CACHE_DIR": str(tmp_path / "cache"),
        "REGISTRY_AUDIT_HOME": str(tmp_path / "home"),
        "REGISTRY_AUDIT_LEDGER": "none",
    }
    return Program(prefect_server.environment | own)


@pytest.fixture(scope="session")
def deployed(prefect_server: PrefectServer) -> PrefectServer:
    """The server with the work pool and every deployment of prefect.yaml."""
    program = Program(prefect_server.environment)
    created = program("-m", "prefect", "work-pool", "create", POOL, "--type", "process")
    assert created.exit_status == 0, created.stdout + created.stderr
    for command in (("prefect", "--no-prompt", "deploy", "--all"), ("flows.strict_forms",)):
        done = program("-m", *command)
        assert done.exit_status == 0, done.stdout + done.stderr
    return prefect_server


@contextmanager
def worker_of(program: Program, log: Path, **environment: str) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    with log.open("wb") as output:
        process = warm.Popen(
            command,
            env={**os.environ, **program.environment, **environment},
            cwd=CHECKOUT,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def processes_of(flow_run_id: str) -> list[psutil.Process]:
    """Those that a worker started for a flow run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == flow_run_id:
                found.append(process)
    return found


@dataclass(frozen=True, slots=True)
class Worker:
    """A process worker that knows the tracking server, and nothing else does."""

    home: Path
    log: Path


@pytest.fixture(scope="module")  # of a test that comes later it would take up the runs
def worker(
    deployed: PrefectServer, mlflow_local: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("worker")
    own = deployed.environment | {
        "MLFLOW_TRACKING_URI": mlflow_local.uri,
        "REGISTRY_AUDIT_CACHE_DIR": str(directory / "cache"),
        "REGISTRY_AUDIT_HOME": str(directory / "home"),
        "REGISTRY_AUDIT_LEDGER": "none",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    }
    with server_process(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"],
        log=directory / "worker.log",
        ready=lambda: bool(deployed.post(f"work_pools/{POOL}/workers/filter")),
        environment={**os.environ, **own},
        directory=CHECKOUT,
    ):
        yield Worker(directory / "home", directory / "worker.log")
