"""`compare-registries` on a real Prefect server, beside the command of that name."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import faults
from support.faulty_proxy import DOWNLOADS, FaultyProxy
from support.registry import Registry
from support.servers import MlflowServer, sqlite_store

from flows.compare_registries import compare_registries
from registry_audit.report.words import moment_words
from tasks.policy import short, short_address

from .conftest import Program, RunFlow


@pytest.fixture
def target(tmp_path: Path) -> MlflowServer:
    directory = tmp_path / "target"
    directory.mkdir()
    return sqlite_store(directory)


def _migrated(registry: Registry, target: MlflowServer, seeds: tuple[int, ...]) -> str:
    name = registry.new_name("Wine <b>")
    there = Registry(target)
    for seed in (1, 2, 3):
        registry.add(name, seed=seed)
    for seed in seeds:
        there.add(name, seed=seed)
    return name


def _json(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "migration.json").read_text(encoding="utf-8"))
    content.pop("generated_at")
    return content


def _but_times(content: dict[str, Any]) -> dict[str, Any]:
    """But for when what was read, which is there of every version that was."""
    for covered in content["coverage"].values():
        assert covered.pop("first_read_at") is not None
    for row in content["versions"]:
        for side in (row["source"], row["target"]):
            assert side is None or side.pop("read_at") is not None
    return content


def test_a_complete_migration(run_flow: RunFlow, registry: Registry, target: MlflowServer) -> None:
    name = _migrated(registry, target, (1, 2, 3))
    run = run_flow(compare_registries, source={"host": registry.server.uri}, target={"host": target.uri}, models=[name])
    assert run.ended_as == ("COMPLETED", "Completed")

    def span(name: str) -> str:
        return f"{short(f'{name}/1')} … {short(f'{name}/3')} (3)"

    source, target_ = (short_address(server.uri) for server in (registry.server, target))
    assert run.record["name"] == f"compare registries {source} and {target_}"
    assert sorted(task["name"] for task in run.task_runs) == [
        f"list-registry · source {source}",
        f"list-registry · target {target_}",
        "match",
        f"read-registry · source {source} · {span(name)}",
        f"read-registry · target {target_} · {span(name)}",
        "report",
    ]
    assert set(run.artifacts) == {"compare-registries-summary", "compare-registries-findings"}
    assert "Complete: 0 of 3 versions are in the target unchanged, 3 explained." in run.record["state"]["message"]


@pytest.mark.parametrize("is_over", [False, True])
def test_what_a_run_has_read_is_not_read_again_until_it_is_over(
    run_flow: RunFlow,
    mlflow_a: MlflowServer,
    proxy_a: FaultyProxy,
    target: MlflowServer,
    is_over: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind an artifact proxy, too; and without the readings of its own that a command keeps."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(cache))
    monkeypatch.setattr("flows.compare_registries._BATCH", 1)
    registry, there = Registry(mlflow_a), Registry(target)
    name = registry.new_name()
    versions = [registry.add(name, seed=seed) for seed in range(3)]
    for seed in range(3):
        there.add(name, seed=seed)
    sides: dict[str, Any] = {"source": {"host": proxy_a.uri}, "target": {"host": target.uri}, "models": [name]}
    if not is_over:
        proxy_a.fault(faults.status(404), path=f"{DOWNLOADS[:-1]}.*{versions[-1].run_id}")
    first = run_flow(compare_registries, **sides, report_dir=str(tmp_path / "first"))
    assert first.ended_as[1] == ("Completed" if is_over else "Incomplete")
    proxy_a.clear()
    shutil.rmtree(cache / "audits")
    monkeypatch.setattr("flows.parameters.this_run", lambda: first.id)  # as Prefect runs it again
    again = run_flow(compare_registries, **sides, report_dir=str(tmp_path / "again"))
    assert again.ended_as == ("COMPLETED", "Completed")
    source = short_address(proxy_a.uri)
    # Files on the worker's own disk are told from others by their inodes, so those of the target are read again.
    kept = () if is_over else tuple(f"read-registry · source {source} · {name}/{n}" for n in (1, 2))
    assert tuple(sorted(task["name"] for task in again.task_runs if task["state_name"] == "Cached")) == kept
    assert ("2 versions were read before this run, from " in again.log) is not is_over
    assert list((cache / "results").rglob("read-registry-*")) == []
    before, after = (
        {row["source"]["version"]: row["source"]["read_at"] for row in _json(tmp_path / which)["versions"]}
        for which in ("first", "again")
    )
    assert [before[n] == after[n] for n in ("1", "2", "3")] == [not is_over, not is_over, False]
    since = _json(tmp_path / "again")["coverage"]["source"]["first_read_at"]
    assert since == min(after.values())
    assert f"read from {moment_words(since)} on" in (tmp_path / "again/migration.html").read_text(encoding="utf-8")
    downloads = [request.target for request in proxy_a.requests if re.search(DOWNLOADS, request.target)]
    read = {version.version for version in versions for target in downloads if version.run_id in target}
    assert read == {version.version for version in (versions if is_over else versions[-1:])}


def test_a_loss_as_the_command_reports_it(
    run_flow: RunFlow, program: Program, registry: Registry, target: MlflowServer, tmp_path: Path
) -> None:
    name = _migrated(registry, target, (1, 3))
    by_flow, by_command = tmp_path / "flow", tmp_path / "command"
    run = run_flow(
        compare_registries, source={"host": registry.server.uri}, target={"host": target.uri}, models=[name],
        one_way=True, report_dir=str(by_flow),
    )  # fmt: skip
    assert run.ended_as == ("FAILED", "Findings")
    assert {row["rule"].partition(" ")[0] for row in run.table} == {"RA020", "RA024"}
    assert "<b>" not in run.artifacts["compare-registries-summary"]["data"]
    config = tmp_path / "migration.yaml"
    config.write_text(yaml.safe_dump({"source": {"host": registry.server.uri}, "target": {"host": target.uri}}))
    options = ("--config-file", str(config), "--model", name, "--one-way", "--report-dir", str(by_command))
    assert program("-m", "registry_audit", "compare-registries", *options).exit_status == 1
    assert _but_times(_json(by_flow)) == _but_times(_json(by_command))


def test_what_audits_have_read_is_not_read_again(
    run_flow: RunFlow, program: Program, registry: Registry, target: MlflowServer, tmp_path: Path
) -> None:
    name, ledger = _migrated(registry, target, (1, 2, 3)), f"sqlite:///{tmp_path / 'ledger.db'}"
    asked: dict[str, Any] = {
        "source": {"host": registry.server.uri}, "target": {"host": target.uri}, "models": [name],
        "quick": True, "ledger": ledger,
    }  # fmt: skip
    assert run_flow(compare_registries, **asked).ended_as == ("FAILED", "Ledger")
    for server in (registry.server, target):
        options = ("--tracking-uri", server.uri, "--model", name, "--ledger", ledger, "--accept-new")
        program("-m", "registry_audit", "audit", *options)
    run = run_flow(compare_registries, **asked, report_dir=str(tmp_path / "report"))
    assert run.ended_as == ("COMPLETED", "Completed")
    covered = _json(tmp_path / "report")["coverage"]
    assert covered["target"]["not_read"] == 3
    assert covered["source"]["not_read"] in (0, 3)  # behind an artifact proxy nothing is trusted


def test_a_wrong_request_is_refused(run_flow: RunFlow, registry: Registry, target: MlflowServer) -> None:
    sides = {"source": {"host": registry.server.uri}, "target": {"host": target.uri}}
    for wrong in ({"mapping": ["Wine"]}, {"models": ["no-such-model"]}):
        assert run_flow(compare_registries, **sides, **wrong).ended_as == ("FAILED", "Refused")
    secret = {**sides, "source": {"host": "http://me:secret-word@127.0.0.1:9"}}
    run = run_flow(compare_registries, **secret)
    assert run.ended_as == ("FAILED", "Refused")
    assert "secret-word" not in json.dumps([run.record["state"], run.log])
