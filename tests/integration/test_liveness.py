"""`--liveness`: no byte is read, so nothing passes; what is gone, or about to go, is found all the same."""

from pathlib import Path

import pytest
from support import damage
from support.auditing import Auditor
from support.registry import Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

FINDINGS, USAGE, INCOMPLETE = 1, 2, 3
STORES = ("mlflow_local", "mlflow_a", "mlflow_s3_direct")


@pytest.fixture(params=STORES)
def registry(request: pytest.FixtureRequest, s3_environment: S3Endpoint) -> Registry:
    server: MlflowServer = request.getfixturevalue(request.param)
    return Registry(server)


@pytest.mark.parametrize("separate", [True, False], ids=["separate", "shared"])
def test_a_healthy_version_is_no_pass(registry: Registry, audit: Auditor, separate: bool) -> None:
    version = registry.add(separate=separate)
    audited = audit(registry.server.uri, "--model", version.name, "--liveness")
    assert audited.exit_status == INCOMPLETE
    assert (audited.row["verdict"], audited.row["findings"]) == ("skipped", [])
    coverage = audited.document["coverage"]
    assert (coverage["audited"], coverage["only_listed"], coverage["bytes_read"]) == (0, 1, 0)
    assert "No byte was read" in audited.stdout
    assert "That is not a pass" in audited.stdout


@pytest.mark.parametrize("kind", damage.MISSING, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("side", ["run_location", "reg_location"])
def test_a_missing_model_is_found(registry: Registry, audit: Auditor, kind: damage.Damage, side: str) -> None:
    version = registry.add(separate=True)
    with registry.server.artifacts.edit(getattr(version, side)) as directory:
        kind(directory)
    audited = audit(registry.server.uri, "--model", version.name, "--liveness")
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (FINDINGS, "unverifiable", {"RA003"})


def test_a_run_in_the_trash_and_a_pending_registration_are_found(registry: Registry, audit: Auditor) -> None:
    version = registry.add()
    registry.client.delete_run(version.run_id)
    registry.change_row(version.name, version.version, status="PENDING_REGISTRATION")
    audited = audit(registry.server.uri, "--model", version.name, "--liveness", "--fail-on", "low")
    assert (audited.exit_status, audited.rules) == (FINDINGS, {"RA004", "RA006"})


def test_a_source_that_leads_elsewhere_is_found(mlflow_a: MlflowServer, audit: Auditor) -> None:
    registry = Registry(mlflow_a)
    origin = registry.add(seed=1)
    copied = registry.new_name("copy")
    registry.client.create_registered_model(copied)
    registry.client.copy_model_version(f"models:/{origin.name}/{origin.version}", copied)
    registry.client.delete_registered_model(origin.name)
    registry.add(origin.name, seed=2)  # numbers begin at 1 again
    audited = audit(mlflow_a.uri, "--model", copied, "--liveness")
    assert (audited.exit_status, audited.rules) == (FINDINGS, {"RA010"})


def test_what_only_reading_shows_is_neither_found_nor_forgotten(
    registry: Registry, audit: Auditor, tmp_path: Path
) -> None:
    """The ledger keeps what the last reading said, and a look at the listing does not stand in for it."""
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    version = registry.add()
    scope = ("--model", version.name, "--ledger", ledger)
    assert audit(registry.server.uri, *scope, "--accept-new").exit_status == 0
    with registry.server.artifacts.edit(version.run_location) as directory:
        damage.flip_byte(directory)
    looked = audit(registry.server.uri, *scope, "--liveness")
    assert (looked.exit_status, looked.rules, looked.row["baseline"]) == (INCOMPLETE, set(), "not_read")
    assert audit(registry.server.uri, *scope).rules == {"RA002"}
    looked = audit(registry.server.uri, *scope, "--liveness")
    assert looked.document["resolved"] == []
    again = audit(registry.server.uri, *scope)
    assert [finding["new"] for finding in again.row["findings"]] == [False]


@pytest.mark.parametrize("contradiction", ["--quick", "--accept-new"])
def test_it_reads_nothing_so_nothing_can_be_accepted_or_trusted(
    mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path, contradiction: str
) -> None:
    audited = audit(mlflow_local.uri, "--liveness", contradiction, "--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")
    assert audited.exit_status == USAGE
    assert "--liveness reads no file" in audited.stderr
