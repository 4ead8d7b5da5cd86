"""`python -m flows.audit_registry` beside `registry-audit audit`: the same options, text, files and exit status."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import damage, warm
from support.processes import wait_until
from support.registry import Registry
from support.servers import MlflowServer

from flows.audit_registry import audit_registry

from .conftest import CHECKOUT, FlowRun, PrefectServer, Program, RunFlow

CLEAN, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130
FLOW, COMMAND = ("-m", "flows.audit_registry"), ("-m", "registry_audit", "audit")


def _report(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "audit.json").read_text(encoding="utf-8"))
    return content


def _without_times(text: str) -> str:
    # With seconds; or without, as for people: two runs may have a minute's end between them.
    moment = r"\d{4}\\?-\d\d\\?-\d\d[T ]\d\d\\?:\d\d(\\?:\d\d(Z| UTC)?| UTC)"
    # How long a version took is known to the command alone: a flow's steps are task runs of many versions.
    took = r'(?<="seconds": )([\d.e-]+|null)|(?<= time=")[\d.]+'
    return re.sub(f"{moment}|{took}", "TIME", text)


def _mixed_models(registry: Registry) -> str:
    """A match, a mismatch, a version in one storage and one that cannot be read; returns a glob for their name."""
    name = registry.new_name()
    registry.add(name, seed=1, separate=True)
    broken = registry.add(name, seed=2, separate=True)
    registry.add(name, seed=3)
    unsafe = registry.add(name, seed=4)
    with registry.server.artifacts.edit(broken.reg_location) as directory:
        damage.flip_byte(directory)
    with registry.server.artifacts.edit(unsafe.reg_location) as directory:
        damage.symlink_out(directory)
    return name


def test_the_flow_and_the_command_say_the_same(program: Program, registry: Registry, tmp_path: Path) -> None:
    name = _mixed_models(registry)
    ended, files = {}, {}
    for how in (FLOW, COMMAND):
        directory = tmp_path / how[1]
        arguments = ("--tracking-uri", registry.server.uri, "--model", name, "--report-dir", str(directory))
        ended[how] = program(*how, *arguments)
        files[how] = {path.name: _without_times(path.read_text(encoding="utf-8")) for path in directory.iterdir()}
    assert ended[FLOW].exit_status == ended[COMMAND].exit_status == FINDINGS
    assert _without_times(ended[FLOW].stdout) == _without_times(ended[COMMAND].stdout)
    assert files[FLOW] == files[COMMAND]
    assert set(files[FLOW]) == {"audit.json", "audit.html", "audit.md", "junit.xml"}
    said = [line for line in _said(ended[FLOW].stderr) if not line.startswith("wrote ")]
    assert said == [_listed_line(ended[COMMAND].stderr)]


def _said(stderr: str) -> list[str]:
    """Without progress, and without what the listing notes of prompts that other tests left in the registry."""
    return [line for line in stderr.splitlines() if "versions, " not in line and "prompt" not in line]


def _listed_line(stderr: str) -> str:
    (line,) = (line for line in stderr.splitlines() if "versions to audit in" in line)
    return line


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--model", "not-there"), USAGE, "there is no registered model 'not-there'"),
        (("--subset", "9/2"), USAGE, "--subset is n/t"),
    ],
)
def test_a_wrong_request(
    program: Program, registry: Registry, arguments: tuple[str, ...], status: int, message: str
) -> None:
    ended = program(*FLOW, "--tracking-uri", registry.server.uri, *arguments)
    assert (ended.exit_status, ended.stdout) == (status, "")
    (line,) = ended.stderr.splitlines()
    assert message in line


def test_no_secret_stays_anywhere(
    program: Program, prefect_server: PrefectServer, mlflow_a: MlflowServer, tmp_path: Path
) -> None:
    version = Registry(mlflow_a).add()
    uri = f"http://bob:s3cr3t-of-command@{mlflow_a.host}"
    ended = program(*FLOW, "--tracking-uri", uri, "--model", version.name, "--report-dir", str(tmp_path / "report"))
    assert ended.exit_status == CLEAN, ended.stderr
    seen = [ended.stdout, ended.stderr]
    seen += [path.read_text(encoding="utf-8") for path in (tmp_path / "report").iterdir()]
    assert "http://127.0.0.1" in ended.stdout
    assert not any("s3cr3t-of-command" in text for text in seen)
    assert prefect_server.files_with("s3cr3t-of-command") == []
    assert prefect_server.files_with(version.name) != []  # the search itself finds things


def test_no_secret_of_the_environment_is_in_an_error(run_flow: RunFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:s3cr3t-of-worker@127.0.0.1:1")
    run = run_flow(audit_registry, ledger="none")
    assert run.ended_as == ("FAILED", "Incomplete")
    assert "could not reach the tracking server http://127.0.0.1:1" in run.record["state"]["message"]
    assert "Traceback" not in run.log
    assert run.server.files_with("s3cr3t-of-worker") == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


def test_on_an_embedded_server_the_console_stays_clean(program: Program, registry: Registry, tmp_path: Path) -> None:
    version = registry.add(separate=True)
    home = tmp_path / "fresh"
    ended = program(
        *FLOW,
        "--tracking-uri",
        registry.server.uri,
        "--model",
        version.name,
        PREFECT_API_URL="",
        PREFECT_HOME=str(home),
    )
    assert ended.exit_status == CLEAN, ended.stderr
    assert ended.stdout.startswith("1 version without a finding is not listed")
    assert _said(ended.stderr) == [_listed_line(ended.stderr)]
    assert (home / "prefect.db").is_file()


# ---- interrupted and resumed

_SLOW = """
import sys
from flows.audit_registry import audit_registry
audit_registry(tracking_uri=sys.argv[1], models=[sys.argv[2]], audit_id="resumed", ledger="none",
               batch_size=2, workers=1, return_state=True)
