"""`runs:/RUN/NAME`, where a LoggedModel lies over the directory of the run: what MLflow serves, and what is said."""

import shutil
from collections.abc import Iterator

import pytest
import yaml
from support import faults
from support.auditing import Auditor
from support.faulty_proxy import Exchange, FaultyProxy, Response
from support.registry import Registry
from support.servers import MlflowServer

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
SEARCH, VERSION = r"/logged-models/search", r"^/version$"


@pytest.fixture
def registry(mlflow_a: MlflowServer) -> Registry:
    return Registry(mlflow_a)


@pytest.fixture
def run_id(registry: Registry) -> str:
    return str(registry.client.create_run(registry.experiment_id).info.run_id)


def put(registry: Registry, location: str, says: str) -> None:
    directory = registry.server.artifacts.path(location)
    directory.mkdir(parents=True)
    model = {"flavors": {"python_function": {"loader_module": says}}}
    (directory / "MLmodel").write_text(yaml.safe_dump(model), encoding="utf-8")


def put_own(registry: Registry, run_id: str) -> None:
    put(registry, f"{registry.client.get_run(run_id).info.artifact_uri}/model", "of the run")


def put_logged(registry: Registry, run_id: str) -> str:
    """Its location."""
    logged = registry.client.create_logged_model(registry.experiment_id, name="model", source_run_id=run_id)
    put(registry, logged.artifact_location, "of the model")
    return str(logged.artifact_location)


def register(registry: Registry, source: str, download_uri: str | None = None) -> str:
    name = Registry.new_name()
    registry.insert_versions(name, [(source, download_uri or source)])
    return name


def test_only_the_runs_directory(registry: Registry, run_id: str, audit: Auditor) -> None:
    put_own(registry, run_id)
    name = register(registry, f"runs:/{run_id}/model")
    audited = audit(registry.server.uri, "--model", name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage")


def test_only_a_logged_model_cannot_be_loaded_by_the_versions_name(
    registry: Registry, run_id: str, audit: Auditor
) -> None:
    """`create_model_version(source="runs:/RUN/NAME")`: `models:/` serves it one directory down, without an MLmodel."""
    put_logged(registry, run_id)
    name = register(registry, f"runs:/{run_id}/model")
    audited = audit(registry.server.uri, "--model", name)
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (FINDINGS, "unverifiable", {"RA015"})
    assert "one directory down" in audited.row["reason"]
    check = audit.command("check", f"{name}/1", "--tracking-uri", registry.server.uri)
    assert check.exit_status == FINDINGS


def test_but_it_can_where_the_download_uri_is_its_own(registry: Registry, run_id: str, audit: Auditor) -> None:
    location = put_logged(registry, run_id)
    name = register(registry, f"runs:/{run_id}/model", location)
    audited = audit(registry.server.uri, "--model", name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage")


@pytest.mark.parametrize("what_then", ["nothing", "deleted", "deleted, and mlflow gc"])
def test_a_plain_path_into_the_directory_of_a_logged_model(registry: Registry, audit: Auditor, what_then: str) -> None:
    """As mlflow-export-import records them, and newer servers refuse to. `mlflow gc` removes its files."""
    logged = registry.log_logged_model()
    name = Registry.new_name()
    version = registry.register(name, logged.source, logged.run_id)
    registry.change_row(name, version, source=logged.location)
    assert audit(registry.server.uri, "--model", name).exit_status == CLEAN
    if what_then != "nothing":
        registry.client.delete_logged_model(str(logged.model_id))
    if what_then.endswith("gc"):
        with registry.server.artifacts.edit(logged.location) as directory:
            shutil.rmtree(directory)
    audited = audit(registry.server.uri, "--model", name)
    expected = {
        "nothing": (CLEAN, set()),
        "deleted": (FINDINGS, {"RA004"}),
        "deleted, and mlflow gc": (FINDINGS, {"RA003"}),
    }
    assert (audited.exit_status, audited.rules) == expected[what_then]
    if what_then == "deleted":
        (finding,) = audited.row["findings"]
        assert (f"the LoggedModel {logged.model_id}" in finding["message"], "anew" in finding["remedy"]) == (True, True)


def test_a_deleted_logged_model_is_told_of_once(registry: Registry, audit: Auditor) -> None:
    """Where the source names it, and the download URI leads into its directory."""
    logged = registry.log_logged_model()
    name = Registry.new_name()
    registry.register(name, logged.source, logged.run_id)
    registry.client.delete_logged_model(str(logged.model_id))
    (finding,) = audit(registry.server.uri, "--model", name).row["findings"]
    assert (finding["rule"], "its source, a LoggedModel, was deleted" in finding["message"]) == ("RA004", True)


@pytest.mark.parametrize("others", [0, 101], ids=["alone", "on the second page"])
def test_both_are_served_in_different_ways(registry: Registry, run_id: str, audit: Auditor, others: int) -> None:
    """MLflow asks for the names of LoggedModels a hundred at a time."""
    put_own(registry, run_id)
    put_logged(registry, run_id)
    another = registry.client.create_run(registry.experiment_id).info.run_id
    for _ in range(others):
        registry.client.create_logged_model(registry.experiment_id, name="model", source_run_id=another)
    audited = audit(registry.server.uri, "--model", register(registry, f"runs:/{run_id}/model"))
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (FINDINGS, "unverifiable", {"RA015"})
    assert "both hold files" in audited.row["reason"]


@pytest.fixture
def without_logged_models(proxy_a: FaultyProxy) -> Iterator[FaultyProxy]:
    """The server has no such route, as before MLflow 3, or something between hides it."""
    proxy_a.fault(faults.status(404), path=SEARCH)
    yield proxy_a


@pytest.mark.parametrize("version", ["2.22.5", "1.30.1"])
def test_servers_before_mlflow_3_have_none(
    registry: Registry, run_id: str, audit: Auditor, without_logged_models: FaultyProxy, version: str
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.send(Response(200, version.encode()))

    without_logged_models.fault(answer, path=VERSION)
    put_own(registry, run_id)
    name = register(registry, f"runs:/{run_id}/model")
    audited = audit(without_logged_models.uri, "--model", name)
    assert (audited.exit_status, audited.row["verdict"]) == (CLEAN, "same_storage")


def test_a_later_server_that_does_not_tell_leaves_it_open(
    registry: Registry, run_id: str, audit: Auditor, without_logged_models: FaultyProxy
) -> None:
    put_own(registry, run_id)
    name = register(registry, f"runs:/{run_id}/model")
    audited = audit(without_logged_models.uri, "--model", name)
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (INCOMPLETE, "unverifiable", {"RA009"})
