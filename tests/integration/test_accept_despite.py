"""Accepting a version that has a serious finding says so, and asks for that rule by name."""

from pathlib import Path

import pytest
from support.auditing import Audited, Auditor
from support.ledgers import registry_audit
from support.registry import Registered, Registry
from support.servers import MlflowServer
from support.signing import make_signer, sign

CLEAN, FINDINGS, USAGE = 0, 1, 2


@pytest.fixture
def registry(mlflow_local: MlflowServer) -> Registry:
    return Registry(mlflow_local)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def accept(registry: Registry, version: Registered, ledger: str, *arguments: str) -> Audited:
    at = ("--tracking-uri", registry.server.uri, "--ledger", ledger)
    label = f"{version.name}/{version.version}"
    return registry_audit("baseline", "accept", label, "--reason", "looked at", *at, *arguments)  # type: ignore[return-value]


def test_a_finding_that_is_there(registry: Registry, audit: Auditor, ledger: str) -> None:
    version = registry.add()
    at = ("--model", version.name, "--ledger", ledger)
    assert audit(registry.server.uri, *at, "--accept-new").exit_status == CLEAN
    (Path(version.run_location) / "model.pkl").unlink()
    assert audit(registry.server.uri, *at).rules == {"RA002", "RA007"}

    refused = accept(registry, version, ledger)
    assert refused.exit_status == USAGE
    assert "severity high, RA007 model-incomplete: " in refused.stderr
    assert "add --despite RA007" in refused.stderr
    assert accept(registry, version, ledger, "--despite", "RA013").exit_status == USAGE
    assert accept(registry, version, ledger, "--despite", "RA999").exit_status == USAGE

    done = accept(registry, version, ledger, "--despite", "RA007")
    assert (done.exit_status, done.stdout.splitlines()[0].endswith("  1 changed file")) == (CLEAN, True)
    history = registry_audit("baseline", "history", f"{version.name}/1", "--ledger", ledger)
    assert "looked at (despite RA007)" in history.stdout
    later = audit(registry.server.uri, *at)
    assert (later.exit_status, later.rules, later.row["baseline"]) == (FINDINGS, {"RA007"}, "unchanged")
    assert later.row["accepted_reason"] == "looked at"
    (ended,) = later.document["resolved"]
    assert ended["rule"] == "RA002"
    assert ended["by"].startswith("a new baseline, which ")
    assert ended["by"].endswith(": looked at")
    for file in ("audit.html", "audit.md"):
        assert "looked at" in (later.report_dir / file).read_text(), file


def test_a_finding_that_only_the_ledger_knows(registry: Registry, audit: Auditor, ledger: str, tmp_path: Path) -> None:
    """The audit had the key; who accepts has none, and would not see that the signature does not hold."""
    version = registry.add()
    sign(registry, version, make_signer(tmp_path / "stranger").config())
    ours = make_signer(tmp_path / "ours")
    at = ("--model", version.name, "--ledger", ledger)
    audited = audit(registry.server.uri, *at, "--accept-new", "--signing-key", str(ours.public))
    assert (audited.rules, audited.row["baseline"], audited.row["accepted_now"]) == ({"RA014"}, "new", False)

    refused = accept(registry, version, ledger)
    assert refused.exit_status == USAGE
    assert "an open finding of severity high, RA014 signature-invalid, first seen on " in refused.stderr
    assert "add --despite RA014" in refused.stderr
    # Another version's findings are none of its business.
    other = registry.add()
    assert audit(registry.server.uri, "--model", other.name, "--ledger", ledger).exit_status == CLEAN
    assert accept(registry, other, ledger).exit_status == CLEAN

    assert accept(registry, version, ledger, "--despite", "RA014").exit_status == CLEAN
    shown = registry_audit("baseline", "history", f"{version.name}/1", "--ledger", ledger).stdout
    assert "(despite RA014)" in shown
