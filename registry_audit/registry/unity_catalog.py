"""Reads Unity Catalog as a model registry: in Databricks by both of its protocols, and the open-source server.

MLflow's own stores for Unity Catalog leave out aliases and tags (their listings have none, and asking for them raises),
or emit a lineage event for each model that is read. The requests here only read.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import Any
from urllib.parse import quote

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, UsageError
from registry_audit.net.http import HttpSession
from registry_audit.net.origin import basic_authorization, without_user
from registry_audit.net.rest import (
    Denied,
    NoSuchRoute,
    OtherAnswer,
    Query,
    Refusal,
    Rest,
    list_of_objects,
    must_be_about,
)
from registry_audit.printable import printable
from registry_audit.refs import Alias, Selector, Stage
from registry_audit.registry.mlflow_api import Found, ModelVersion, objects_of, tags_of, text_of, version_entity
from registry_audit.registry.mlflow_environment import asks_unity_catalog_natively
from registry_audit.registry.mlflow_server import SIGN_IN_OF_ITS_OWN
from registry_audit.registry.workspace import Workspace

_MLFLOW = "/api/2.0/mlflow/unity-catalog"
_NATIVE = "/api/2.1/unity-catalog"
_FILES_ENABLED = f"{_MLFLOW}/registered-models:is-databricks-sdk-models-artifact-repository-enabled"
_PAGE_SIZE = 100
_TOKEN = "MLFLOW_UC_OSS_TOKEN"  # noqa: S105 - the name of MLflow's variable


class UnityModel:
    """Holds a registered model. Listings leave out its aliases and tags, so they are requested when needed."""

    def __init__(self, registry: "UnityCatalog", entry: Mapping[str, Any], *, whole: bool) -> None:
        self._registry, self.entry, self._whole = registry, entry, whole
        self.name = _full_name(entry)

    @property
    def aliases(self) -> dict[str, str]:
        found = {}
        for alias in objects_of(self._told(), "aliases"):
            name = text_of(alias, "alias") or text_of(alias, "alias_name")
            found[name] = text_of(alias, "version") or text_of(alias, "version_num")
        return found

    @property
    def tags(self) -> dict[str, str]:
        return dict(tags_of(self._told()))

    @property
    def description(self) -> str:
        return text_of(self.entry, "description") or text_of(self.entry, "comment")

    def _told(self) -> Mapping[str, Any]:
        if not self._whole and self._registry.has_aliases:
            self.entry, self._whole = self._registry.get_registered_model(self.name).entry, True
        return self.entry


class UnityCatalog:
    """Implements what both protocols share: there are aliases and no stages; versions are listed model by model."""

    has_aliases = True
    # Databricks finds a model however its name is capitalised, and keeps it in lower case.
    own_spelling: Callable[[str], str] = staticmethod(str.lower)
    models_path: str
    identity: str

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self._through_files: bool | None = None
        self._asking = Lock()

    def reads_through_files(self, *, ask_again: bool = False) -> bool:
        """Say whether the Files API serves this metastore's models; asked for once, unless `ask_again` is set."""
        with self._asking:
            if self._through_files is None or ask_again:
                doing = "ask how the files of models are read"
                try:
                    answer = self.rest.get(_FILES_ENABLED, doing=doing)
                except (Denied, NoSuchRoute, NotFound):
                    answer = {}
                self._through_files = answer.get("is_databricks_sdk_models_artifact_repository_enabled") is True
            return self._through_files

    def must_support(self, selector: Selector) -> None:
        """Check that the registry supports the selector. Raises: UsageError: it has no stages, or no aliases."""
        if isinstance(selector, Stage):
            raise UsageError("Unity Catalog has no stages: give a version number, @alias or latest")
        if isinstance(selector, Alias) and not self.has_aliases:
            raise UsageError("the open-source Unity Catalog has no aliases: give a version number or latest")

    def search_registered_models(self, page_token: str | None = None, **_: object) -> Found:
        query, doing = {"max_results": _PAGE_SIZE}, "list the registered models"
        entries, token = self.rest.page(self.models_path, query, "registered_models", page_token, doing=doing)
        return Found((UnityModel(self, entry, whole=False) for entry in entries), token)

    def search_model_versions(
        self, filter_string: str | None = None, page_token: str | None = None, **_: object
    ) -> Found:
        name = name_in(filter_string)
        path, query = self.versions_of(name)
        doing = f"list the versions of model '{printable(name)}'"
        entries, token = self.rest.page(
            path, {**query, "max_results": _PAGE_SIZE}, "model_versions", page_token, doing=doing
        )
        found = Found(map(self.version, entries), token)
        own = self.own_spelling(name)
        if others := sorted({version.name for version in found if self.own_spelling(version.name) != own}):
            raise OtherAnswer(f"could not {doing}: the answer is of '{printable(others[0])[:200]}'")
        return found

    def versions_of(self, name: str) -> tuple[str, dict[str, str]]:
        """Return path and query that list the versions of a model."""
        raise NotImplementedError

    def version(self, entry: Mapping[str, Any]) -> ModelVersion:
        raise NotImplementedError

    def get_registered_model(self, name: str) -> UnityModel:
        raise NotImplementedError


