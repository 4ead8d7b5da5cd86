"""Implements the reading part of MLflow's REST API, for MLflow servers and Databricks workspaces.

There are no methods that write. The results have the names of MLflow's entities but are our own types, because
importing MLflow's takes longer than a check.

Source: mlflow.org/docs, "REST API"; the filters are those that MLflow's own client sends.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any
from urllib.parse import parse_qs, quote

from registry_audit.errors import CouldNotVerify
from registry_audit.net.origin import urlsplit
from registry_audit.net.rest import Query, Rest, entries_of, must_be_about
from registry_audit.printable import printable

_API = "/api/2.0/mlflow"
_PROMPT_TAG = "mlflow.prompt.is_prompt"
_PAGE_SIZE = 100  # accepted by every registry


class Tracking:
    """Reads runs, experiments and LoggedModels of one server."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def get_run(self, run_id: str) -> "FoundRun":
        doing = f"find run {printable(run_id)}"
        run = _part(self._rest.get(f"{_API}/runs/get", {"run_id": run_id}, doing=doing), "run", doing)
        return FoundRun(_run_info(_part(run, "info", doing), run_id))

    def search_runs(
        self, experiment_ids: Sequence[str], filter_string: str, run_view_type: int, max_results: int
    ) -> list["FoundRun"]:
        """Return the first page of the runs, including those in the trash."""
        doing = "search the runs"
        body = {
            "experiment_ids": list(experiment_ids),
            "filter": filter_string,
            "run_view_type": "ALL",
            "max_results": max_results,
        }
        found = entries_of(self._rest.ask(f"{_API}/runs/search", body, doing=doing), "runs", doing)
        return [FoundRun(_run_info(_part(run, "info", doing))) for run in found]

    def get_logged_model(self, model_id: str) -> "LoggedModel":
        doing = f"find the LoggedModel {printable(model_id)}"
        answer = self._rest.get(f"{_API}/logged-models/{quote(model_id, safe='')}", doing=doing)
        return _logged_model(_part(answer, "model", doing), doing)

    def get_experiment(self, experiment_id: str) -> "Experiment":
        doing = f"find experiment {printable(experiment_id)}"
        answer = self._rest.get(f"{_API}/experiments/get", {"experiment_id": experiment_id}, doing=doing)
        return _experiment(_part(answer, "experiment", doing))

    def search_experiments(self, view_type: int, max_results: int, page_token: str | None = None) -> "Found":
        """Return a page of the experiments, including those in the trash."""
        doing = "list the experiments"
        body = {"view_type": "ALL", "max_results": max_results} | ({"page_token": page_token} if page_token else {})
        answer = self._rest.ask(f"{_API}/experiments/search", body, doing=doing)
        return Found(map(_experiment, entries_of(answer, "experiments", doing)), _next_page(answer, doing))

    def search_logged_models(
        self, experiment_ids: list[str], filter_string: str | None = None, page_token: str | None = None
    ) -> "Found":
        doing = "search the LoggedModels"
        wanted = {"experiment_ids": experiment_ids, "filter": filter_string, "page_token": page_token}
        body = {key: value for key, value in wanted.items() if value is not None}
        answer = self._rest.ask(f"{_API}/logged-models/search", body, doing=doing)
        found = (_logged_model(model, doing) for model in entries_of(answer, "models", doing))
        return Found(found, _next_page(answer, doing))


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
    experiment_id: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    experiment_id: str
    lifecycle_stage: str
    artifact_location: str


@dataclass(slots=True)
class ModelVersion:
    name: str
    version: str | int
    creation_timestamp: int | None
    last_updated_timestamp: int | None
    description: str
    user_id: str
    current_stage: str | None
    source: str
    run_id: str
    status: str
    status_message: str
    run_link: str
    tags: dict[str, str]
    aliases: list[str]
    run_workspace: str  # workspace of its run, which another workspace with the same metastore cannot read
    nonsense: tuple[str, ...]  # see `_nonsense_in`


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    name: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    description: str = ""
    latest_versions: list[ModelVersion] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)  # without the tag of prompts, as MLflow shows them
    aliases: dict[str, str] = field(default_factory=dict)


class Found(list[Any]):
    """Holds one page of a search, like MLflow's `PagedList`."""

    def __init__(self, entries: Iterable[Any], token: str | None) -> None:
        super().__init__(entries)
        self.token = token


