"""No flow writes to a registry, its storage or the working directory, and none asks MLflow's process-wide addresses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.places import PLACES, Place, assert_nothing_left, hostile_surroundings, place_of

from flows.accept_baseline import accept_baseline
from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version
from flows.compare_model_versions import compare_model_versions
from flows.compare_registries import compare_registries

from .conftest import Approver, RunFlow

OF_A_DATABASE_AND_OF_SERVERS = [place for place in PLACES if place != "sqlite"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Where the auditor may write."""
    own = tmp_path / "own"
    own.mkdir()
    with hostile_surroundings(tmp_path):
        yield own


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place_of(request.param, tmp_path / "registry") as place:
        yield place


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_no_flow_changes_anything(
    place: Place, elsewhere: Path, run_flow: RunFlow, approved_run: Approver, tmp_path: Path
) -> None:
    uri = place.server.uri
    at = {"tracking_uri": uri, "registry_uri": uri, "ledger": f"sqlite:///{elsewhere / 'ledger.db'}"}
    accepted = {"versions": ["whole/1"], "reason": "looked at", "by": "me"}
    servers = {
        f"tracking_server_{n}": {"host": uri, "model": name, "version_or_stage": "1"}
        for n, name in enumerate(("whole", "damaged"), 1)
    }
    steps = [
        (audit_registry, {**at, "accept_new": True, "report_dir": str(elsewhere / "report")}, "Findings"),
        (audit_registry, {**at, "quick": True, "models": ["wh*"]}, "Completed"),
        (check_model_version, {**at, "model": "whole", "version_or_stage": "latest"}, "Completed"),
        (
            check_model_version,
            {**at, "model": "damaged", "version_or_stage": "1", "download_dir": str(elsewhere / "kept")},
            "Findings",
        ),
        (compare_model_versions, {**servers, "ledger": at["ledger"]}, "Findings"),
        (compare_registries, {"source": {"host": uri}, "target": {"host": uri}}, "Findings"),
        (accept_baseline, {**at, **accepted, "dry_run": True}, "Completed"),
        (accept_baseline, {**at, **accepted, "dry_run": False}, "Completed"),
    ]
    before = place.snapshot()
    for flow, parameters, ends in steps:
        run = (approved_run if parameters.get("dry_run") is False else run_flow)(flow, **parameters)
        assert run.ended_as[1] == ends, (flow.name, run.record["state"]["message"])
        assert place.snapshot() == before, flow.name
        assert_nothing_left(tmp_path)


@pytest.mark.parametrize("place", OF_A_DATABASE_AND_OF_SERVERS, indirect=True)
def test_an_audit_changes_nothing_anywhere(place: Place, elsewhere: Path, run_flow: RunFlow, tmp_path: Path) -> None:
    """Its addresses as a worker has them: in the environment, where a database's may hold credentials."""
    before = place.snapshot()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ[name] = place.server.uri  # taken back with the surroundings
    run = run_flow(audit_registry, ledger=f"sqlite:///{elsewhere / 'ledger.db'}", accept_new=True)
    assert run.ended_as == ("FAILED", "Findings")
    assert "damaged/1" in run.record["state"]["message"]
    assert place.snapshot() == before
    assert_nothing_left(tmp_path)
