"""Two servers with the same names at the same places, and other bytes: nobody ever gets the other one's."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from support import damage
from support.auditing import Auditor
from support.registry import Registered, Registry
from support.servers import MlflowServer

import registry_audit as ra
from registry_audit.api import audit_registry
from registry_audit.audit.options import AuditOptions
from registry_audit.report.document import AuditDocument

CLEAN, FINDINGS = 0, 1
THREADS, AUDITS = 8, 32


@dataclass(frozen=True, slots=True)
class Side:
    server: MlflowServer
    versions: tuple[Registered, ...]
    digests: tuple[str, ...]  # of each version's run model, as an audit of this server alone says


@dataclass(frozen=True, slots=True)
class Twins:
    name: str
    a: Side
    b: Side


@pytest.fixture(scope="module")
def twins(mlflow_a: MlflowServer, mlflow_b: MlflowServer) -> Twins:
    """One name, one version with files in the run's directory, one LoggedModel; on B a separate copy is damaged too."""
    on_a, on_b = Registry(mlflow_a), Registry(mlflow_b)
    name = on_a.new_name("twin")
    sides = []
    for seed, registry in ((1, on_a), (2, on_b)):
        versions = (
            registry.add(name, seed=seed),
            registry.add(name, logged=registry.log_logged_model(seed=seed + 10)),
            registry.add(name, seed=seed + 20, separate=True),
        )
        sides.append((registry, versions))
    # The first version of B moves to where A has its own: `mlflow-artifacts:/` then says the same on both.
    place = sides[0][1][0].run_location
    mlflow_b.artifacts.copy(sides[1][1][0].run_location, place)
    on_b.change_row(name, "1", source=place, storage_location=place)
    with mlflow_b.artifacts.edit(sides[1][1][2].reg_location) as directory:
        damage.flip_byte(directory)
    return Twins(
        name, *(Side(registry.server, versions, _digests(registry.server, name)) for registry, versions in sides)
    )


def _audit(server: MlflowServer, name: str) -> AuditDocument:
    return audit_registry(AuditOptions(tracking_uri=server.uri, models=(name,), workers=2))


def _digests(server: MlflowServer, name: str) -> tuple[str, ...]:
    rows = _audit(server, name).versions
    return tuple(str(row.run_model and row.run_model.manifest_digest) for row in rows)


def test_the_same_names_lead_to_different_bytes(twins: Twins) -> None:
    assert twins.a.server.artifacts.files(twins.a.versions[0].run_location) != twins.b.server.artifacts.files(
        twins.a.versions[0].run_location
    )
    assert len(set(twins.a.digests + twins.b.digests)) == 6


def test_in_processes_of_their_own_they_say_the_same(twins: Twins, audit: Auditor) -> None:
    for side, status in ((twins.a, CLEAN), (twins.b, FINDINGS)):
        audited = audit.program(side.server.uri, "--model", twins.name)
        assert tuple(row["run_model"]["manifest_digest"] for row in audited.rows) == side.digests
        assert audited.exit_status == status
    assert [row["verdict"] for row in audited.rows] == ["same_storage", "same_storage", "mismatch"]


def test_the_environment_names_the_other_server(twins: Twins, audit: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    for here, other in ((twins.a, twins.b), (twins.b, twins.a)):
        environment = {"MLFLOW_TRACKING_URI": other.server.uri, "MLFLOW_REGISTRY_URI": other.server.uri}
        audited = audit.program(here.server.uri, "--model", twins.name, environment=environment)
        assert tuple(row["run_model"]["manifest_digest"] for row in audited.rows) == here.digests
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        compared = ra.compare(f"{twins.name}/1", f"{twins.name}/2", here.server.uri, ledger=None).versions
        checked = ra.check(f"{twins.name}/3", here.server.uri, ledger=None).versions
        found = tuple(row.run_model and row.run_model.manifest_digest for row in (*compared, *checked))
        assert found == here.digests


def test_many_audits_of_both_at_once(twins: Twins) -> None:
    def run(number: int) -> None:
        side = (twins.a, twins.b)[number % 2]
        document = _audit(side.server, twins.name)
        digests = tuple(str(row.run_model and row.run_model.manifest_digest) for row in document.versions)
        assert digests == side.digests
        third = "match" if side is twins.a else "mismatch"
        assert [row.verdict.value for row in document.versions] == ["same_storage", "same_storage", third]
        assert document.outcome.exit_status == (CLEAN if side is twins.a else FINDINGS)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(AUDITS)))


def test_what_the_other_server_has_is_missing_here(twins: Twins, audit: Auditor, mlflow_b: MlflowServer) -> None:
    """A's location and A's LoggedModel, recorded on B, are not quietly fetched from A."""
    registry = Registry(mlflow_b)
    there = twins.a.versions[1]
    version = registry.add(seed=9)
    for source, location in (
        (there.run_location, there.run_location),
        (f"models:/{'m-' + '0' * 32}", there.run_location),
    ):
        registry.change_row(version.name, version.version, source=source, storage_location=location)
        audited = audit(mlflow_b.uri, "--model", version.name)
        assert audited.exit_status == FINDINGS
        assert audited.row["verdict"] == "unverifiable"
        assert "RA003" in audited.rules
