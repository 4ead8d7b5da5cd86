"""`audit-registry` on a real Prefect server: how runs end, and what they leave there."""

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from support import damage, faults
from support.faulty_proxy import FaultyProxy
from support.registry import Registered, Registry
from support.servers import MlflowServer

from flows.audit_registry import audit_registry
from registry_audit.audit.copies import Role
from registry_audit.audit.pipeline import compare_version, must_resolve
from registry_audit.audit.session import Session
from registry_audit.errors import Transient
from registry_audit.net.retry import tries
from registry_audit.registry.version import RegisteredVersion
from tasks import artifacts as product_artifacts

from .conftest import FlowRun, RunFlow

ALL_KEYS = {"registry-audit-summary", "registry-audit-findings", "registry-audit-progress"}
RESOLUTIONS = r"get-download-uri"


def _damage(registry: Registry, version: Registered) -> None:
    with registry.server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)


def _audit(run_flow: RunFlow, registry: Registry, *versions: Registered, **parameters: Any) -> FlowRun:
    names = sorted({version.name for version in versions})
    return run_flow(audit_registry, tracking_uri=registry.server.uri, models=names, ledger="none", **parameters)


def _report(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "audit.json").read_text(encoding="utf-8"))
    return content


# ---- how a run ends


def test_clean(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    version = registry.add(separate=True)
    run = _audit(run_flow, registry, version, report_dir=str(tmp_path))
    assert run.ended_as == ("COMPLETED", "Completed")
    assert set(run.artifacts) == ALL_KEYS
    assert run.artifacts["registry-audit-progress"]["data"] == 100
    assert run.table == []
    assert {path.name for path in tmp_path.glob("*.*")} == {"audit.json", "audit.html", "audit.md", "junit.xml"}
    assert _report(tmp_path)["versions"][0]["verdict"] == "match"


def test_findings(run_flow: RunFlow, registry: Registry) -> None:
    version = registry.add(separate=True)
    _damage(registry, version)
    run = _audit(run_flow, registry, version)
    assert run.ended_as == ("FAILED", "Findings")
    told = run.record["state"]["message"]
    assert told.startswith(f"{version.name}/1: RA001 run-registry-mismatch: 1 file differs"), told
    assert "1 finding at severity medium or above" in told
    assert run.errors == [], "it ended as it should"
    (row,) = run.table
    assert (row["severity"], row["rule"][:5]) == ("critical", "RA001")
    assert "Findings" in run.artifacts["registry-audit-summary"]["data"]


def test_below_the_threshold_is_no_finding_state(run_flow: RunFlow, registry: Registry) -> None:
    version = registry.add(separate=True)
    registry.client.delete_run(version.run_id)  # RA004, high
    assert _audit(run_flow, registry, version, fail_on="critical").ended_as == ("COMPLETED", "Completed")
    assert _audit(run_flow, registry, version, fail_on="high").ended_as == ("FAILED", "Findings")


def test_incomplete(run_flow: RunFlow, registry: Registry) -> None:
    version = registry.add()
    with registry.server.artifacts.edit(version.reg_location) as directory:
        (directory / "big").write_bytes(b"x" * 10_000)
    run = _audit(run_flow, registry, version, max_bytes=10_000)
    assert run.ended_as == ("FAILED", "Incomplete")


def test_nothing_to_audit_is_no_pass(run_flow: RunFlow, registry: Registry) -> None:
    name = registry.new_name()
    registry.client.create_registered_model(name)
    run = run_flow(audit_registry, tracking_uri=registry.server.uri, models=[name], ledger="none")
    assert run.ended_as == ("FAILED", "Incomplete")


def test_a_server_that_is_not_there_is_incomplete(run_flow: RunFlow) -> None:
    run = run_flow(audit_registry, tracking_uri="http://127.0.0.1:1", ledger="none")
    assert run.ended_as == ("FAILED", "Incomplete")
    assert "could not reach the tracking server http://127.0.0.1:1" in run.record["state"]["message"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"models": ["not-there"]}, "there is no registered model 'not-there'"),
        ({"audit_id": "../../etc"}, "an audit id has up to 100 letters"),
        ({"report_dir": "/proc/no"}, "report_dir /proc/no cannot be written"),
        ({"subset": "3/2"}, "subset is n/t"),
        ({"quick": True, "ledger": "none"}, "need a ledger"),
    ],
)
def test_a_wrong_request_fails_and_says_why(
    run_flow: RunFlow, registry: Registry, parameters: dict[str, Any], message: str
) -> None:
    run = run_flow(audit_registry, **{"tracking_uri": registry.server.uri, "ledger": "none"} | parameters)
    assert run.ended_as == ("FAILED", "Refused")
    assert message in run.record["state"]["message"]


def test_without_a_tracking_server(run_flow: RunFlow) -> None:
    run = run_flow(audit_registry, ledger="none")
    assert run.ended_as == ("FAILED", "Refused")
    assert "set MLFLOW_TRACKING_URI where the flow runs" in run.record["state"]["message"]


