"""The flows on two Databricks workspaces, with a ledger: they end as the commands do, and Prefect learns no token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import damage
from support.databricks import StandIn, profiles, stand_in

from flows.accept_baseline import accept_baseline
from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version
from flows.compare_model_versions import compare_model_versions

from .conftest import Approver, FlowRun, RunFlow

COMPLETED, FINDINGS = ("COMPLETED", "Completed"), ("FAILED", "Findings")
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"
NAMES = {WORKSPACE: "Sklearn_Wine", CATALOG: "main.ml.wine"}

registries = pytest.mark.parametrize(
    "uri", [WORKSPACE, pytest.param(CATALOG, marks=pytest.mark.slow)], ids=["workspace", "catalog"]
)


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StandIn, StandIn]]:
    with stand_in(tmp_path / "test-env", number=1) as one, stand_in(tmp_path / "prod-env", number=2) as two:
        file = profiles(tmp_path / "databrickscfg", test_env=one, prod_env=two)
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
        yield one, two


@pytest.fixture
def sane(services: tuple[StandIn, StandIn]) -> Any:
    """The same run, once it was looked through for what must be nowhere."""

    def looked_through(run: FlowRun) -> FlowRun:
        assert "internal error" not in run.everything
        assert not any(service.token in run.everything for service in services)
        return run

    return looked_through


@registries
def test_audited_changed_and_accepted(
    run_flow: RunFlow,
    approved_run: Approver,
    services: tuple[StandIn, StandIn],
    sane: Any,
    tmp_path: Path,
    uri: str,
) -> None:
    """Both copies are overwritten alike: only the ledger knows, until somebody accepts it."""
    service, other = services
    register = service.register_in_catalog if uri == CATALOG else service.register
    version = register(NAMES[uri], seed=1)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    asked = {"tracking_uri": uri, "ledger": ledger}

    def audit(**more: object) -> FlowRun:
        return sane(run_flow(audit_registry, **asked, **more))

    assert audit(accept_new=True).ended_as == COMPLETED
    assert audit().ended_as == COMPLETED
    for directory in (version.run, version.reg):
        damage.flip_byte(directory)
    changed = audit()
    assert changed.ended_as == FINDINGS
    assert [row["rule"][:5] for row in changed.table] == ["RA002"]

    accept = {"versions": [f"{NAMES[uri]}/1"], "reason": "retrained", "by": "alice", "dry_run": False}
    assert sane(approved_run(accept_baseline, **asked, **accept)).ended_as == COMPLETED
    assert audit().ended_as == COMPLETED
    assert audit(liveness=True).ended_as == ("FAILED", "Incomplete")
    assert other.asked == []


@registries
def test_one_version(run_flow: RunFlow, services: tuple[StandIn, StandIn], sane: Any, uri: str, tmp_path: Path) -> None:
    service, other = services
    register = service.register_in_catalog if uri == CATALOG else service.register
    register(NAMES[uri], seed=1)
    damage.flip_byte(register(NAMES[uri], seed=2).reg)
    asked = {"model": NAMES[uri], "tracking_uri": uri}
    assert sane(run_flow(check_model_version, version_or_stage="1", **asked)).ended_as == COMPLETED
    run = sane(run_flow(check_model_version, version_or_stage="latest", download_dir=str(tmp_path / "kept"), **asked))
    assert run.ended_as == FINDINGS
    assert "RA001 run-registry-mismatch" in run.record["state"]["message"]
    assert len(list((tmp_path / "kept").rglob("model.pkl"))) == 2
    assert other.asked == []


def test_two_workspaces(run_flow: RunFlow, services: tuple[StandIn, StandIn], sane: Any) -> None:
    """As in the documents that this product grew from: one model, imported into another workspace."""
    one, two = services
    one.register("Sklearn_Wine", one.log_model(seed=1, number=7), stage="Staging")
    imported = two.register("Sklearn_Wine_Imported", two.log_model(seed=1, number=7), stage="Staging")
    servers = {
        f"tracking_server_{number}": {"host": host, "model": model, "version_or_stage": "staging"}
        for number, host, model in (
            (1, WORKSPACE, "Sklearn_Wine"),
            (2, "databricks://prod_env", "Sklearn_Wine_Imported"),
        )
    }
    run = sane(run_flow(compare_model_versions, **servers))
    assert run.ended_as == COMPLETED
    damage.flip_byte(imported.reg)
    run = sane(run_flow(compare_model_versions, **servers))
    assert run.ended_as == FINDINGS
    assert "registry models: mismatch" in run.record["state"]["message"]
