"""Run models wherever Databricks keeps them: runs, LoggedModels, Volumes, plain DBFS, and copies of other versions."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import EXPERIMENT, Logged, StandIn, Version

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://test_env"
NAME = "main.ml.wine"

registries = pytest.mark.parametrize("uri", [WORKSPACE, CATALOG], ids=["workspace", "catalog"])


def _add(service: StandIn, uri: str, logged: Logged) -> Version:
    return service.register_in_catalog(NAME, logged) if uri == CATALOG else service.register("Wine", logged)


@registries
@pytest.mark.parametrize("shown_as", ["dbfs:/", "/"])
def test_volumes(test_env: StandIn, audit: Auditor, uri: str, shown_as: str) -> None:
    for seed in (1, 2):
        logged = test_env.log_model(seed=seed, at=f"Volumes/main/ml/runs/{seed}/model")
        _add(test_env, uri, Logged(logged.source.replace("dbfs:/", shown_as), logged.directory, logged.run_id))
    damage.flip_byte(logged.directory)
    audited = audit(uri)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert test_env.paths(containing="/api/2.0/fs/files/Volumes/main/ml/runs/")


@registries
@pytest.mark.parametrize("place", ["FileStore/models", "databricks/mlflow", "user/hive/warehouse"])
def test_plain_dbfs(test_env: StandIn, audit: Auditor, uri: str, place: str) -> None:
    for seed in (1, 2):
        logged = test_env.log_model(seed=seed, at=f"{place}/{seed}/model")
        _add(test_env, uri, logged)
    damage.flip_byte(logged.directory)
    audited = audit(uri)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert test_env.paths(containing=f"/dbfs/{place}/1/model/data/nested/")


@registries
@pytest.mark.parametrize(
    ("place", "seen", "rule"),
    [
        ("Volumes/main/ml/runs", True, "RA003"),
        ("Volumes/main/ml/runs", False, "RA009"),  # of another metastore, or one that this account may not see
        ("mnt/bucket", True, "RA003"),
        ("mnt/bucket", False, "RA009"),  # not mounted any more
        ("FileStore/models", False, "RA003"),
    ],
)
def test_gone_needs_a_place_that_is_seen(
    test_env: StandIn, audit: Auditor, uri: str, place: str, seen: bool, rule: str
) -> None:
    logged = test_env.log_model(seed=1, at=f"{place}/1/model")
    _add(test_env, uri, logged)
    shutil.rmtree(logged.directory if seen else test_env.files / place)
    audited = audit(uri)
    assert rule in audited.rules, audited.everything
    expected = (True, FINDINGS) if rule == "RA003" else (False, INCOMPLETE)
    assert ("RA001" in audited.rules, audited.exit_status) == expected


@registries
def test_what_dbfs_refuses_is_said(test_env: StandIn, audit: Auditor, uri: str) -> None:
    """The copies of the workspace's registry lie in DBFS, which lets nobody at them; only their version does."""
    _add(test_env, uri, test_env.log_model(seed=1, at="databricks/mlflow-registry/0123/models/model"))
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert "No operations allowed on this path" in audited.everything
    assert "RA003" not in audited.rules


@registries
@pytest.mark.parametrize("logged_model", [False, True], ids=["run", "logged-model"])
@pytest.mark.parametrize("internal_files", [False, True], ids=["signed-urls", "files-api"])
def test_runs_and_logged_models(
    test_env: StandIn, audit: Auditor, uri: str, logged_model: bool, internal_files: bool
) -> None:
    test_env.faults.internal_files = internal_files
    for seed in (1, 2):
        logged = test_env.log_model(seed=seed, logged_model=logged_model, files={"code/__init__.py": b""})
        _add(test_env, uri, logged)
    damage.flip_byte(logged.directory)
    audited = audit(uri)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert bool(test_env.paths(containing="/artifacts/credentials-for-")) is not internal_files


@registries
@pytest.mark.parametrize(
    "path", ["runs:/{run_id}/model", "dbfs:/databricks/mlflow-tracking/{experiment}/{run_id}/artifacts/model"]
)
def test_other_ways_to_write_a_run(test_env: StandIn, audit: Auditor, uri: str, path: str) -> None:
    logged = test_env.log_model(seed=1)
    source = path.format(run_id=logged.run_id, experiment=EXPERIMENT)
    _add(test_env, uri, Logged(source, logged.directory, logged.run_id))
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match"), audited.everything


