"""A workspace's tracking server and its model registry, asked as MLflow's own client asks them.

Only the questions of an audit are here: nothing that could write has a method. What comes back are MLflow's entities.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from registry_audit.errors import CouldNotVerify, NotFound, UsageError
from registry_audit.printable import printable
from registry_audit.refs import Alias, Selector
from registry_audit.registry.rest import Query, Rest, entries_of
from registry_audit.registry.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_API = "/api/2.0/mlflow"
_PAGE_SIZE = 100  # what every registry of Databricks accepts


class Tracking:
    """Runs and LoggedModels of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def get_run(self, run_id: str) -> "FoundRun":
        doing = f"find run {printable(run_id)}"
        run = _part(self.workspace.get(f"{_API}/runs/get", {"run_id": run_id}, doing=doing), "run", doing)
        info = _part(run, "info", doing)
        return FoundRun(
            RunInfo(
                run_id,
                text_of(info, "experiment_id"),
                text_of(info, "lifecycle_stage"),
                text_of(info, "artifact_uri"),
            )
        )

    def get_logged_model(self, model_id: str) -> "LoggedModel":
        doing = f"find the LoggedModel {printable(model_id)}"
        answer = self.workspace.get(f"{_API}/logged-models/{quote(model_id, safe='')}", doing=doing)
        return _logged_model(_part(answer, "model", doing), doing)

    def get_experiment(self, experiment_id: str) -> "Experiment":
        doing = f"find experiment {printable(experiment_id)}"
        answer = self.workspace.get(f"{_API}/experiments/get", {"experiment_id": experiment_id}, doing=doing)
        found = _part(answer, "experiment", doing)
        return Experiment(text_of(found, "lifecycle_stage"), text_of(found, "artifact_location"))

    def search_logged_models(
        self, experiment_ids: list[str], filter_string: str | None = None, page_token: str | None = None
    ) -> "Found":
        doing = "search the LoggedModels"
        wanted = {"experiment_ids": experiment_ids, "filter": filter_string, "page_token": page_token}
        body = {key: value for key, value in wanted.items() if value is not None}
        answer = self.workspace.ask(f"{_API}/logged-models/search", body, doing=doing)
        found = (_logged_model(model, doing) for model in entries_of(answer, "models", doing))
        return Found(found, text_of(answer, "next_page_token") or None)


@dataclass(frozen=True, slots=True)
class RunInfo:
    run_id: str
    experiment_id: str
    lifecycle_stage: str
    artifact_uri: str


@dataclass(frozen=True, slots=True)
class FoundRun:
    info: RunInfo


@dataclass(frozen=True, slots=True)
class LoggedModel:
    name: str
    artifact_location: str
    creation_timestamp: int | None
    source_run_id: str


@dataclass(frozen=True, slots=True)
class Experiment:
    lifecycle_stage: str
    artifact_location: str


class Found(list[Any]):
    """One page, of MLflow's kind."""

    def __init__(self, entries: Iterable[Any], token: str | None) -> None:
        super().__init__(entries)
        self.token = token