def test_the_server_of_the_environment(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = registry.add(separate=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.server.uri)
    run = run_flow(audit_registry, models=[version.name], ledger="none", report_dir=str(tmp_path))
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run.record["parameters"]["tracking_uri"] is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


# ---- names


def test_names_of_runs(run_flow: RunFlow, registry: Registry) -> None:
    name = registry.new_name("Wine")
    versions = [registry.add(name, seed=seed) for seed in range(3)]
    run = _audit(run_flow, registry, *versions, batch_size=2)
    batch, rest = f"{name}/1 … {name}/2 (2)", f"{name}/3"
    expected = {f"{step} · {these}" for step in _STEPS for these in (batch, rest)} | {"list-versions", "report"}
    assert {task_run["name"] for task_run in run.task_runs} == expected
    assert run.record["name"].startswith("audit sqlite:///")


_STEPS = ("resolve-version", "download-run-model", "download-reg-model", "compare")


def test_a_hostile_name_is_text(run_flow: RunFlow, registry: Registry) -> None:
    name = registry.new_name("<img src=x onerror=alert(1)> [a](b) | \u202eevil \x1b[31m" + "n" * 80)
    version = registry.add(name, separate=True)
    _damage(registry, version)
    run = run_flow(audit_registry, tracking_uri=registry.server.uri, models=[f"*{name[-8:]}"], ledger="none")
    assert run.ended_as == ("FAILED", "Findings")
    (row,) = run.table
    # A renderer of Markdown, as Prefect's pages use for every cell, must see neither HTML nor a link.
    assert "<img" not in row["version"]
    assert "](" not in row["version"]
    texts = [run.record["name"], run.log, *(task_run["name"] for task_run in run.task_runs), *row.values()]
    texts += [str(run.artifacts[key]["data"]) for key in ALL_KEYS]
    assert not any(active in text for text in texts for active in ("\u202e", "\x1b"))
    assert "<img" not in run.artifacts["registry-audit-summary"]["data"]
    longest = max(len(task_run["name"]) for task_run in run.task_runs)
    assert longest < 100


# ---- trouble


def test_a_transient_error_while_resolving_is_retried(
    run_flow: RunFlow, mlflow_a: MlflowServer, proxy_a: FaultyProxy, tmp_path: Path
) -> None:
    version = Registry(mlflow_a).add()
    until_the_task_gives_up = tries()
    rule = proxy_a.fault(faults.status(503), path=RESOLUTIONS, times=until_the_task_gives_up)
    run = run_flow(
        audit_registry, tracking_uri=proxy_a.uri, models=[version.name], ledger="none", report_dir=str(tmp_path)
    )
    assert rule.hits == until_the_task_gives_up
    assert run.ended_as == ("COMPLETED", "Completed")
    runs = {task_run["name"]: task_run["run_count"] for task_run in run.task_runs}
    assert runs[f"resolve-version · {version.name}/1"] == 2
    assert runs[f"compare · {version.name}/1"] == 1
    assert _report(tmp_path)["versions"][0]["verdict"] == "same_storage"


def test_what_stays_unreachable_is_a_row(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = registry.new_name()
    versions = [registry.add(name, seed=seed) for seed in range(3)]
    tries = _fail_to_resolve(monkeypatch, "2", Transient("the server answered 503"))
    run = _audit(run_flow, registry, *versions, report_dir=str(tmp_path))
    assert run.ended_as == ("FAILED", "Incomplete")
    assert len(tries) == 8, "four tries of the task, and as many once more at the end of the audit"
    assert "1 version broke off: waiting up to 180 s for the server" in run.log
    verdicts = {row["version"]: row["verdict"] for row in _report(tmp_path)["versions"]}
    assert verdicts == {"1": "same_storage", "2": "unverifiable", "3": "same_storage"}


def test_a_defect_that_one_model_brings_to_light_costs_only_its_own_row(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = registry.new_name()
    versions = [registry.add(name, seed=seed) for seed in range(3)]
    tries = _fail_to_resolve(monkeypatch, "2", ZeroDivisionError("http://bob:only-here-pw@host/"))
    run = _audit(run_flow, registry, *versions, report_dir=str(tmp_path))
    assert len(tries) == 1
    rows = {row["version"]: row for row in _report(tmp_path)["versions"]}
    assert [rows[version]["verdict"] for version in "123"] == ["same_storage", "unverifiable", "same_storage"]
    assert rows["2"]["reason"].startswith("internal error: ZeroDivisionError: http://***@host/ (set ")
    assert "Traceback" in run.log
    assert run.server.files_with("only-here-pw") == []


def _fail_to_resolve(monkeypatch: pytest.MonkeyPatch, number: str, error: Exception) -> list[str]:
    tries: list[str] = []

    def failing(session: Session, version: RegisteredVersion) -> Any:
        if version.version == number:
            tries.append(version.label)
            raise error
        return must_resolve(session, version)

    monkeypatch.setattr("tasks.resolve_version.must_resolve", failing)
    return tries


@pytest.mark.parametrize(
    ("step", "role"),
    [("resolve_version", None), ("download", Role.RUN_MODEL), ("download", Role.REG_MODEL), ("compare", None)],
)
def test_a_batch_whose_task_breaks_is_rows_all_the_same(
    run_flow: RunFlow,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: str,
    role: Role | None,
) -> None:
    from tasks.batches import each

    name = registry.new_name()
    versions = [registry.add(name, seed=seed) for seed in range(5)]

    def number(item: Any) -> str:
        version = item[0] if isinstance(item, tuple) else item
        version = version if isinstance(version, RegisteredVersion) else version.version
        return str(version.version)

    def broken_each(job: Any, function: Any, items: Any, *, failed: Any) -> Any:
        if number(items[0]) == "3" and (role is None or role in failed.args):
            raise MemoryError("no room")
        return each(job, function, items, failed=failed)

    monkeypatch.setattr(f"tasks.{step}.each", broken_each)
    run = _audit(run_flow, registry, *versions, batch_size=2, report_dir=str(tmp_path))
    assert run.ended_as == ("FAILED", "Incomplete")
    rows = _report(tmp_path)["versions"]
    assert [(row["version"], row["verdict"]) for row in rows] == [
        ("1", "same_storage"),
        ("2", "same_storage"),
        ("3", "unverifiable"),
        ("4", "unverifiable"),
        ("5", "same_storage"),
    ]
    assert all(row["reason"].startswith("internal error: MemoryError: no room (set ") for row in rows[2:4])


def test_an_artifact_that_cannot_be_written_does_not_cost_the_audit(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("too large")

    monkeypatch.setattr(SyncPrefectClient, "create_artifact", refuse)
    run = _audit(run_flow, registry, registry.add(separate=True))
    assert run.ended_as == ("COMPLETED", "Completed")
    assert "the artifact for the summary could not be written" in run.log


def test_the_table_of_findings_is_bounded(
    run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registry.new_name()
    versions = [registry.add(name, seed=seed, separate=True) for seed in range(3)]
    for version in versions:
        _damage(registry, version)
    monkeypatch.setattr(product_artifacts, "ROW_LIMIT", 2)
    run = _audit(run_flow, registry, *versions)
    assert len(run.table) == 2
    description = run.artifacts["registry-audit-findings"]["description"]
    assert description == "The first 2 of 3 findings; the report has all of them."


def test_a_password_in_a_parameter_is_refused(run_flow: RunFlow) -> None:
    run = run_flow(audit_registry, tracking_uri="http://bob:s3cr3t-pw@127.0.0.1:1", ledger="none")
    assert run.ended_as == ("FAILED", "Refused")
    assert "http://***@127.0.0.1:1 was given with credentials" in run.record["state"]["message"]
    assert "s3cr3t-pw" not in json.dumps([run.log, run.artifacts, run.record["name"]])


def test_the_work_directory_is_gone_when_the_audit_is_complete(
    run_flow: RunFlow, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.add(separate=True)
    seen: list[bool] = []
    directory = tmp_path / "cache" / "audits" / "mine"

    def looking(*arguments: Any) -> Any:
        seen.append(directory.is_dir())
        return compare_version(*arguments)

    monkeypatch.setattr("tasks.compare.compare_version", looking)
    _audit(run_flow, registry, version, audit_id="mine")
    assert seen == [True]
    assert not directory.exists()


# ---- the ledger


def test_a_flow_keeps_the_ledger(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    version = registry.add()
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    parameters: dict[str, Any] = {"tracking_uri": registry.server.uri, "models": [version.name], "ledger": ledger}
    assert run_flow(audit_registry, **parameters, accept_new=True).ended_as == ("COMPLETED", "Completed")
    _damage(registry, version)
    run = run_flow(audit_registry, **parameters)
    assert run.ended_as == ("FAILED", "Findings")
    assert [row["rule"][:5] for row in run.table] == ["RA002"]


def test_a_ledger_that_is_none_ends_the_run_as_such(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    ledger.write_text("not a database, but long enough to look at: " + "x" * 200, encoding="utf-8")
    run = run_flow(audit_registry, tracking_uri=registry.server.uri, ledger=f"sqlite:///{ledger}")
    assert run.ended_as == ("FAILED", "Ledger")
    assert "the ledger sqlite:///" in run.record["state"]["message"]


def test_a_quick_audit_reads_what_changed(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    name = registry.new_name()
    versions = [registry.add(name, seed=seed) for seed in range(2)]
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    parameters: dict[str, Any] = {"tracking_uri": registry.server.uri, "models": [name], "ledger": ledger}
    assert run_flow(audit_registry, **parameters, accept_new=True).ended_as == ("COMPLETED", "Completed")
    _damage(registry, versions[1])
    run_flow(audit_registry, **parameters, quick=True, report_dir=str(tmp_path))
    assert [row["baseline"] for row in _report(tmp_path)["versions"]] == ["not_read", "changed"]
