"""One Databricks workspace: which one it is, and requests to it under one profile."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.net.http import HttpSession
from registry_audit.net.origin import origin_of
from registry_audit.net.rest import Query, Refusal, Rest
from registry_audit.net.uris import urlsplit
from registry_audit.printable import printable
from registry_audit.refs import Alias, Selector, has_three_levels
from registry_audit.registry.databricks_sign_in import no_credentials, not_signed_in, signed_in
from registry_audit.registry.mlflow_api import (
    Found,
    ModelVersion,
    RegisteredModel,
    Registry,
    model_entity,
    text_of,
    version_entity,
)

if TYPE_CHECKING:
    from databricks.sdk.config import Config


class Workspace(Rest):
    """Requests to one workspace, signed in by the Databricks SDK. Its identity is asked for once, when it is opened."""

    def __init__(self, profile: str | None, http: HttpSession, token: str | None = None) -> None:
        """
        Args:
            profile: of the configuration file (~/.databrickscfg, or what DATABRICKS_CONFIG_FILE names); None for the
                default credentials of the environment.
            token: in place of the profile's.

        Raises:
            UsageError: there are no such credentials, or the workspace refuses them; or it is the host of none.
            CouldNotVerify: the workspace does not answer, or no workspace does.
        """
        self.called = f"profile {printable(profile)}" if profile else "the default credentials"
        self.sdk = signed_in(profile, token)
        config = self.sdk.config
        if not config.host:
            raise UsageError(no_credentials(profile))
        _must_be_of_workspace(config.host, self.called)
        # One host may serve several workspaces: the SDK and MLflow's client name theirs by one of these each.
        names = ("X-Databricks-Workspace-Id", "X-Databricks-Org-Id") if config.workspace_id else ()
        which = dict.fromkeys(names, str(config.workspace_id))
        super().__init__(config.host, lambda *_: self._authenticated(config) | which, http, explain=self._explained)
        doing = f"reach the workspace {self.host}"
        try:
            _, answered = self.first_answer("/api/2.0/preview/scim/v2/Me", doing=doing)
        except Transient:
            raise
        except CouldNotVerify as error:
            raise CouldNotVerify(f"{error.message}: is it the address of a workspace?") from error
        self.id = _plain(answered.get("X-Databricks-Org-Id") or config.workspace_id)
        place = str(origin_of(self.host)).partition("://")[2] + urlsplit(self.host).path
        self.identity = f"{place}/workspace/{self.id or 'unknown'}"

    def _authenticated(self, config: "Config") -> dict[str, str]:
        try:
            return config.authenticate()
        except Exception as error:  # whatever a way to sign in raises
            raise not_signed_in(error, f"could not sign in with {self.called}") from error

    def _explained(self, refusal: Refusal, doing: str) -> AuditError | None:
        if refusal.status == 401 or refusal.code == "UNAUTHENTICATED":
            said = f" ({refusal.message})" if refusal.message else ""
            return UsageError(
                f"could not {doing}: {refusal.host} refuses {self.called}{said}: sign in again with "
                "`databricks auth login`, or put a valid token into the profile"
            )
        return None


def profile_of(uri: str) -> str | None:
    """The profile that a `databricks:` or `databricks-uc:` address names; None for the default credentials."""
    return uri.strip().partition(":")[2].removeprefix("//").rstrip("/") or None


def _must_be_of_workspace(host: str, called: str) -> None:
    """Raises: UsageError: it is the account's console, a page of a workspace, or holds somebody's password."""
    parts = urlsplit(host)
    if "@" in parts.netloc:
        raise UsageError(
            f"the host of {called} holds a user's name or password: write only "
            f"{parts.scheme}://{printable(parts.netloc.rpartition('@')[2])}"
        )
    if (parts.hostname or "").startswith(("accounts.", "accounts-dod.")):
        raise UsageError(
            f"{called} is for the account console {printable(host)}, which has no registry: "
            "give the address of a workspace as its host"
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"the host of {called} is the address of a page: write only {parts.scheme}://{printable(parts.netloc)}, "
            "and the number behind o= as workspace_id"
        )


def _plain(workspace_id: Any) -> str:
    text = str(workspace_id or "").strip()
    return text if text.isascii() and text.isalnum() and len(text) <= 64 else ""


# The Workspace Model Registry of Databricks, asked as MLflow's own client asks it.

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
        self,
        filter_string: str | None = None,
        max_results: int = _PAGE_SIZE,
        order_by: list[str] | None = None,
        page_token: str | None = None,
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

    def _versions_by_model(self) -> Iterator[ModelVersion]:
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

    def holds(self, name: str) -> bool:
        """Whether there is such a model here, whatever else its name may mean. Raises: CouldNotVerify."""
        try:
            super().get_registered_model(name)
        except NotFound:
            return False
        return True

    def get_registered_model(self, name: str) -> RegisteredModel:
        try:
            return super().get_registered_model(name)
        except NotFound as error:
            if not has_three_levels(name):
                raise
            raise UsageError(
                f"{error.message}; a name of three levels (catalog.schema.model) is in Unity Catalog: "
                "give --registry-uri databricks-uc://PROFILE"
            ) from error

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        self.must_support(Alias(alias))
        raise AssertionError