"""
_VERSIONS = 24


@pytest.fixture
def long_model(registry: Registry) -> str:
    """The name of a model whose audit takes long enough to be stopped half-way."""
    name = registry.new_name()
    logged = [registry.log_run_model(seed=seed, files={"more.bin": b"x" * 4_000_000}) for seed in range(_VERSIONS)]
    for one in logged:
        registry.add(name, logged=one)
    return name


def test_a_killed_flow_is_resumed_without_reading_again(
    program: Program, run_flow: RunFlow, registry: Registry, long_model: str, tmp_path: Path
) -> None:
    readings = tmp_path / "cache" / "audits" / "resumed" / "readings.jsonl"
    process = program.start("-c", _SLOW, registry.server.uri, long_model)
    try:
        wait_until(lambda: _lines(readings) >= 3, timeout_seconds=60, what="three readings")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    kept = _lines(readings)
    assert 3 <= kept < _VERSIONS, "it was killed too late"

    run = run_flow(
        audit_registry,
        tracking_uri=registry.server.uri,
        models=[long_model],
        audit_id="resumed",
        ledger="none",
        report_dir=str(tmp_path / "resumed"),
    )
    assert run.ended_as == ("COMPLETED", "Completed")
    (said,) = re.findall(r"^(\d+) versions were read before this run, from \S+Z on$", run.log, re.MULTILINE)
    assert int(said) == kept
    assert not readings.exists()

    fresh = run_flow(
        audit_registry,
        tracking_uri=registry.server.uri,
        models=[long_model],
        ledger="none",
        report_dir=str(tmp_path / "fresh"),
    )
    assert fresh.ended_as == ("COMPLETED", "Completed")
    reports = [_report(tmp_path / which) | {"generated_at": ""} for which in ("resumed", "fresh")]
    times = [[version.pop("read_at") for version in report["versions"]] for report in reports]
    assert all(version["seconds"] is None for report in reports for version in report["versions"])
    assert reports[0] == reports[1]
    assert max(times[0][:kept]) < min(times[1])


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_resume(
    prefect_server: PrefectServer, program: Program, registry: Registry, long_model: str, tmp_path: Path, number: int
) -> None:
    report = tmp_path / "report"
    command = [*FLOW, "--tracking-uri", registry.server.uri, "--model", long_model, "--workers", "1"]
    process = warm.Popen(
        [sys.executable, *command, "--report-dir", str(report)],
        env={**os.environ, **program.environment},
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    audits = tmp_path / "cache" / "audits"
    wait_until(lambda: any(map(_lines, audits.glob("*/readings.jsonl"))), timeout_seconds=60, what="a reading")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert "not reached" in stdout
    document = json.loads((report / "audit.json").read_text())
    assert document["outcome"] == {"exit_status": INTERRUPTED, "state": "incomplete"}
    assert document["coverage"]["not_reached"] == _VERSIONS - len(document["versions"])
    assert f"--audit-id {next(audits.iterdir()).name}" in stderr
    assert "Traceback" not in stderr
    # Deployments of other tests have runs scheduled for the nights to come.
    begun = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
    (found,) = prefect_server.post("flow_runs/filter", flow_runs=begun, sort="START_TIME_DESC", limit=1)
    assert FlowRun(prefect_server, found["id"]).ended_as == ("CRASHED", "Crashed")