class MlflowDialect(UnityCatalog):
    """Implements the protocol that MLflow 3.17 uses for Unity Catalog by default."""

    models_path = f"{_MLFLOW}/registered-models/search"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.identity = f"databricks-uc://{metastore_of(workspace)}"

    def versions_of(self, name: str) -> tuple[str, dict[str, str]]:
        return f"{_MLFLOW}/model-versions/search", {"filter": f"name='{name}'"}

    def version(self, entry: Mapping[str, Any]) -> ModelVersion:
        return version_entity(entry, aliases=[text_of(alias, "alias") for alias in objects_of(entry, "aliases")])

    def get_registered_model(self, name: str) -> UnityModel:
        doing = f"find model '{printable(name)}'"
        answer = self.rest.get(f"{_MLFLOW}/registered-models/get", {"name": name}, doing=doing)
        return UnityModel(self, _part(answer, "registered_model", doing), whole=True)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        doing = f"find version {printable(str(version))} of model '{printable(name)}'"
        query = {"name": name, "version": version}
        return _with_aliases(self.rest.get(f"{_MLFLOW}/model-versions/get", query, doing=doing), doing)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        doing = f"find alias '{printable(alias)}' of model '{printable(name)}'"
        query = {"name": name, "alias": alias}
        return _with_aliases(self.rest.get(f"{_MLFLOW}/registered-models/alias", query, doing=doing), doing)

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        query, doing = {"name": name, "version": version}, "ask for the download URI"
        answer = self.rest.get(f"{_MLFLOW}/model-versions/get-download-uri", query, doing=doing)
        must_be_about(answer, "artifact_uri", doing)
        return text_of(answer, "artifact_uri")

    def temporary_credentials(self, name: str, version: str) -> dict[str, Any]:
        """Request temporary credentials to read the files of one version, valid for about an hour."""
        doing = f"ask for credentials to read {printable(name)}/{version}"
        wanted = {"name": name, "version": version, "operation": "MODEL_VERSION_OPERATION_READ"}
        answer = self.rest.ask(f"{_MLFLOW}/model-versions/generate-temporary-credentials", wanted, doing=doing)
        return _part(answer, "credentials", doing)


class NativeDialect(UnityCatalog):
    """Implements Unity Catalog's own REST API, which Databricks documents and the open-source server supports too."""

    models_path = f"{_NATIVE}/models"

    def __init__(self, rest: Rest, identity: str) -> None:
        super().__init__(rest)
        self.identity = identity

    def versions_of(self, name: str) -> tuple[str, dict[str, str]]:
        return f"{_model(name)}/versions", {}

    def version(self, entry: Mapping[str, Any]) -> ModelVersion:
        return _native_version(entry)

    def get_registered_model(self, name: str) -> UnityModel:
        doing = f"find model '{printable(name)}'"
        query = {"include_aliases": "true"} if self.has_aliases else {}
        return UnityModel(self, self.rest.get(_model(name), query, doing=doing), whole=True)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        return _native_version(self._version(name, version))

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        self.must_support(Alias(alias))
        doing = f"find alias '{printable(alias)}' of model '{printable(name)}'"
        return _native_version(self.rest.get(f"{_model(name)}/aliases/{quote(alias, safe='')}", doing=doing))

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        return text_of(self._version(name, version), "storage_location")

    def temporary_credentials(self, name: str, version: str) -> dict[str, Any]:
        catalog, schema, model = _levels(name)
        wanted = {
            "catalog_name": catalog,
            "schema_name": schema,
            "model_name": model,
            "version": int(version),
            "operation": "READ_MODEL_VERSION",
        }
        doing = f"ask for credentials to read {printable(name)}/{version}"
        return self.rest.ask(f"{_NATIVE}/temporary-model-version-credentials", wanted, doing=doing)

    def _version(self, name: str, version: str) -> dict[str, Any]:
        doing = f"find version {printable(str(version))} of model '{printable(name)}'"
        query = {"include_aliases": "true"} if self.has_aliases else {}
        return self.rest.get(f"{_model(name)}/versions/{quote(str(version), safe='')}", query, doing=doing)


