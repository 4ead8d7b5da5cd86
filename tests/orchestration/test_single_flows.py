"""`check-model-version` and `compare-model-versions` on a real Prefect server, beside the commands of those names."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import damage
from support.ledgers import tamper
from support.registry import Registered, Registry

from flows.audit_registry import audit_registry as audit_registry_flow
from flows.check_model_version import check_model_version
from flows.compare_model_versions import compare_model_versions
from registry_audit.api import audit_registry
from registry_audit.audit.options import AuditOptions
from registry_audit.ledger.store import Ledger
from registry_audit.printable import markdown

from .conftest import FlowRun, Program, RunFlow


def _damage(registry: Registry, version: Registered) -> None:
    with registry.server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content["System"].pop("utc_time")
    return content


def _check(run_flow: RunFlow, registry: Registry, version: Registered, which: str = "1", **more: Any) -> FlowRun:
    return run_flow(
        check_model_version, model=version.name, version_or_stage=which, tracking_uri=registry.server.uri, **more
    )


def test_check_clean(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    version = registry.add(separate=True)
    run = _check(run_flow, registry, version, download_dir=str(tmp_path))
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run.record["name"] == f"check {version.name}/1"
    assert {task_run["name"] for task_run in run.task_runs} == {
        f"resolve-version · {version.name}/1",
        f"download-run-model · {version.name}/1",
        f"download-reg-model · {version.name}/1",
        f"compare · {version.name}/1",
        "report",
    }
    assert set(run.artifacts) == {"check-model-version-summary", "check-model-version-findings"}
    kept = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("MLmodel")}
    assert kept == {"run_model", "reg_model"}


def test_check_findings_as_the_command_reports_them(
    run_flow: RunFlow, program: Program, registry: Registry, tmp_path: Path
) -> None:
    version = registry.add(separate=True)
    registry.client.set_registered_model_alias(version.name, "champion", "1")
    _damage(registry, version)
    by_flow, by_command = tmp_path / "flow.json", tmp_path / "command.json"
    run = _check(run_flow, registry, version, "@champion", report_file=str(by_flow))
    assert run.ended_as == ("FAILED", "Findings")
    (row,) = run.table
    assert row["rule"].startswith("RA001")
    options = ("--model", version.name, "--version-or-stage", "@champion", "--tracking-uri", registry.server.uri)
    ended = program("-m", "registry_audit", "check", *options, "--report-file", str(by_command))
    assert ended.exit_status == 1
    reports = [_json(by_flow), _json(by_command)]
    for report in reports:
        report["Options"].pop("report_file")
    assert reports[0] == reports[1]


def test_check_unverifiable(run_flow: RunFlow, registry: Registry) -> None:
    version = registry.add()
    with registry.server.artifacts.edit(version.reg_location) as directory:
        damage.delete_tree(directory)
    run = _check(run_flow, registry, version)
    assert run.ended_as == ("FAILED", "Findings")  # the model is missing: more than unverifiable
    assert "unverifiable" in run.record["state"]["message"]


@pytest.mark.parametrize(
    ("which", "message"),
    [("7", "has no version 7"), ("@nobody", "has no alias '@nobody'"), ("²", "is not a version")],
)
def test_check_of_what_is_not_there(run_flow: RunFlow, registry: Registry, which: str, message: str) -> None:
    run = _check(run_flow, registry, registry.add(), which)
    assert run.ended_as == ("FAILED", "Refused")
    assert run.errors == [], "it ended as it should"
    assert message in run.record["state"]["message"]


def _server(registry: Registry, version: Registered, **more: str) -> dict[str, str]:
    return {"host": registry.server.uri, "model": version.name, "version_or_stage": version.version, **more}


def test_compare_clean(run_flow: RunFlow, registry: Registry) -> None:
    one, two = registry.add(separate=True), registry.add(separate=True)
    run = run_flow(
        compare_model_versions,
        tracking_server_1=_server(registry, one),
        tracking_server_2=_server(registry, two),
    )
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run.record["name"] == f"compare {one.name}/1 and {two.name}/1"
    assert set(run.artifacts) == {"compare-model-versions-summary", "compare-model-versions-findings"}
    compared = {task_run["name"] for task_run in run.task_runs if task_run["name"].startswith("compare")}
    assert compared == {
        f"compare · run models of {one.name}/1 and {two.name}/1",
        f"compare · registry models of {one.name}/1 and {two.name}/1",
        f"compare · {one.name}/1",
        f"compare · {two.name}/1",
    }


def test_compare_findings_as_the_command_reports_them(
    run_flow: RunFlow, program: Program, registry: Registry, tmp_path: Path
) -> None:
    one, two = registry.add(separate=True), registry.add(separate=True)
    _damage(registry, two)
    servers = {"tracking_server_1": _server(registry, one), "tracking_server_2": _server(registry, two)}
    by_flow, by_command = tmp_path / "flow.json", tmp_path / "command.json"
    directory = tmp_path / "downloads"
    run = run_flow(compare_model_versions, **servers, download_dir=str(directory), report_file=str(by_flow))
    assert run.ended_as == ("FAILED", "Findings")
    assert run.record["state"]["message"] == (
        f"{one.name}/1 and {two.name}/1: run models: equivalent, registry models: mismatch ('model.pkl'): "
        f"{two.name}/1: RA001 run-registry-mismatch: 1 file differs between the run model and the registry model: "
        "'model.pkl'; no ledger was used, so nothing was remembered"
    )
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(servers), encoding="utf-8")
    options = ("--config-file", str(config), "--download-dir", str(directory), "--report-file", str(by_command))
    assert program("-m", "registry_audit", "compare", *options).exit_status == 1
    assert _json(by_flow) == _json(by_command)


@pytest.mark.parametrize("roles", [{}, {"compare_run_models": False}], ids=["both", "registry models"])
def test_versions_of_one_storage_each_are_compared_where_no_file_stays(
    run_flow: RunFlow, program: Program, registry: Registry, tmp_path: Path, roles: dict[str, bool]
) -> None:
    one, two = registry.add(), registry.add()
    servers = {"tracking_server_1": _server(registry, one), "tracking_server_2": _server(registry, two)}
    by_flow, by_command = tmp_path / "flow.json", tmp_path / "command.json"
    run = run_flow(compare_model_versions, **servers, **roles, report_file=str(by_flow))
    assert run.ended_as == ("COMPLETED", "Completed"), run.log
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(servers), encoding="utf-8")
    skipped = ("--skip-compare-run-models",) if roles else ()
    options = ("--config-file", str(config), "--report-file", str(by_command), *skipped)
    assert program("-m", "registry_audit", "compare", *options).exit_status == 0
    assert _json(by_flow) == _json(by_command)


def test_both_flows_remember(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    """What was accepted shows in the state and on the page; and comparing accepts nothing."""
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    one, two = registry.add(seed=1), registry.add(seed=1)
    accepting = AuditOptions(tracking_uri=registry.server.uri, models=(two.name,), ledger=ledger, accept_new=True)
    audit_registry(accepting)
    servers = {"tracking_server_1": _server(registry, one), "tracking_server_2": _server(registry, two)}
    before = run_flow(compare_model_versions, **servers, ledger=ledger)
    assert "RA002" not in before.record["state"]["message"]
    _damage(registry, two)
    compared = run_flow(compare_model_versions, **servers, ledger=ledger)
    checked = _check(run_flow, registry, two, ledger=ledger)
    for run, key in ((compared, "compare-model-versions"), (checked, "check-model-version")):
        assert run.ended_as == ("FAILED", "Findings")
        assert f"{two.name}/1: " in run.record["state"]["message"]
        assert "RA002 content-changed" in run.record["state"]["message"]
        assert [row["version"] for row in run.table if row["rule"].startswith("RA002")] == [markdown(f"{two.name}/1")]
        page = run.artifacts[f"{key}-summary"]["data"]
        assert "The bytes are not what was accepted on" in page.replace("\\", "")
    assert "No baseline was accepted yet" in compared.artifacts["compare-model-versions-summary"]["data"]


@pytest.mark.parametrize("flow", ["check-model-version", "compare-model-versions"])
def test_what_was_found_is_told_although_the_ledger_is_lost(
    run_flow: RunFlow, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: str
) -> None:
    version, ledger = registry.add(separate=True), f"sqlite:///{tmp_path / 'ledger.db'}"
    uri, report = registry.server.uri, tmp_path / "report.json"
    audit_registry(AuditOptions(tracking_uri=uri, models=(version.name,), ledger=ledger, accept_new=True))
    writing, damaged = Ledger.writing, list[bool]()

    def writing_to_a_damaged_one(self: Ledger) -> Any:
        if not damaged:
            damaged.append(True)
            tamper(ledger, "UPDATE entries SET body = '{}' WHERE seq = 2")
        return writing(self, again=True)

    monkeypatch.setattr(Ledger, "writing", writing_to_a_damaged_one)
    if flow == "check-model-version":
        run = _check(run_flow, registry, version, ledger=ledger, report_file=str(report))
    else:
        server = _server(registry, version)
        run = run_flow(
            compare_model_versions,
            tracking_server_1=server,
            tracking_server_2=server,
            ledger=ledger,
            report_file=str(report),
        )
    assert (run.ended_as, damaged) == (("FAILED", "Ledger"), [True])
    assert "compared with no baseline" in report.read_text()
    assert "and not recorded: the ledger's chain is broken" in run.artifacts[f"{flow}-summary"]["data"].replace(
        "\\", ""
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"version_or_stage": "99"}, "has no version 99"),
        ({"username_env": "USER_OF_B"}, "needs both of username_env and password_env"),
        ({"host": "http://bob:pw-of-b@127.0.0.1:1"}, "http://***@127.0.0.1:1 was given with credentials"),
    ],
)
def test_compare_with_a_wrong_request(
    run_flow: RunFlow, registry: Registry, more: dict[str, str], message: str
) -> None:
    one = registry.add()
    run = run_flow(
        compare_model_versions,
        tracking_server_1=_server(registry, one),
        tracking_server_2=_server(registry, one, **more),
    )
    assert run.ended_as == ("FAILED", "Refused")
    assert message in run.record["state"]["message"]
    assert "pw-of-b" not in run.log


def test_nothing_to_compare(run_flow: RunFlow, registry: Registry) -> None:
    one = registry.add()
    run = run_flow(
        compare_model_versions,
        tracking_server_1=_server(registry, one),
        tracking_server_2=_server(registry, one),
        compare_run_models=False,
        compare_reg_models=False,
    )
    assert run.ended_as == ("FAILED", "Refused")


@pytest.mark.parametrize("flow", ["check-model-version", "compare-model-versions", "registry-audit"])
def test_one_storage_says_that_nothing_was_compared(run_flow: RunFlow, registry: Registry, flow: str) -> None:
    """Also on the page in Prefect, in the list of artifacts and in the state."""
    version = registry.add()
    match flow:
        case "check-model-version":
            run = _check(run_flow, registry, version)
        case "compare-model-versions":
            server = _server(registry, version)
            run = run_flow(compare_model_versions, tracking_server_1=server, tracking_server_2=server)
        case _:
            run = run_flow(audit_registry_flow, tracking_uri=registry.server.uri, models=[version.name], ledger="none")
    summary = run.artifacts[f"{flow}-summary"]
    shown = (run.record["state"]["message"], summary["data"].replace("\\", ""), summary["description"])
    for told in shown[: 2 if flow == "registry-audit" else 3]:
        assert "nothing was compared" in told.replace("\\", ""), told