class WorkspaceRegistry:
    """The Workspace Model Registry. It copies a model when it is registered, and has stages but no aliases."""

    has_stages, has_aliases = True, False

    def __init__(self, workspace: Workspace) -> None:
        self.rest: Rest = workspace
        self.workspace = workspace
        self.identity = f"databricks://{workspace.identity}"

    def must_support(self, selector: Selector) -> None:
        """Raises: UsageError: this registry has no such thing as the selector names."""
        if isinstance(selector, Alias):
            raise UsageError(
                "the Workspace Model Registry has no aliases: give a version number, a stage or latest; a model of "
                "Unity Catalog is found with --registry-uri databricks-uc://PROFILE"
            )

    def search_registered_models(self, page_token: str | None = None, **_: object) -> Found:
        path, query, doing = (
            f"{_API}/registered-models/search",
            {"max_results": _PAGE_SIZE},
            "list the registered models",
        )
        entries, token = self.rest.page(path, query, "registered_models", page_token, doing=doing)
        return Found(map(_registered_model, entries), token)

    def search_model_versions(
        self, filter_string: str | None = None, page_token: str | None = None, **_: object
    ) -> Found:
        """In the order of the registry: what it accepts as an order nobody outside Databricks knows."""
        query = {"filter": filter_string, "max_results": _PAGE_SIZE}
        path, doing = f"{_API}/model-versions/search", "list the model versions"
        try:
            entries, token = self.rest.page(path, query, "model_versions", page_token, doing=doing)
        except UsageError:
            if filter_string is not None or page_token is not None:
                raise
            return Found(self._versions_by_model(), None)
        return Found(map(version_entity, entries), token)

    def _versions_by_model(self) -> Iterator["ModelVersion"]:
        """Where the registry lists versions only of one model at a time."""
        path, doing = f"{_API}/registered-models/search", "list the registered models"
        for model in self.rest.pages(path, {"max_results": _PAGE_SIZE}, "registered_models", doing=doing):
            name = text_of(model, "name")
            quotes = '"' if "'" in name else "'"
            query: Query = {"filter": f"name={quotes}{name}{quotes}", "max_results": _PAGE_SIZE}
            entries = self.rest.pages(
                f"{_API}/model-versions/search",
                query,
                "model_versions",
                doing=f"list the versions of '{printable(name)}'",
            )
            yield from (version for version in map(version_entity, entries) if version.name == name)

    def get_registered_model(self, name: str) -> "RegisteredModel":
        doing = f"find model '{printable(name)}'"
        try:
            answer = self.rest.get(f"{_API}/registered-models/get", {"name": name}, doing=doing)
        except NotFound as error:
            if name.count(".") != 2:
                raise
            raise UsageError(
                f"{error.message}; a name of three levels (catalog.schema.model) is in Unity Catalog: "
                "give --registry-uri databricks-uc://PROFILE"
            ) from error
        return _registered_model(_part(answer, "registered_model", doing))

    def get_model_version(self, name: str, version: str) -> "ModelVersion":
        doing = f"find version {printable(str(version))} of model '{printable(name)}'"
        answer = self.rest.get(f"{_API}/model-versions/get", {"name": name, "version": version}, doing=doing)
        return version_entity(_part(answer, "model_version", doing))

    def get_model_version_by_alias(self, name: str, alias: str) -> "ModelVersion":
        self.must_support(Alias(alias))
        raise AssertionError

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        query = {"name": name, "version": version}
        answer = self.rest.get(f"{_API}/model-versions/get-download-uri", query, doing="ask for the download URI")
        return text_of(answer, "artifact_uri")


def version_entity(entry: Mapping[str, Any], **more: Any) -> "ModelVersion":
    from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

    name, version = text_of(entry, "name"), text_of(entry, "version")
    if not name or not version.isdecimal():
        raise CouldNotVerify("could not list the registry: a version comes without a name or a number")
    values: dict[str, Any] = {
        "creation_timestamp": number_of(entry, "creation_timestamp"),
        "last_updated_timestamp": number_of(entry, "last_updated_timestamp"),
        "description": text_of(entry, "description"),
        "user_id": text_of(entry, "user_id"),
        "current_stage": text_of(entry, "current_stage") or None,
        "source": text_of(entry, "source"),
        "run_id": text_of(entry, "run_id"),
        "status": text_of(entry, "status") or "READY",
        "status_message": text_of(entry, "status_message"),
        "run_link": text_of(entry, "run_link"),
        "tags": [ModelVersionTag(key, value) for key, value in tags_of(entry)],
        "aliases": [],
    }
    found = ModelVersion(name, version, **values | more)
    # The workspace of its run, which another workspace with the same metastore cannot look at.
    found.run_workspace = text_of(entry, "run_workspace_id") or text_of(entry, "run_tracking_server_id")  # type: ignore[attr-defined]
    return found


def _registered_model(entry: Mapping[str, Any]) -> "RegisteredModel":
    from mlflow.entities.model_registry import RegisteredModel, RegisteredModelTag

    return RegisteredModel(
        text_of(entry, "name"),
        number_of(entry, "creation_timestamp"),
        number_of(entry, "last_updated_timestamp"),
        text_of(entry, "description"),
        tags=[RegisteredModelTag(key, value) for key, value in tags_of(entry)],
        aliases=[],
    )


def tags_of(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for tag in entry.get("tags") or ():
        if isinstance(tag, dict):
            yield text_of(tag, "key"), text_of(tag, "value")


def text_of(entry: Mapping[str, Any], key: str) -> str:
    """A text, or a number as text; "" where there is none."""
    value = entry.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def number_of(entry: Mapping[str, Any], key: str) -> int | None:
    """An int64 comes as a number or as a text."""
    text = text_of(entry, key)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _logged_model(model: Mapping[str, Any], doing: str) -> LoggedModel:
    info = _part(model, "info", doing)
    created = number_of(info, "creation_timestamp_ms")
    return LoggedModel(text_of(info, "name"), text_of(info, "artifact_uri"), created, text_of(info, "source_run_id"))


def _part(answer: Mapping[str, Any], key: str, doing: str) -> dict[str, Any]:
    part = answer.get(key)
    if not isinstance(part, dict):
        raise CouldNotVerify(f"could not {doing}: the answer is not what the protocol of Databricks says")
    return part
