"""`--submit`: the command starts a deployment's run, follows it, and ends as the run did."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import damage, warm
from support.processes import free_port, wait_until
from support.registry import Registry

from registry_audit.cli.submit.server import PrefectServer as RestServer
from registry_audit.cli.submit.server import RunState, exit_status_of
from registry_audit.verdict import ExitStatus

from .conftest import SECONDS, Ended, FlowRun, PrefectServer, Worker

CLEAN, FINDINGS, USAGE, INCOMPLETE, LEDGER, INTERRUPTED = 0, 1, 2, 3, 4, 130
AUDIT = ("audit", "--submit")
CONFIG = """
tracking_server_1: {{host: "{host}", model: "{model}", version_or_stage: 1}}
tracking_server_2: {{host: "{host}", model: "{model}", version_or_stage: {second}}}
"""


class Terminal:
    """A machine with the wheel alone: no checkout, no Prefect in reach of the program, no MLflow server of its own."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        own = {"PREFECT_HOME": str(directory / "nothing-here"), "REGISTRY_AUDIT_HOME": str(directory / "home")}
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "REGISTRY_AUDIT_LEDGER"))}
        self.environment = inherited | own | environment

    def command(self, *arguments: str) -> list[str]:
        no_prefect = "import sys; sys.modules['prefect'] = None; from registry_audit.cli.main import main; main()"
        return [sys.executable, "-c", no_prefect, *arguments]

    def __call__(self, *arguments: str, seconds: float = SECONDS, **more: str) -> Ended:
        done = warm.run(
            self.command(*arguments),
            imported=warm.PROGRAMS,
            cwd=self.directory,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def terminal(tmp_path: Path, prefect_server: PrefectServer) -> Terminal:
    return Terminal(tmp_path, {"PREFECT_API_URL": prefect_server.api_url})


def started_run(server: PrefectServer, ended: Ended) -> FlowRun:
    (run_id,) = re.findall(r"^started \S+/runs/flow-run/([0-9a-f-]{36})$", ended.stderr, re.MULTILINE)
    return FlowRun(server, run_id)


def count_runs(server: PrefectServer) -> int:
    """Those that somebody started: the schedules of the deployments make others meanwhile."""
    return sum(not run["auto_scheduled"] for run in server.post("flow_runs/filter"))


class TestNothingIsStarted:
    """Wrong requests are refused here, before anything is sent: one line, exit status 2."""

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((*AUDIT, "--subset", "9/2"), "--subset is n/t"),
            ((*AUDIT, "--full-every", "3"), "--full-every needs --quick"),
            ((*AUDIT, "--ledger", "none", "--quick"), "--quick and --accept-new need a ledger"),
            ((*AUDIT, "--report-dir", "report"), "--report-dir report: with --submit it is on the worker's machine"),
            ((*AUDIT, "--tracking-uri", "http://bob:s3cret-typed@host"), "--tracking-uri holds credentials"),
            ((*AUDIT, "--ledger", "postgresql://bob:s3cret-typed@host/db"), "--ledger holds credentials"),
            (
                (*AUDIT, "--deployment", "check-model-version/ad-hoc"),
                "this command starts deployments of audit-registry",
            ),
            (("audit", "--deployment", "nightly"), "it needs --submit"),
            (("check", "--submit", "--model", "m", "--version-or-stage", "champion"), "is not a version"),
            (("compare", "--submit", "--config-file", "/no/such.yaml"), "--config-file /no/such.yaml cannot be read"),
            (("compare", "--submit", "Wine/1", "Wine/2"), "named in a file: give --config-file"),
            (("baseline", "accept", "--submit", "--reason", "r", "Wine"), "'Wine' is not a version"),
        ],
    )
    def test_a_contradiction(
        self, deployed: PrefectServer, terminal: Terminal, arguments: tuple[str, ...], says: str
    ) -> None:
        before = count_runs(deployed)
        ended = terminal(*arguments)
        assert (ended.exit_status, ended.stdout) == (USAGE, "")
        assert says in ended.stderr.splitlines()[-1]
        assert "s3cret-typed" not in ended.stderr
        assert count_runs(deployed) == before

    def test_an_unknown_deployment_names_those_there_are(self, deployed: PrefectServer, terminal: Terminal) -> None:
        ended = terminal(*AUDIT, "--deployment", "hourly")
        assert ended.exit_status == USAGE
        assert "has no deployment audit-registry/hourly; there are" in ended.stderr
        assert "audit-registry/nightly" in ended.stderr

    def test_a_configuration_with_a_password(self, terminal: Terminal, tmp_path: Path) -> None:
        file = tmp_path / "compare.yaml"
        file.write_text(CONFIG.format(host="http://bob:s3cret-in-file@host", model="m", second=2))
        ended = terminal("compare", "--submit", "--config-file", str(file))
        assert ended.exit_status == USAGE
        assert "name variables of the worker in username_env" in ended.stderr
        assert "s3cret-in-file" not in ended.stderr