@registries
def test_runs_in_the_trash_and_gone(test_env: StandIn, audit: Auditor, uri: str) -> None:
    for seed in (1, 2):
        logged = test_env.log_model(seed=seed)
        _add(test_env, uri, logged)
    trashed, gone = test_env.runs
    test_env.runs[trashed]["lifecycle_stage"] = "deleted"
    del test_env.runs[gone]
    rows = audit(uri).rows
    assert [row["verdict"] for row in rows] == ["match", "match"]
    assert [[finding["rule"] for finding in row["findings"]] for row in rows] == [["RA004"], ["RA005"]]
    assert f"mlflow runs restore --run-id {trashed}" in rows[0]["findings"][0]["remedy"]
    assert "mlflow gc" not in rows[0]["findings"][0]["remedy"]


# ---- versions that are copies of other versions


def _copied_in_workspace(service: StandIn) -> Logged:
    service.register("Zoo", seed=9)
    return Logged("models:/Zoo/1", service.files / service.models["Zoo"][0]["registry_uri"].removeprefix("dbfs:/"), "")


def _copied_in_catalog(service: StandIn) -> Logged:
    return Logged("models:/main.ml.zoo/1", service.register_in_catalog("main.ml.zoo", seed=9).reg, "")


@pytest.mark.parametrize(
    ("uri", "copied"),
    [
        (WORKSPACE, _copied_in_workspace),
        (CATALOG, _copied_in_workspace),  # as a migration to Unity Catalog leaves them
        (CATALOG, _copied_in_catalog),
        (WORKSPACE, _copied_in_catalog),
    ],
)
def test_a_copy_of_another_version(
    test_env: StandIn, audit: Auditor, uri: str, copied: Callable[[StandIn], Logged]
) -> None:
    """`copy_model_version` records the version that it copied as the source: its registry model is the run model."""
    source = copied(test_env)
    _add(test_env, uri, source)
    chosen = ("--model", NAME if uri == CATALOG else "Wine")
    audited = audit(uri, *chosen)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match"), audited.everything
    assert audit(uri, *chosen, "--liveness").rules == set()
    damage.flip_byte(source.directory)
    audited = audit(uri, *chosen)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "mismatch"), audited.everything


def test_a_copy_of_a_version_that_is_gone(test_env: StandIn, audit: Auditor) -> None:
    test_env.register_in_catalog(NAME, Logged("models:/Zoo/1", test_env.log_model(seed=1).directory, ""))
    audited = audit(CATALOG)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "unverifiable")
    assert "RA010" in audited.rules


@registries
@pytest.mark.parametrize("status", ["PENDING_REGISTRATION", "FAILED_REGISTRATION"])
def test_a_copy_that_is_not_finished_is_no_difference(test_env: StandIn, audit: Auditor, uri: str, status: str) -> None:
    _, unfinished = [_add(test_env, uri, test_env.log_model(seed=seed)) for seed in (1, 2)]
    (test_env.catalog[NAME] if uri == CATALOG else test_env.models["Wine"])[1]["status"] = status
    shutil.rmtree(unfinished.reg / "data")
    audited = audit(uri)
    assert (audited.exit_status, [row["verdict"] for row in audited.rows]) == (CLEAN, ["match", "skipped"])
    assert audited.rules == {"RA006"}


@registries
@pytest.mark.parametrize("source", ["/dbfs/FileStore/m", "file:///local_disk0/m"])
def test_a_source_on_another_machine_is_no_finding(test_env: StandIn, audit: Auditor, uri: str, source: str) -> None:
    _add(test_env, uri, replace(test_env.log_model(seed=1), source=source))
    audited = audit(uri)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable"), audited.everything
    assert audited.rules == {"RA009"}


def test_registered_in_the_registry_of_another_workspace(test_env: StandIn, prod_env: StandIn, audit: Auditor) -> None:
    """MLflow puts the files into the DBFS of the workspace that the registry is in, and records that as the source."""
    place = "databricks/mlflow/tmp-external-source/0123/model"
    test_env.log_model(seed=1, at=place)
    run = test_env.log_model(seed=2, number=77)
    uploaded = prod_env.log_model(seed=2, number=77, at=place)
    prod_env.runs.clear()
    prod_env.register("Wine", Logged(uploaded.source, uploaded.directory, run.run_id))
    prod_env.models["Wine"][0]["run_link"] = f"{test_env.url}/?o={test_env.workspace_id}#mlflow/experiments/1/runs/2"
    audited = audit(WORKSPACE, "--registry-uri", "databricks://prod_env")
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "match"), audited.everything
    audited = audit("databricks://prod_env")
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert test_env.workspace_id in audited.everything
