"""Chains of `models:/` and `runs:/` URIs, followed over a registry that is a few dictionaries."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    RESOURCE_DOES_NOT_EXIST,
    UNAUTHENTICATED,
)

from registry_audit.errors import CouldNotVerify, Transient
from registry_audit.registry.resolve import Location, Lost, ResolvedVersion, _parse_models, resolve_version
from registry_audit.registry.runs import Runs, RunState
from registry_audit.registry.version import RegisteredVersion
from registry_audit.verdict import Storage

ID = "m-" + "0" * 31 + "1"
ROOT = "s3://bucket/1"


def gone(what: object) -> MlflowException:
    return MlflowException(f"{what} not found", RESOURCE_DOES_NOT_EXIST)


class Page(list[Any]):
    def __init__(self, items: list[Any], token: str | None) -> None:
        super().__init__(items)
        self.token = token


@dataclass
class FakeRegistry:
    """What resolving asks of MLflow; a value that is an exception is raised."""

    downloads: dict[tuple[str, str], Any] = field(default_factory=dict)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    logged: dict[str, Any] = field(default_factory=dict)  # model id -> location
    runs: dict[str, Any] = field(default_factory=dict)  # run id -> (stage, artifact URI)
    of_runs: dict[str, list[Any]] = field(default_factory=dict)  # run id -> LoggedModels
    deleted_experiments: frozenset[str] = frozenset()
    is_uc = is_databricks = has_runs_in_databricks = copies_models = False
    own_spelling = staticmethod(str)
    databricks: Any = None
    identity = "http://fake"
    tracking_uri = registry_uri = "http://host"
    workspace = None

    def registry_wire(self) -> None:
        return None

    @property
    def client(self) -> "FakeRegistry":
        return self

    registry = client

    def registry_of(self, name: str) -> "FakeRegistry":
        return self

    def get_model_version_download_uri(self, name: str, version: str) -> Any:
        return given(self.downloads, (name, version))

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        return SimpleNamespace(version=given(self.aliases, (name, alias)))

    def get_logged_model(self, model_id: str) -> Any:
        return SimpleNamespace(artifact_location=given(self.logged, model_id), experiment_id="2")

    def get_experiment(self, experiment_id: str) -> Any:
        is_deleted = experiment_id in self.deleted_experiments
        return SimpleNamespace(lifecycle_stage="deleted" if is_deleted else "active")

    def get_run(self, run_id: str) -> Any:
        stage, uri = given(self.runs, run_id)
        return SimpleNamespace(info=SimpleNamespace(lifecycle_stage=stage, experiment_id="1", artifact_uri=uri))

    def search_logged_models(self, experiment_ids: list[str], filter_string: str, page_token: str | None = None) -> Any:
        """One LoggedModel a page, those of other names left out."""
        _, name, _, run_id, _ = filter_string.split("'")
        found = [model for model in self.of_runs.get(run_id, []) if model.name == name]
        at = int(page_token or 0)
        return Page(found[at : at + 1], str(at + 1) if at + 1 < len(found) else None)


def given(values: dict[Any, Any], key: Any) -> Any:
    value = values.get(key, gone(key))
    if isinstance(value, Exception):
        raise value
    return value


def resolve(registry: FakeRegistry, source: str, download: object = None, run_id: str | None = None) -> ResolvedVersion:
    registry.downloads.setdefault(("Wine", "3"), source if download is None else download)
    version = RegisteredVersion("Wine", "3", "READY", None, (), run_id, source)
    return resolve_version(registry, version, Runs(registry))  # type: ignore[arg-type]


def source_of(registry: FakeRegistry, source: str) -> Location:
    return resolve(registry, source).run_model


MODEL_URIS = [
    f"models:/{ID}",
    "models:/Wine/3",
    "models:/Wine/03",
    "models:/we%20ird%41/3",
    "models:/Wine@champion",
    "models:/Wi@ne@champion",
    "models:/a@b/3",
    f"models:/{ID}/3",
    "models:/m-wine@champion",
    "models:/cat.sch.model/3",
    "models:/Wine?x/3",
    "models:/Wine#x/3",
    "MODELS:/Wine/3",
    "models://Wine/3",
    f"models://{ID}",
    f"models:/{ID}/data/model",
    "models:/Wine/3/",
    "models:/Wine/Production",
    "models:/Wine/latest",
    "models:/m-wine/Production",
    "models:Wine/3",
    "models:/",
    "models:/@a",
    "models:/ /3",
    "models:/Wine//3",
    "models:///Wine/3",
]


@pytest.mark.parametrize("uri", MODEL_URIS)
def test_a_model_uri_is_taken_apart_as_mlflow_does_or_not_at_all(uri: str) -> None:
    from mlflow.store.artifact.utils.models import _parse_model_uri

    try:
        ours = _parse_models(uri)
    except CouldNotVerify:
        return
    theirs = _parse_model_uri(uri)
    assert (ours.model_id, ours.name, ours.version, ours.alias) == tuple(
        value or "" for value in (theirs.model_id, theirs.name, theirs.version, theirs.alias)
    )
    assert not theirs.stage


@pytest.mark.parametrize("root", ["s3://bucket/1/model", "mlflow-artifacts:/1/model", "/srv/1/model", "dbfs:/x"])
def test_a_root_is_its_own_end(root: str) -> None:
    location = source_of(FakeRegistry(), root)
    assert (location.uri, location.roots, location.lost, location.unknown) == (root, (root,), None, None)
    assert not location.through_version


def test_a_logged_model_leads_to_its_artifacts() -> None:
    registry = FakeRegistry(logged={ID: f"{ROOT}/models/{ID}/artifacts/"})
    assert source_of(registry, f"models:/{ID}").roots == (f"{ROOT}/models/{ID}/artifacts/",)
    assert "does not read" in str(source_of(registry, f"models:/{ID}/inside/it").unknown)
    assert not source_of(registry, f"models:/{ID}").through_version


def test_a_copy_leads_to_what_was_copied_and_says_that_it_passed_a_version() -> None:
    registry = FakeRegistry(downloads={("Old", "1"): "models:/Older/7", ("Older", "7"): f"{ROOT}/model"})
    location = source_of(registry, "models:/Old/1")
    assert (location.roots, location.through_version) == ((f"{ROOT}/model",), True)


def test_an_alias_in_a_uri_and_a_name_that_is_not_decoded() -> None:
    registry = FakeRegistry(downloads={("we%20ird@x", "2"): f"{ROOT}/model"}, aliases={("we%20ird@x", "champion"): "2"})
    assert source_of(registry, "models:/we%20ird@x/2").roots == (f"{ROOT}/model",)
    assert source_of(registry, "models:/we%20ird@x@champion").roots == (f"{ROOT}/model",)
    assert source_of(registry, "models:/we ird@x/2").lost is Lost.VERSION


def test_a_run_leads_to_its_directory() -> None:
    registry = FakeRegistry(runs={"r1": ("active", f"{ROOT}/r1/artifacts/")})
    assert source_of(registry, "runs:/r1/deep/model").roots == (f"{ROOT}/r1/artifacts/deep/model",)
    assert source_of(registry, "runs:/r1").roots == (f"{ROOT}/r1/artifacts/",)


def logged(name: str, location: str, run_id: str = "r1") -> Any:
    return SimpleNamespace(name=name, source_run_id=run_id, artifact_location=location)


def test_a_logged_model_of_that_name_lies_over_the_directory_of_the_run() -> None:
    models = [
        logged("other", "s3://b/no"),
        logged("model", "s3://b/of-another-run", "r2"),
        logged("model", "s3://b/new"),
    ]
    registry = FakeRegistry(
        runs={"r1": ("active", f"{ROOT}/r1/artifacts")},
        of_runs={"r1": [*models, logged("model", "s3://b/old")]},
    )
    own = f"{ROOT}/r1/artifacts"
    assert source_of(registry, "runs:/r1/model").roots == (f"{own}/model", "s3://b/new")
    assert source_of(registry, "runs:/r1/model/inside/it").roots == (f"{own}/model/inside/it", "s3://b/new/inside/it")
    assert source_of(registry, "runs:/r1/model2").roots == (f"{own}/model2",)


@pytest.mark.parametrize(
    ("source", "lost", "message"),
    [
        ("", Lost.NOWHERE, "the registry records no location"),
        ("models:/Old/1", Lost.VERSION, "models:/Old/1 no longer exists"),
        ("models:/Old@a", Lost.VERSION, "models:/Old@a no longer exists"),
        (f"models:/{ID}", Lost.LOGGED_MODEL, f"models:/{ID} no longer exists"),
        ("runs:/r1/model", Lost.RUN, "runs:/r1/model no longer exists"),
        ("models:/Copy/1", Lost.LOGGED_MODEL, f"models:/{ID} no longer exists"),
    ],
)
def test_what_a_source_leads_to_and_is_not_there(source: str, lost: Lost, message: str) -> None:
    location = source_of(FakeRegistry(downloads={("Copy", "1"): f"models:/{ID}"}), source)
    assert (location.roots, location.identity, location.lost, location.message) == ((), None, lost, message)


@pytest.mark.parametrize("source", ["models:/A/Production", "models:/A/latest", "s3:///x", "s3://b/../x", f"{ROOT}/x "])
def test_what_no_audit_anywhere_could_read_is_told_from_what_is_out_of_reach(source: str) -> None:
    location = source_of(FakeRegistry(), source)
    assert (location.unknown is not None, location.is_unreadable) == (True, True)


@pytest.mark.parametrize("host", ["databricks", "prod@databricks", "scope:key@databricks"])
def test_a_run_of_another_workspace_is_not_looked_for_here(host: str) -> None:
    registry = FakeRegistry(runs={"r1": ("active", f"{ROOT}/r1/artifacts")})
    assert source_of(registry, "runs://elsewhere/r1/model").roots == (f"{ROOT}/r1/artifacts/model",)
    location = source_of(registry, f"runs://{host}/r1/model")
    assert location.roots == ()
    assert "names a workspace of Databricks" in str(location.unknown)
    assert "key" not in str(location.unknown)


def test_a_circle_and_a_chain_without_end_are_not_followed_for_ever() -> None:
    circle = FakeRegistry(downloads={("A", "1"): "models:/B/1", ("B", "1"): "models:/A/1"})
    assert source_of(circle, "models:/A/1").unknown == (
        "the location models:/A/1 leads in a circle or through over 20 others"
    )
    chain = FakeRegistry(downloads={("A", str(n)): f"models:/A/{n + 1}" for n in range(1, 100)})
    assert "through over 20 others" in str(source_of(chain, "models:/A/1").unknown)
    short = FakeRegistry(downloads={("A", str(n)): f"models:/A/{n + 1}" for n in range(1, 19)} | {("A", "19"): ROOT})
    assert source_of(short, "models:/A/1").roots == (ROOT,)


@pytest.mark.parametrize("code", [PERMISSION_DENIED, INVALID_PARAMETER_VALUE, UNAUTHENTICATED])
def test_what_the_server_does_not_tell_is_unknown_and_not_lost(code: int) -> None:
    registry = FakeRegistry(downloads={("Old", "1"): MlflowException("no", code)})
    location = source_of(registry, "models:/Old/1")
    assert location.unknown is not None
    assert (location.roots, location.lost) == ((), None)
    refused = resolve(FakeRegistry(), ROOT, MlflowException("no", code)).reg_model
    assert refused.unknown is not None


def test_a_server_that_fails_is_worth_another_try() -> None:
    for registry, source in (
        (FakeRegistry(downloads={("Old", "1"): MlflowException("500", INTERNAL_ERROR)}), "models:/Old/1"),
        (FakeRegistry(downloads={("Wine", "3"): MlflowException("500", INTERNAL_ERROR)}), ROOT),
    ):
        with pytest.raises(Transient):
            resolve(registry, source)
    failing = FakeRegistry(runs={"r1": MlflowException("500", INTERNAL_ERROR)})
    with pytest.raises(Transient):
        resolve(failing, ROOT, run_id="r1")


def test_a_version_that_went_away_meanwhile() -> None:
    resolved = resolve(FakeRegistry(), ROOT, gone("Wine 3"))
    assert (resolved.reg_model.lost, resolved.storage) == (Lost.VERSION, Storage.UNKNOWN)


@pytest.mark.parametrize(
    ("source", "download", "storage"),
    [
        (f"models:/{ID}", f"{ROOT}/models", Storage.SHARED),
        ("runs:/r1/model", f"{ROOT}/r1/model", Storage.SHARED),
        (f"{ROOT}/a", f"{ROOT}/a/", Storage.SHARED),
        (f"{ROOT}/a", f"{ROOT}/b", Storage.SEPARATE),
        (f"{ROOT}/a", "mlflow-artifacts:/a", Storage.UNKNOWN),
        ("models:/Gone/1", f"{ROOT}/a", Storage.UNKNOWN),
    ],
)
def test_whether_the_two_are_one_storage(source: str, download: str, storage: Storage) -> None:
    registry = FakeRegistry(logged={ID: f"{ROOT}/models"}, runs={"r1": ("active", f"{ROOT}/r1")})
    assert resolve(registry, source, download).storage is storage


@pytest.mark.parametrize(
    ("run_id", "state"),
    [(None, RunState.NONE), ("r1", RunState.ACTIVE), ("r2", RunState.DELETED), ("r3", RunState.MISSING)],
)
def test_the_state_of_the_run(run_id: str | None, state: RunState) -> None:
    registry = FakeRegistry(runs={"r1": ("active", ROOT), "r2": ("deleted", ROOT)})
    assert resolve(registry, ROOT, run_id=run_id).run is state


def test_a_run_that_is_denied_is_a_problem_of_the_version() -> None:
    registry = FakeRegistry(runs={"r1": MlflowException("no", PERMISSION_DENIED)})
    resolved = resolve(registry, ROOT, run_id="r1")
    assert [(p.rule, p.message) for p in resolved.problems] == [
        ("RA009", "could not find run r1: permission denied; ask for READ on it")
    ]


def test_hostile_text_in_a_uri_is_shown_escaped_and_without_credentials() -> None:
    location = source_of(FakeRegistry(), "models:/a\x1b[2J/1")
    assert location.message == "models:/a\\x1b[2J/1 no longer exists"


def test_where_the_registry_copies_only_its_own_repository_may_read_the_copy() -> None:
    registry = FakeRegistry()
    registry.copies_models = True
    workspace = SimpleNamespace(identity="host/workspace/1", id="1")
    registry.databricks = SimpleNamespace(registry=registry, workspace=workspace, registry_of=lambda name: registry)
    resolved = resolve(registry, "dbfs:/run/model", "dbfs:/databricks/mlflow-registry/x")
    assert (resolved.reg_model.uri, resolved.reg_model.roots) == (
        "dbfs:/databricks/mlflow-registry/x",
        ("models:/Wine/3",),
    )
    assert resolved.storage is Storage.SEPARATE


RUN, OTHER_RUN = "a" * 32, "b" * 32
OF_RUN = f"mlflow-artifacts:/1/{RUN}/artifacts"


@pytest.mark.parametrize("named", [None, OTHER_RUN])
@pytest.mark.parametrize(
    ("source", "download"),
    [
        (f"runs:/{RUN}/model", None),
        (f"{OF_RUN}/model", None),
        ("models:/Beer/1", f"runs:/{RUN}/model"),
        ("mlflow-artifacts:/moved/model", f"{OF_RUN}/model"),
    ],
)
def test_a_run_in_the_trash_that_holds_the_files_is_found_whichever_run_the_version_names(
    source: str, download: str | None, named: str | None
) -> None:
    registry = FakeRegistry(
        runs={RUN: ("deleted", OF_RUN), OTHER_RUN: ("active", "mlflow-artifacts:/1/other/artifacts")},
        downloads={("Beer", "1"): f"runs:/{RUN}/model"},
    )
    (problem,) = resolve(registry, source, download, named).problems
    assert (problem.rule, problem.blocks) == ("RA004", False)
    assert problem.remedy.endswith(f"mlflow runs restore --run-id {RUN}")


@pytest.mark.parametrize("named", [None, OTHER_RUN])
@pytest.mark.parametrize(
    ("source", "experiment"), [(f"models:/{ID}", "2"), (f"runs:/{RUN}/model", "1"), (f"{OF_RUN}/model", "1")]
)
def test_so_is_the_experiment_of_what_holds_them(source: str, experiment: str, named: str | None) -> None:
    registry = FakeRegistry(
        runs={RUN: ("deleted", OF_RUN), OTHER_RUN: ("active", "mlflow-artifacts:/3/other/artifacts")},
        logged={ID: "mlflow-artifacts:/2/models/x/artifacts"},
        deleted_experiments=frozenset({experiment}),
    )
    (problem,) = resolve(registry, source, run_id=named).problems
    assert (problem.rule, f"--experiment-id {experiment}" in problem.remedy) == ("RA004", True)


@pytest.mark.parametrize(
    "of_run",
    [gone("run"), CouldNotVerify("denied"), ("deleted", "mlflow-artifacts:/elsewhere")],
    ids=["of another server", "denied", "with another directory"],
)
def test_a_run_that_only_a_path_names_changes_nothing_unless_it_is_its_directory(of_run: Any) -> None:
    resolved = resolve(FakeRegistry(runs={RUN: of_run}), f"{OF_RUN}/model")
    assert (resolved.problems, resolved.run_model.roots) == ((), (f"{OF_RUN}/model",))