class TestTheServer:
    def test_none_is_configured(self, terminal: Terminal) -> None:
        ended = terminal(*AUDIT, PREFECT_API_URL="")
        assert ended.exit_status == USAGE
        assert "which Prefect server? Set PREFECT_API_URL" in ended.stderr

    @pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/api", "ftp://127.0.0.1/api", "nonsense"])
    def test_it_cannot_be_reached(self, terminal: Terminal, url: str) -> None:
        ended = terminal(*AUDIT, PREFECT_API_URL=url.format(port=free_port()))
        assert ended.exit_status == USAGE
        (line,) = ended.stderr.splitlines()
        assert "PREFECT_API_URL" in line

    def test_its_pages_are_not_its_api(self, terminal: Terminal, prefect_server: PrefectServer) -> None:
        ended = terminal(*AUDIT, PREFECT_API_URL=prefect_server.api_url.removesuffix("/api"))
        assert ended.exit_status == USAGE
        assert "does PREFECT_API_URL end with /api?" in ended.stderr

    def test_it_is_found_in_the_active_profile(
        self, terminal: Terminal, deployed: PrefectServer, tmp_path: Path
    ) -> None:
        profiles = tmp_path / "profiles.toml"
        profiles.write_text(
            f'active = "here"\n[profiles.here]\nPREFECT_API_URL = "{deployed.api_url}"\n'
            '[profiles.there]\nPREFECT_API_URL = "http://127.0.0.1:1/api"\n'
        )
        asked = ("--deployment", "hourly")
        given = {"PREFECT_API_URL": "", "PREFECT_PROFILES_PATH": str(profiles)}
        assert "has no deployment" in terminal(*AUDIT, *asked, **given).stderr
        assert (
            "could not ask the Prefect server http://127.0.0.1:1/api"
            in terminal(*AUDIT, *asked, **given, PREFECT_PROFILE="there").stderr
        )
        assert "has no such profile" in terminal(*AUDIT, *asked, **given, PREFECT_PROFILE="nowhere").stderr

    def test_cloud_pages(self) -> None:
        server = RestServer({"PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a1/workspaces/w1"})
        assert server.page_of("r1") == "https://app.prefect.cloud/account/a1/workspace/w1/runs/flow-run/r1"


@pytest.mark.parametrize(
    ("type", "name", "status"),
    [
        ("COMPLETED", "Completed", ExitStatus.CLEAN),
        ("COMPLETED", "Cached", ExitStatus.INCOMPLETE),
        ("COMPLETED", "Findings", ExitStatus.INCOMPLETE),
        ("FAILED", "Completed", ExitStatus.INCOMPLETE),
        ("FAILED", "Findings", ExitStatus.FINDINGS),
        ("FAILED", "Incomplete", ExitStatus.INCOMPLETE),
        ("FAILED", "Ledger", ExitStatus.LEDGER),
        ("FAILED", "Refused", ExitStatus.USAGE),
        ("FAILED", "Failed", ExitStatus.INCOMPLETE),
        ("CRASHED", "Crashed", ExitStatus.INCOMPLETE),
        ("CANCELLED", "Cancelled", ExitStatus.INCOMPLETE),
    ],
)
def test_only_what_a_flow_of_ours_says_is_clean(type: str, name: str, status: ExitStatus) -> None:
    assert exit_status_of(RunState(type, name, "")) == status


