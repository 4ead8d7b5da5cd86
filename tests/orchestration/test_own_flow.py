"""deployments/own_flow.py: a flow of somebody else that asks ours, on a worker and in its own process."""

from pathlib import Path

import pytest
from support import damage
from support.registry import Registry

from deployments.own_flow import load_model, promote
from flows.audit_registry import audit_registry

from .conftest import RunFlow, Worker


@pytest.mark.slow
def test_only_what_passes_is_promoted(run_flow: RunFlow, worker: Worker, registry: Registry) -> None:
    good, bad = registry.add(separate=True), registry.add(separate=True)
    with registry.server.artifacts.edit(bad.reg_location) as directory:
        damage.flip_byte(directory)
    assert run_flow(promote, model=good.name, version="1").ended_as == ("COMPLETED", "Completed")
    refused = run_flow(promote, model=bad.name, version="1")
    assert refused.ended_as[0] == "FAILED"
    assert f"{bad.name}/1 is not promoted: {bad.name}/1: mismatch" in refused.record["state"]["message"]


def test_a_model_is_loaded_only_as_accepted(
    run_flow: RunFlow, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, ledger = registry.add(), f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.server.uri)
    monkeypatch.setenv("REGISTRY_AUDIT_LEDGER", ledger)
    run_flow(audit_registry, models=[version.name], accept_new=True)
    wanted = {"version": f"{version.name}/1", "output": tmp_path / "model"}
    assert run_flow(load_model, **wanted).ended_as == ("COMPLETED", "Completed")
    assert (tmp_path / "model" / "MLmodel").is_file()
    with registry.server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)
    refused = run_flow(load_model, version=f"{version.name}/1", output=tmp_path / "other")
    assert refused.ended_as[0] == "FAILED"
    assert not (tmp_path / "other").exists()
