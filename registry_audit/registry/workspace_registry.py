"""The Workspace Model Registry of Databricks, asked as MLflow's own client asks it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from registry_audit.errors import NotFound, UsageError
from registry_audit.net.rest import Query
from registry_audit.printable import printable
from registry_audit.refs import Alias, Selector
from registry_audit.registry.mlflow_api import Found, Registry, model_entity, text_of, version_entity
from registry_audit.registry.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_API = "/api/2.0/mlflow"
_PAGE_SIZE = 100  # what every registry of Databricks accepts


class WorkspaceRegistry(Registry):
    """The Workspace Model Registry. It copies a model when it is registered, and has stages but no aliases."""

    has_stages, has_aliases = True, False

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.identity = f"databricks://{workspace.identity}"

    def must_support(self, selector: Selector) -> None:
        """Raises: UsageError: this registry has no such thing as the selector names."""
        if isinstance(selector, Alias):
            raise UsageError(
                "the Workspace Model Registry has no aliases: give a version number, a stage or latest; a model of "
                "Unity Catalog is found with --registry-uri databricks-uc://PROFILE"
            )

    def search_registered_models(
        self, filter_string: str | None = None, max_results: int = _PAGE_SIZE, page_token: str | None = None
    ) -> Found:
        path, doing = f"{_API}/registered-models/search", "list the registered models"
        query: Query = {"filter": filter_string, "max_results": _PAGE_SIZE}
        entries, token = self.rest.page(path, query, "registered_models", page_token, doing=doing)
        return Found(map(model_entity, entries), token)

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = _PAGE_SIZE,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> Found:
        """In the order of the registry: what it accepts as an order nobody outside Databricks knows."""
        query: Query = {"filter": filter_string, "max_results": _PAGE_SIZE}
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
        try:
            return super().get_registered_model(name)
        except NotFound as error:
            if name.count(".") != 2:
                raise
            raise UsageError(
                f"{error.message}; a name of three levels (catalog.schema.model) is in Unity Catalog: "
                "give --registry-uri databricks-uc://PROFILE"
            ) from error

    def get_model_version_by_alias(self, name: str, alias: str) -> "ModelVersion":
        self.must_support(Alias(alias))
        raise AssertionError
