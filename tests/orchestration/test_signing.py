"""The key that signatures are verified with, as a parameter of the flows and from the worker's environment."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import damage
from support.registry import Registered, Registry
from support.signing import Signer, make_signer, sign

from flows.audit_registry import audit_registry
from flows.check_model_version import check_model_version

from .conftest import FlowRun, RunFlow


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return make_signer(tmp_path / "keys")


@pytest.fixture
def version(registry: Registry, signer: Signer) -> Registered:
    version = registry.add()
    sign(registry, version, signer.config())
    return version


def _audit(run_flow: RunFlow, registry: Registry, version: Registered, **more: Any) -> FlowRun:
    return run_flow(audit_registry, tracking_uri=registry.server.uri, models=[version.name], ledger="none", **more)


def test_audit_registry(
    run_flow: RunFlow, registry: Registry, version: Registered, signer: Signer, tmp_path: Path
) -> None:
    run = _audit(run_flow, registry, version, signing_key=str(signer.public), report_dir=str(tmp_path / "report"))
    assert run.ended_as == ("COMPLETED", "Completed")
    (row,) = json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))["versions"]
    assert row["signature_status"] == "verified"
    with registry.server.artifacts.edit(version.run_location) as model:
        damage.flip_byte(model)
    run = _audit(run_flow, registry, version, signing_key=str(signer.public))
    assert run.ended_as == ("FAILED", "Findings")
    assert [row["rule"][:5] for row in run.table] == ["RA014"]


def test_a_key_that_is_not_there(run_flow: RunFlow, registry: Registry, version: Registered, tmp_path: Path) -> None:
    run = _audit(run_flow, registry, version, signing_key=str(tmp_path / "no.pem"))
    assert run.ended_as == ("FAILED", "Refused")
    assert "no.pem cannot be read" in run.record["state"]["message"]


def test_check_model_version_takes_the_key_of_the_environment(
    run_flow: RunFlow, registry: Registry, version: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = make_signer(tmp_path / "stranger")
    monkeypatch.setenv("REGISTRY_AUDIT_SIGNING_KEY", str(stranger.public))
    run = run_flow(check_model_version, model=version.name, version_or_stage="1", tracking_uri=registry.server.uri)
    assert run.ended_as == ("FAILED", "Findings")
    assert [row["rule"][:5] for row in run.table] == ["RA014"]