@pytest.mark.slow
class TestAWorkerTakesIt:
    def test_a_clean_audit(
        self, worker: Worker, deployed: PrefectServer, terminal: Terminal, registry: Registry, tmp_path: Path
    ) -> None:
        version = registry.add(separate=True)
        report_dir = tmp_path / "report"
        ended = terminal(
            *AUDIT, "--model", version.name, "--report-dir", str(report_dir), MLFLOW_TRACKING_URI="http://x"
        )
        assert ended.exit_status == CLEAN, ended.stderr
        run = started_run(deployed, ended)
        assert run.record["parameters"] == {"models": [version.name], "report_dir": str(report_dir)}
        assert ended.stdout == run.artifacts["registry-audit-summary"]["data"].rstrip("\n") + "\n"
        assert "MLFLOW_TRACKING_URI of this terminal is not sent" in ended.stderr
        assert f"--report-dir {report_dir} is on the machine of the worker" in ended.stderr
        assert re.search(r"INFO audit \S+: 1 of \d+ versions in ", ended.stderr)
        assert "\nRunning\n" in ended.stderr
        assert "100 % done" in ended.stderr
        assert json.loads((report_dir / "audit.json").read_text())["coverage"]["audited"] == 1

    def test_findings_and_incomplete(self, worker: Worker, terminal: Terminal, registry: Registry) -> None:
        broken, unsafe = registry.add(separate=True), registry.add()
        with registry.server.artifacts.edit(broken.reg_location) as directory:
            damage.flip_byte(directory)
        with registry.server.artifacts.edit(unsafe.reg_location) as directory:
            damage.symlink_out(directory)
        findings = terminal(*AUDIT, "--model", broken.name, "--quiet")
        assert (findings.exit_status, "RA001" in findings.stdout) == (FINDINGS, True), findings.stderr
        assert "INFO" not in findings.stderr
        fails_on = ("--fail-on", "critical", "--deployment", "audit-registry/ad-hoc")
        incomplete = terminal(*AUDIT, "--model", unsafe.name, *fails_on)
        assert incomplete.exit_status == INCOMPLETE, incomplete.stderr
        assert "\nIncomplete: " in incomplete.stderr

    def test_what_only_the_flow_can_know_is_wrong(self, worker: Worker, terminal: Terminal, registry: Registry) -> None:
        registry.add()
        ended = terminal(*AUDIT, "--model", "not-there")
        assert ended.exit_status == USAGE
        assert ended.stdout.startswith("Refused: there is no registered model 'not-there'")

    def test_an_unusable_ledger(self, worker: Worker, terminal: Terminal, registry: Registry, tmp_path: Path) -> None:
        version = registry.add()
        ended = terminal(*AUDIT, "--model", version.name, "--ledger", f"sqlite:///{tmp_path / 'missing.db'}")
        assert ended.exit_status == LEDGER, ended.stderr

    def test_the_other_commands(
        self, worker: Worker, deployed: PrefectServer, terminal: Terminal, registry: Registry, tmp_path: Path
    ) -> None:
        version = registry.add(separate=True)
        registry.add(version.name, seed=2)
        name, uri = version.name, registry.server.uri
        checked = terminal("check", "--submit", "--model", name, "--version-or-stage", "1")
        assert checked.exit_status == CLEAN, checked.stderr
        assert checked.stdout.startswith(f"# {name}/1".replace("-", "\\-").replace("_", "\\_")), checked.stdout

        file = tmp_path / "compare.yaml"
        file.write_text(CONFIG.format(host=uri, model=name, second=2))
        named = ("--registry-name", "prod", "--ledger", "none")
        compared = terminal("compare", "--submit", "--config-file", str(file), "--skip-compare-run-models", *named)
        assert compared.exit_status == FINDINGS, compared.stderr
        given = started_run(deployed, compared).record["parameters"]
        assert given["compare_run_models"] is False
        assert given["ledger"] == "none"
        assert "no ledger was used, so nothing was remembered" in compared.stderr + compared.stdout
        assert given["tracking_server_2"] == {
            "host": uri,
            "model": name,
            "version_or_stage": "2",
            "registry_name": "prod",
        }

        ledger = ("--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")
        assert terminal(*AUDIT, "--model", name, "--accept-new", *ledger).exit_status == CLEAN
        # Accepting itself is an approval: see `test_accepting`.
        accept = ("baseline", "accept", "--submit", f"{name}/1", "--reason", "as released", *ledger)
        would = terminal(*accept, "--dry-run")
        said = would.stdout + would.stderr
        assert (would.exit_status, "would accept 1 version;" in said) == (CLEAN, True), said
        assert started_run(deployed, would).record["parameters"]["by"].count("@") == 1

    def test_the_predecessor_s_programs(self, worker: Worker, terminal: Terminal, registry: Registry) -> None:
        version = registry.add(separate=True)
        program = "from registry_audit.cli.main import check_model_version as main; main()"
        arguments = ["--submit", "--model", version.name, "--version-or-stage", "latest"]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=terminal.environment,
            cwd=terminal.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == CLEAN, done.stderr