class Registry:
    """Reads registered models and their versions of one MLflow server."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = _PAGE_SIZE,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> Found:
        """Search registered models. Prompts are included only if the filter asks for them.

        A server that knows prompts leaves them out by itself. MLflow's client also sends a filter on their tag; servers
        before 2.21 then find only models that carry the tag.
        """
        query: Query = {
            "filter": filter_string,
            "max_results": max_results,
            "order_by": order_by,
            "page_token": page_token,
        }
        doing = "list the registered models"
        answer = self.rest.get(f"{_API}/registered-models/search", query, doing=doing)
        return Found(map(model_entity, entries_of(answer, "registered_models", doing)), _next_page(answer, doing))

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = _PAGE_SIZE,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> Found:
        query: Query = {
            "filter": filter_string,
            "max_results": max_results,
            "order_by": order_by,
            "page_token": page_token,
        }
        doing = "list the model versions"
        answer = self.rest.get(f"{_API}/model-versions/search", query, doing=doing)
        return Found(map(version_entity, entries_of(answer, "model_versions", doing)), _next_page(answer, doing))

    def get_registered_model(self, name: str) -> RegisteredModel:
        doing = f"find model '{printable(name)}'"
        answer = self.rest.get(f"{_API}/registered-models/get", {"name": name}, doing=doing)
        return model_entity(_part(answer, "registered_model", doing))

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        doing = f"find version {printable(str(version))} of model '{printable(name)}'"
        answer = self.rest.get(f"{_API}/model-versions/get", {"name": name, "version": version}, doing=doing)
        return version_entity(_part(answer, "model_version", doing))

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        doing = f"find alias '{printable(alias)}' of model '{printable(name)}'"
        answer = self.rest.get(f"{_API}/registered-models/alias", {"name": name, "alias": alias}, doing=doing)
        return version_entity(_part(answer, "model_version", doing))

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        query, doing = {"name": name, "version": version}, "ask for the download URI"
        answer = self.rest.get(f"{_API}/model-versions/get-download-uri", query, doing=doing)
        must_be_about(answer, "artifact_uri", doing)
        found = answer.get("artifact_uri")
        if not isinstance(found, str | None):
            raise CouldNotVerify(f"could not {doing}: the answer is not what MLflow's protocol says")
        return found or ""


def version_entity(entry: Mapping[str, Any], **more: Any) -> ModelVersion:
    """Make a version of what a registry says.

    Args:
        more: replaces fields. A registry whose `aliases` are objects gives their names here.
    """
    name, version = text_of(entry, "name"), text_of(entry, "version")
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
        "tags": dict(tags_of(entry)),
        "aliases": [alias for alias in _list_of(entry, "aliases") if isinstance(alias, str)],
    }
    told = text_of(entry, "run_workspace_id") or text_of(entry, "run_tracking_server_id")
    values["run_workspace"] = told or _workspace_in(text_of(entry, "run_link"))
    return ModelVersion(
        name, version, nonsense=_nonsense_in(entry, dict if "aliases" in more else str), **values | more
    )


_TEXTS = frozenset(
    {"name", "version", "source", "run_id", "status", "current_stage", "creation_timestamp", "last_updated_timestamp"}
    | {"description", "user_id", "status_message", "run_link"}
)
_OF_TEXT = (str, int, NoneType)  # see `text_of`; not bool


def _nonsense_in(entry: Mapping[str, Any], type_of_alias: type) -> tuple[str, ...]:
    """Return the fields of a version that have no type of MLflow's protocol: they were left out, to be reported."""
    types = {"tags": dict, "aliases": type_of_alias}
    of_lists = {key for key, each in types.items() if not _is_list_of(each, entry.get(key))}
    if any(type(tag.get(key)) not in _OF_TEXT for tag in objects_of(entry, "tags") for key in ("key", "value")):
        of_lists.add("tags")
    of_texts = {key for key in _TEXTS if type(entry.get(key)) not in _OF_TEXT}
    return tuple(sorted(of_lists | of_texts))


def _is_list_of(each: type, value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(part, each) for part in value))


def _workspace_in(run_link: str) -> str:
    """Return the id in `https://HOST/?o=ID#mlflow/...`, the link to a run in another workspace; "" if there is none."""
    try:
        found = parse_qs(urlsplit(run_link).query).get("o", [""])[0]
    except ValueError:
        return ""
    return found if found.isascii() and found.isdecimal() and found != "0" else ""


def model_entity(entry: Mapping[str, Any]) -> RegisteredModel:
    return RegisteredModel(
        text_of(entry, "name"),
        number_of(entry, "creation_timestamp"),
        number_of(entry, "last_updated_timestamp"),
        text_of(entry, "description"),
        latest_versions=[version_entity(part) for part in objects_of(entry, "latest_versions")],
        tags={key: value for key, value in tags_of(entry) if key != _PROMPT_TAG},
        aliases={text_of(part, "alias"): text_of(part, "version") for part in objects_of(entry, "aliases")},
    )


def tags_of(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for tag in objects_of(entry, "tags"):
        yield text_of(tag, "key"), text_of(tag, "value")


def objects_of(entry: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    """Return the objects of a list; none if there is no list."""
    return (part for part in _list_of(entry, key) if isinstance(part, dict))


def _list_of(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def text_of(entry: Mapping[str, Any], key: str) -> str:
    """Return a text, or a number as text; "" if there is none."""
    value = entry.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def number_of(entry: Mapping[str, Any], key: str) -> int | None:
    """Return an int64, which may come as a number or as a text; None if there is none."""
    text = text_of(entry, key)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _logged_model(model: Mapping[str, Any], doing: str) -> LoggedModel:
    info = _part(model, "info", doing)
    created = number_of(info, "creation_timestamp_ms")
    return LoggedModel(
        text_of(info, "name"),
        text_of(info, "artifact_uri"),
        created,
        text_of(info, "source_run_id"),
        text_of(info, "experiment_id"),
    )


def _part(answer: Mapping[str, Any], key: str, doing: str) -> dict[str, Any]:
    part = answer.get(key)
    if not isinstance(part, dict):
        raise CouldNotVerify(f"could not {doing}: the answer is not what MLflow's protocol says")
    return part


def _run_info(info: Mapping[str, Any], run_id: str | None = None) -> RunInfo:
    return RunInfo(
        run_id or text_of(info, "run_id"),
        text_of(info, "experiment_id"),
        text_of(info, "lifecycle_stage"),
        text_of(info, "artifact_uri"),
    )


def _experiment(found: Mapping[str, Any]) -> Experiment:
    parts = "experiment_id", "lifecycle_stage", "artifact_location"
    return Experiment(*(text_of(found, part) for part in parts))


def _next_page(answer: Mapping[str, Any], doing: str) -> str | None:
    """Return the next page's token, or None. Raises: CouldNotVerify: it cannot be requested."""
    token = text_of(answer, "next_page_token")
    if not token and answer.get("next_page_token") not in (None, ""):
        raise CouldNotVerify(f"could not {doing}: the server names a next page that nobody can ask for")
    return token or None
