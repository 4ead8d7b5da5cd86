"""`accept-baseline` on a real Prefect server: nothing is accepted unless it is told to, and nothing that moved."""

from contextlib import closing
from pathlib import Path

from support import damage
from support.registry import Registered, Registry

from flows.accept_baseline import ARTIFACT_KEY, accept_baseline
from flows.audit_registry import audit_registry
from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.opening import open_ledger

from .conftest import FlowRun, RunFlow


def _audit(run_flow: RunFlow, registry: Registry, version: Registered, ledger: str, **more: object) -> FlowRun:
    return run_flow(audit_registry, models=[version.name], tracking_uri=registry.server.uri, ledger=ledger, **more)


def test_overwritten_refused_audited_and_accepted(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    version = registry.add()
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    accept = {
        "versions": [f"{version.name}/1"],
        "reason": "retrained",
        "by": "alice",
        "tracking_uri": registry.server.uri,
        "ledger": ledger,
    }
    assert _audit(run_flow, registry, version, ledger, accept_new=True).ended_as == ("COMPLETED", "Completed")
    assert _audit(run_flow, registry, version, ledger).ended_as == ("COMPLETED", "Completed")

    with registry.server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)
    moved = run_flow(accept_baseline, **accept, dry_run=False)
    assert moved.ended_as == ("FAILED", "Findings")
    assert "audit it again" in moved.record["state"]["message"]

    assert _audit(run_flow, registry, version, ledger).ended_as == ("FAILED", "Findings")
    dry = run_flow(accept_baseline, **accept)
    assert dry.ended_as == ("COMPLETED", "Completed")
    assert "would accept 1 versions" in dry.artifacts[ARTIFACT_KEY]["data"]
    assert _audit(run_flow, registry, version, ledger).ended_as == ("FAILED", "Findings")

    assert run_flow(accept_baseline, **accept, dry_run=False).ended_as == ("COMPLETED", "Completed")
    assert _audit(run_flow, registry, version, ledger).ended_as == ("COMPLETED", "Completed")


def test_no_ledger_and_no_version(run_flow: RunFlow, registry: Registry, tmp_path: Path) -> None:
    uri = registry.server.uri
    none = run_flow(accept_baseline, versions=["x/1"], reason="r", by="me", tracking_uri=uri, ledger="none")
    assert none.ended_as == ("FAILED", "Refused")
    missing = f"sqlite:///{tmp_path / 'no.db'}"
    gone = run_flow(accept_baseline, versions=["x/1"], reason="r", by="me", tracking_uri=uri, ledger=missing)
    assert gone.ended_as == ("FAILED", "Ledger")
    for nameless in ({"reason": "r", "by": " "}, {"reason": " ", "by": "me"}):
        refused = run_flow(accept_baseline, versions=["x/1"], tracking_uri=uri, ledger=_started(tmp_path), **nameless)
        assert refused.ended_as == ("FAILED", "Refused")


def _started(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'started.db'}"
    with closing(open_ledger(url, create=True)) as ledger:
        ledger.append([Draft(Kind.AUDIT_STARTED, "http://somewhere")])
    return url