@pytest.mark.slow
class TestNobodyTakesIt:
    """The run is followed while a test does to it what else may happen."""

    @contextmanager
    def following(
        self, server: PrefectServer, terminal: Terminal, **how: object
    ) -> Iterator[tuple["subprocess.Popen[str]", str]]:
        """The command, and the run it started: of a deployment in a pool that has no worker."""
        pool = {"name": f"nobody-{time.monotonic_ns()}", "type": "process"}
        server.post("work_pools/", **pool)
        flow = server.post("flows/", name="audit-registry")
        deployment = server.post("deployments/", name=pool["name"], flow_id=flow["id"], work_pool_name=pool["name"])
        process = warm.Popen(
            terminal.command(*AUDIT, "--deployment", pool["name"]),
            imported=warm.PROGRAMS,
            env=terminal.environment,
            cwd=terminal.directory,
            stdout=subprocess.PIPE,
            text=True,
            **{"stderr": subprocess.PIPE, **how},
        )
        which = {"deployments": {"id": {"any_": [deployment["id"]]}}}
        with process:
            try:
                wait_until(lambda: bool(server.post("flow_runs/filter", **which)), timeout_seconds=60, what="no run")
                yield process, server.post("flow_runs/filter", **which)[0]["id"]
            finally:
                process.kill()

    def end(self, server: PrefectServer, run_id: str, **state: str) -> None:
        server.post(f"flow_runs/{run_id}/set_state", state=state, force=True)

    @pytest.mark.parametrize(
        ("state", "says"),
        [
            (
                {"type": "CANCELLED", "message": "by \x1b[2J hand"},
                "was cancelled before its work was done: by \\x1b[2J hand",
            ),
            ({"type": "CRASHED", "message": "killed"}, "the process of the run ended before its work was done: killed"),
            ({"type": "FAILED", "message": "boom"}, "the run failed for a reason that is not in the registry: boom"),
            ({"type": "COMPLETED", "name": "Marked"}, "the run ended in a state that is none of an audit's: Marked"),
        ],
    )
    def test_it_ends_otherwise(
        self, deployed: PrefectServer, terminal: Terminal, state: dict[str, str], says: str
    ) -> None:
        with self.following(deployed, terminal) as (process, run_id):
            self.end(deployed, run_id, **state)
            _, stderr = process.communicate(timeout=SECONDS)
        assert process.returncode == INCOMPLETE, stderr
        assert stderr.splitlines()[-1].endswith(says)

    def test_it_is_deleted(self, deployed: PrefectServer, terminal: Terminal) -> None:
        with self.following(deployed, terminal) as (process, run_id):
            deployed.delete(f"flow_runs/{run_id}")
            _, stderr = process.communicate(timeout=SECONDS)
        assert process.returncode == INCOMPLETE
        assert "somebody deleted the run" in stderr

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_it_leaves_the_run_and_says_how_to_cancel(
        self, deployed: PrefectServer, terminal: Terminal, number: int
    ) -> None:
        with self.following(deployed, terminal, stdin=subprocess.DEVNULL) as (process, run_id):
            process.send_signal(number)
            _, stderr = process.communicate(timeout=SECONDS)
        assert process.returncode == INTERRUPTED
        assert f"the run goes on; to cancel it: prefect flow-run cancel {run_id}" in stderr
        assert FlowRun(deployed, run_id).ended_as[0] == "SCHEDULED"

    @pytest.mark.parametrize(("answer", "state"), [("y", "CANCELLING"), ("\n", "SCHEDULED")])
    def test_a_person_is_asked(self, deployed: PrefectServer, terminal: Terminal, answer: str, state: str) -> None:
        pytest.importorskip("pty")
        ours, theirs = pty.openpty()  # closed by nobody: reading one that is closed hangs up the program
        with self.following(deployed, terminal, stdin=theirs, stderr=theirs) as (process, run_id):
            shown = b""
            while b"Scheduled" not in shown:
                shown += os.read(ours, 4096)
            process.send_signal(signal.SIGINT)
            while b"Cancel the run too? [y/N]" not in shown:
                shown += os.read(ours, 4096)
            os.write(ours, f"{answer}\n".encode())
            assert process.wait(timeout=SECONDS) == INTERRUPTED
        assert FlowRun(deployed, run_id).ended_as[0] in (state, "CANCELLED" if answer == "y" else state)
