"""deployments/README.md, typed command by command: real servers, a real worker, and audits that never overlap."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from support.postgres import postgres_database
from support.processes import free_port, server_process, wait_until
from support.registry import Registry
from support.servers import mlflow_server

from flows.registry_lock import limit_name

from .conftest import CHECKOUT, FlowRun, PrefectServer

README = (CHECKOUT / "deployments" / "README.md").read_text(encoding="utf-8")
MORE = "".join(
    (CHECKOUT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for page in ("configuring", "containers", "on-registration", "prefect-events")
)
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "# Not run by "
STAYS = ("prefect server start", "prefect worker start")
FOREIGN = ("PREFECT_", "MLFLOW_TRACKING", "MLFLOW_REGISTRY", "REGISTRY_AUDIT_")
ENV_FILE = "registry-audit.env"
COMMAND_SECONDS = 200
RUN_SECONDS = 200


def blocks() -> list[tuple[str, ...]]:
    """The commands of each console block that a test runs."""
    texts = [match["text"] for match in BLOCK.finditer(README + MORE) if match["language"] == "console"]
    return [
        tuple(line.removeprefix("$ ") for line in text.splitlines()) for text in texts if not text.startswith(NOT_RUN)
    ]


def test_every_block_is_run_or_says_that_it_is_not() -> None:
    assert {match["language"] for match in BLOCK.finditer(README)} == {"console"}
    assert len(README.splitlines()) < 250
    for match in (match for match in BLOCK.finditer(README + MORE) if match["language"] == "console"):
        lines = match["text"].splitlines()
        commands = lines[1:] if lines[0].startswith(NOT_RUN) else lines
        assert commands
        assert all(line.startswith("$ ") for line in commands), lines
    assert [command for block in blocks() for command in block if command.startswith("prefect server start")]


@dataclass
class Desk:
    """The three terminals of the README: what was typed, what it printed, and what stays."""

    home: Path
    prefect_port: int
    mlflow_uri: str
    ledger_url: str
    stack: ExitStack
    exports: list[str] = field(default_factory=list)
    printed: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> PrefectServer:
        return PrefectServer(f"http://127.0.0.1:{self.prefect_port}/api", self.home / ".prefect")

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return own | {"HOME": str(self.home), "PATH": path, "COLUMNS": "200", "NO_COLOR": "1"}

    def follow(self, block: tuple[str, ...]) -> None:
        commands = [command.replace("4200", str(self.prefect_port)) for command in block]
        if commands[-1].startswith(STAYS):
            self._stay(commands)
            return
        for command in commands:
            self.type(command)
            if command.startswith("export "):
                self.exports.append(command)
            if command.endswith(ENV_FILE):
                self._fill_in()

    def type(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", "\n".join([*self.exports, command])],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        self.printed[command] = done.stdout
        return done.stdout

    def _fill_in(self) -> None:
        """What step 5 asks for, in the copied file."""
        file = self.home / ENV_FILE
        assert file.stat().st_mode & 0o777 == 0o600
        text = (
            file.read_text().replace("4200", str(self.prefect_port)).replace("http://127.0.0.1:5000", self.mlflow_uri)
        )
        text, count = re.subn(
            r"^#REGISTRY_AUDIT_LEDGER=.*$", f"REGISTRY_AUDIT_LEDGER={self.ledger_url}", text, flags=re.M
        )
        assert count == 1
        # Not in the README: a worker that asks sooner than every 10 s.
        file.write_text(text + f"REGISTRY_AUDIT_CACHE_DIR={self.home}/cache\nPREFECT_WORKER_QUERY_SECONDS=2\n")

    def _stay(self, commands: list[str]) -> None:
        is_server = "server" in commands[-1]
        *before, last = commands
        self.stack.enter_context(
            server_process(
                ["bash", "-ec", "\n".join([*self.exports[:1], *before, f"exec {last}"])],
                log=self.home / ("server.log" if is_server else "worker.log"),
                ready=self._serves if is_server else self._polls,
                environment=self.environment,
                directory=CHECKOUT,
                timeout_seconds=120,
            )
        )

    def _serves(self) -> bool:
        try:
            return requests.get(f"{self.server.api_url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _polls(self) -> bool:
        return bool(self.server.post("work_pools/registry-audit/workers/filter"))

    def start(self, name: str, **parameters: object) -> FlowRun:
        route = f"deployments/{self.server.deployment(name)['id']}/create_flow_run"
        created = self.server.post(route, parameters=parameters)
        return FlowRun(self.server, created["id"])

    def finished(self, runs: list[FlowRun]) -> list[tuple[str, str]]:
        """When each of them worked, once all are over and clean, the first one first. ISO times in UTC sort as text."""

        def over() -> bool:
            return all(run.ended_as[0] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") for run in runs)

        wait_until(over, timeout_seconds=RUN_SECONDS, what="runs are not over")
        assert [run.ended_as for run in runs] == [("COMPLETED", "Completed")] * len(runs), [run.log for run in runs]
        return sorted((run.task_runs[0]["start_time"], run.task_runs[-1]["end_time"]) for run in runs)


def apart(times: list[tuple[str, str]]) -> bool:
    return all(ended <= started for (_, ended), (started, _) in pairwise(times))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[Desk]:
    """The README followed to its end, with its server and worker still there."""
    with ExitStack() as stack:
        ledger_url = stack.enter_context(postgres_database())
        mlflow = stack.enter_context(mlflow_server(tmp_path_factory.mktemp("mlflow")))
        Registry(mlflow).add("Wine-Quality", separate=True)
        found = Desk(tmp_path_factory.mktemp("home"), free_port(), mlflow.uri, ledger_url, stack)
        for block in blocks():
            found.follow(block)
        yield found


@contextmanager
def without_limit(desk: Desk) -> Iterator[None]:
    limit = limit_name(desk.mlflow_uri)
    desk.type(f"prefect gcl update {limit} --disable")
    try:
        yield
    finally:
        desk.type(f"prefect gcl update {limit} --enable")


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(600)
class TestFollowed:
    def test_every_deployment_is_listed(self, desk: Desk) -> None:
        named = re.findall(r"^\| `([\w-]+/[\w-]+)` \|", README, flags=re.MULTILINE)
        assert len(named) == 10
        listed = desk.printed["prefect deployment ls"]
        assert [name for name in named if name not in listed] == []
        assert len(desk.server.post("deployments/filter")) == len(named)

    def test_every_run_completed_and_the_ledger_holds_what_the_first_one_accepted(self, desk: Desk) -> None:
        watched = [output for command, output in desk.printed.items() if command.endswith("--watch")]
        assert len(watched) == 1
        assert all("finished successfully" in output for output in watched)
        submitted = [output for command, output in desk.printed.items() if "--submit" in command]
        assert len(submitted) == 4
        assert all("\nCompleted: " in output for output in submitted)
        environment = f"set -a; . ~/{ENV_FILE}; set +a"
        assert "Wine-Quality/1" in desk.type(f"{environment}; registry-audit baseline list")

    def test_the_schedules_of_prefect_yaml_arrived(self, desk: Desk) -> None:
        for name, cron in (("nightly", "0 2 * * MON-SAT"), ("weekly-full", "0 2 * * SUN"), ("ad-hoc", None)):
            found = desk.server.deployment(f"audit-registry/{name}")
            assert found["global_concurrency_limit"] is None
            assert found["work_queue_name"] == "audits"
            schedules = [(s["schedule"]["cron"], s["schedule"]["timezone"], s["active"]) for s in found["schedules"]]
            assert schedules == ([(cron, "UTC", True)] if cron else [])

    def test_deploying_again_changes_nothing(self, desk: Desk) -> None:
        ids = {d["id"] for d in desk.server.post("deployments/filter")}
        desk.type("deployments/deploy.sh")
        assert {d["id"] for d in desk.server.post("deployments/filter")} == ids

    def test_a_schedule_fires(self, desk: Desk) -> None:
        route = f"deployments/{desk.server.deployment('audit-registry/nightly')['id']}/schedules"
        every_minute = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
        (schedule,) = desk.server.ask("POST", route, [every_minute]).json()
        completed = {"tags": {"all_": ["auto-scheduled"]}, "state": {"type": {"any_": ["COMPLETED"]}}}
        try:
            wait_until(
                lambda: bool(desk.server.post("flow_runs/filter", flow_runs=completed)),
                timeout_seconds=RUN_SECONDS,
                what="no scheduled run has completed",
            )
        finally:
            desk.server.delete(f"{route}/{schedule['id']}")

    def test_audits_of_different_deployments_wait_for_each_other(self, desk: Desk) -> None:
        """And do not where the limit is switched off: else this would show nothing."""
        names = ["audit-registry/nightly", "audit-registry/weekly-full", "audit-registry/ad-hoc"]

        def times() -> list[tuple[str, str]]:
            # Longer than a process takes to start on a busy machine: else they may be apart by chance.
            return desk.finished([desk.start(name, max_bytes_per_second=1_500) for name in names])

        assert apart(times())
        with without_limit(desk):
            assert not apart(times())