class OpenSource(NativeDialect):
    """Reads the open-source server, which has no aliases.

    The sign-in comes from its address, as in MLflow's own client, else from its configuration, else from MLflow's
    variable for it.
    """

    has_aliases = False
    own_spelling: Callable[[str], str] = staticmethod(str)

    def __init__(
        self,
        host: str,
        identity: str,
        http: HttpSession,
        token: str | None = None,
        user: tuple[str, str] | None = None,
        *,
        by_itself: bool = False,
    ) -> None:
        """
        Args:
            host: http or https, perhaps with a user's name and password.
            token, user: as configured for this server; the token takes precedence.
            by_itself: whether the environment's token is for another server.
        """
        place, in_address = without_user(host)

        def sign(*_: object) -> dict[str, str]:
            pair = in_address or (user if token is None else None)
            if pair is not None:
                return {"Authorization": basic_authorization(":".join(pair))}
            bearer = token or (None if by_itself else os.environ.get(_TOKEN))
            return {"Authorization": f"Bearer {bearer}"} if bearer else {}

        way_out = SIGN_IN_OF_ITS_OWN if by_itself or token or user else f"set {_TOKEN} to a valid one"
        explain = partial(_open_source_refusal, way_out=way_out)
        super().__init__(Rest(place, sign, http, explain=explain, redirects=True), identity)

    def search_registered_models(self, page_token: str | None = None, **_: object) -> Found:
        """Return all models at once, listed schema by schema, which works with every release.

        Before 0.7 the server names pages of the whole metastore that it does not accept itself.

        Source: https://github.com/unitycatalog/unitycatalog/issues/1718.
        """
        return Found((UnityModel(self, entry, whole=False) for entry in self._models()), None)

    def _models(self) -> Iterator[Mapping[str, Any]]:
        for catalog in self._every("catalogs", "catalogs"):
            of_catalog = {"catalog_name": text_of(catalog, "name")}
            for schema in self._every("schemas", "schemas", **of_catalog):
                yield from self._every("models", "registered_models", **of_catalog, schema_name=text_of(schema, "name"))

    def _every(self, what: str, key: str, **of: str) -> Iterator[dict[str, Any]]:
        query: Query = {**of, "max_results": _PAGE_SIZE}
        return self.rest.pages(f"{_NATIVE}/{what}", query, key, doing=f"list the {what}")


UnityRegistry = MlflowDialect | NativeDialect


def databricks_unity_catalog(workspace: Workspace) -> UnityRegistry:
    """Return the client for the protocol that MLflow would use in this environment."""
    if asks_unity_catalog_natively():
        return NativeDialect(workspace, f"databricks-uc://{metastore_of(workspace)}")
    return MlflowDialect(workspace)


def metastore_of(workspace: Workspace) -> str:
    """Return the metastore's identity, which many workspaces share; the workspace's if the metastore is not shown."""
    for question in ("metastore_summary", "current-metastore-assignment"):
        with contextlib.suppress(Denied, NoSuchRoute, NotFound):
            answer = workspace.get(f"{_NATIVE}/{question}", doing="ask which metastore this is")
            if known := text_of(answer, "metastore_id"):
                return f"metastore/{quote(known, safe='-')}"
    return workspace.identity


def _open_source_refusal(refusal: Refusal, doing: str, *, way_out: str) -> AuditError | None:
    if refusal.status == 401 or refusal.code == "UNAUTHENTICATED":
        return UsageError(f"could not {doing}: {refusal.host} refuses the token, or the user: {way_out}")
    if refusal.status == 404 and not refusal.code:
        address = "is it the address of a Unity Catalog server, as uc:http://HOST:8080?"
        return NoSuchRoute(f"could not {doing}: {refusal.host} does not offer it (404); {address}")
    return None


def _native_version(entry: Mapping[str, Any]) -> ModelVersion:
    names = {
        "name": _full_name(entry),
        "creation_timestamp": entry.get("created_at"),
        "last_updated_timestamp": entry.get("updated_at"),
        "user_id": entry.get("created_by"),
        "description": entry.get("comment"),
    }
    aliases = [text_of(alias, "alias_name") for alias in objects_of(entry, "aliases")]
    return version_entity({**entry, **names}, aliases=aliases)


def _with_aliases(answer: Mapping[str, Any], doing: str) -> ModelVersion:
    entry = _part(answer, "model_version", doing)
    aliases = [text_of(alias, "alias") for alias in list_of_objects(entry, "aliases", doing)]
    return version_entity(entry, aliases=aliases)


def _full_name(entry: Mapping[str, Any]) -> str:
    """Return a model's name with its three levels: one protocol sends it as one text, the other in parts."""
    catalog, schema = text_of(entry, "catalog_name"), text_of(entry, "schema_name")
    if catalog and schema:
        return f"{catalog}.{schema}.{text_of(entry, 'model_name') or text_of(entry, 'name')}"
    return text_of(entry, "name")


def _levels(name: str) -> tuple[str, str, str]:
    parts = name.split(".")
    if len(parts) != 3 or not all(parts):
        raise UsageError(
            f"'{printable(name)}' is no name of Unity Catalog: specify all three levels, "
            "catalog_name.schema_name.model_name"
        )
    return parts[0], parts[1], parts[2]


def _model(name: str) -> str:
    _levels(name)
    return f"{_NATIVE}/models/{quote(name, safe='')}"


def name_in(filter_string: str | None) -> str:
    """Return the name in the only filter of Unity Catalog. Raises: UsageError: it is another filter."""
    text = (filter_string or "").strip()
    key, _, value = text.partition("=")
    value = value.strip()
    if key.strip() != "name" or len(value) < 3 or value[0] not in "'\"" or value[-1] != value[0]:
        raise UsageError("Unity Catalog knows one filter only: name='catalog.schema.model'")
    return value[1:-1]


def _part(answer: Mapping[str, Any], key: str, doing: str) -> dict[str, Any]:
    part = answer.get(key)
    if not isinstance(part, dict):
        raise CouldNotVerify(f"could not {doing}: the answer is not what the protocol of Unity Catalog says")
    return part
