"""Unity Catalog by each of its routes: in both of its protocols, and as the open-source server."""

import shutil

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import StandIn
from support.registry import Registry
from support.servers import MlflowServer

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
URI = "databricks-uc://test_env"
NAME = "main.ml.wine"

dialects = pytest.mark.parametrize("native", [False, True], ids=["mlflow-dialect", "native-dialect"])
files_routes = pytest.mark.parametrize("through_files", [True, False], ids=["files-api", "default-storage"])


@dialects
@files_routes
def test_sound_and_damaged(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, native: bool, through_files: bool
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", str(native).lower())
    test_env.faults.models_through_files, test_env.faults.default_storage = through_files, True
    test_env.faults.page_size = 2
    test_env.register_in_catalog(NAME, seed=1, alias="champion")
    damage.flip_byte(test_env.register_in_catalog(NAME, seed=2).reg)
    test_env.register_in_catalog("main.ml.iris", test_env.log_model(seed=3, logged_model=True))
    audited = audit(URI)
    assert audited.exit_status == FINDINGS, audited.stderr
    assert [(row["name"], row["verdict"]) for row in audited.rows] == [
        ("main.ml.iris", "match"),
        (NAME, "match"),
        (NAME, "mismatch"),
    ]
    assert [row["aliases"] for row in audited.rows] == [[], ["champion"], []]
    assert audited.document["registry"]["registry_uri"] == URI


def test_open_source(mlflow_a: MlflowServer, open_catalog: StandIn, audit: Auditor) -> None:
    """Its runs are in an MLflow server beside it."""
    logged = Registry(mlflow_a).log_run_model(seed=1)
    here = open_catalog.log_model(seed=5)
    for broken in (False, True):
        version = open_catalog.register_in_catalog(NAME, here)
        entry = open_catalog.catalog[NAME][-1]
        entry |= {"run_id": logged.run_id, "source": logged.source}
        with mlflow_a.artifacts.edit(logged.location) as directory:
            shutil.rmtree(version.reg)
            shutil.copytree(directory, version.reg)
        if broken:
            damage.flip_byte(version.reg)
    audited = audit(mlflow_a.uri, "--registry-uri", f"uc:{open_catalog.url}")
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.stderr
    assert audited.exit_status == FINDINGS


@pytest.fixture
def registered_in_schemas(mlflow_a: MlflowServer, open_catalog: StandIn) -> list[str]:
    """One model in each of several schemas, and several in one."""
    logged, names = Registry(mlflow_a).log_run_model(seed=1), ["main.ml.iris", NAME, "main.raw.wine", "other.ml.wine"]
    for name in names:
        version = open_catalog.register_in_catalog(name)
        open_catalog.catalog[name][-1] |= {"run_id": logged.run_id, "source": logged.source}
        with mlflow_a.artifacts.edit(logged.location) as directory:
            shutil.rmtree(version.reg)
            shutil.copytree(directory, version.reg)
    return names


def test_open_source_is_listed_to_its_end(
    mlflow_a: MlflowServer, open_catalog: StandIn, audit: Auditor, registered_in_schemas: list[str]
) -> None:
    """Before 0.7 it names pages of the whole metastore that it does not accept itself."""
    open_catalog.faults.page_size = 1
    audited = audit(mlflow_a.uri, "--registry-uri", f"uc:{open_catalog.url}")
    assert [row["name"] for row in audited.rows] == registered_in_schemas, audited.stderr
    assert (audited.exit_status, {row["verdict"] for row in audited.rows}) == (CLEAN, {"match"}), audited.stderr


def test_open_source_says_what_to_do_about_a_refusal(
    mlflow_a: MlflowServer, open_catalog: StandIn, audit: Auditor, registered_in_schemas: list[str]
) -> None:
    asked = ("audit", "--tracking-uri", mlflow_a.uri, "--ledger", "none", "--registry-uri")
    open_catalog.faults.token_refused = True
    refused = audit.command(*asked, f"uc:{open_catalog.url}")
    assert (refused.exit_status, "set MLFLOW_UC_OSS_TOKEN" in refused.stderr) == (USAGE, True), refused.stderr
    open_catalog.faults.token_refused = False
    open_catalog.faults.pages_of_html = ("/",)
    elsewhere = audit.command(*asked, f"uc:{open_catalog.url}")
    assert (elsewhere.exit_status, "uc:http://HOST:8080?" in elsewhere.stderr) == (INCOMPLETE, True), elsewhere.stderr
