"""Signs in to one Databricks workspace under one profile, identifies it, and sends requests to it."""

import configparser
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Transient, UsageError, did_you_mean
from registry_audit.net.http import HttpSession, unreachable
from registry_audit.net.origin import origin_of, urlsplit
from registry_audit.net.rest import Query, Refusal, Rest
from registry_audit.net.threads import Helpers
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.refs import Alias, Selector, has_three_levels
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
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config


class Workspace(Rest):
    """Sends requests to one workspace, signed in by the Databricks SDK. Its identity is read once, on opening."""

    def __init__(self, profile: str | None, http: HttpSession, token: str | None = None) -> None:
        """
        Args:
            profile: a profile of the configuration file (~/.databrickscfg, or the file that DATABRICKS_CONFIG_FILE
                names); None for the default credentials of the environment.
            token: replaces the profile's token.

        Raises:
            UsageError: there are no such credentials, the workspace refuses them, or the host is not a workspace's.
            CouldNotVerify: the workspace does not answer, or no workspace does.
        """
        self.called = f"profile {printable(profile)}" if profile else "the default credentials"
        self.sdk = signed_in(profile, token)
        config = self.sdk.config
        if not config.host:
            raise UsageError(no_credentials(profile))
        _must_be_of_workspace(config.host, self.called)
        # One host may serve several workspaces: the SDK and MLflow's client select one by one of these headers each.
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
        except Exception as error:  # whatever a sign-in method raises
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
    """Return the profile that a `databricks:` or `databricks-uc:` address names; None for the default credentials."""
    return uri.strip().partition(":")[2].removeprefix("//").rstrip("/") or None


def _must_be_of_workspace(host: str, called: str) -> None:
    """Check a profile's host. Raises: UsageError: it is the account console, a page, or holds a password."""
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


# The Workspace Model Registry of Databricks, with the requests of MLflow's own client.

_API = "/api/2.0/mlflow"
_PAGE_SIZE = 100  # accepted by every registry of Databricks


class WorkspaceRegistry(Registry):
    """Reads the Workspace Model Registry, which copies a model when it is registered, and has stages but no aliases."""

    has_aliases = False

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.identity = f"databricks://{workspace.identity}"

    def must_support(self, selector: Selector) -> None:
        """Check that the registry supports the selector. Raises: UsageError: it has no aliases."""
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
        """Search versions in the registry's own order: it is not known which others it accepts."""
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
        """Yield all versions of a registry that lists versions only of one model at a time."""
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
        """Say whether this registry has such a model, whatever else its name may mean. Raises: CouldNotVerify."""
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


# Sign-in by Databricks' SDK, under one profile of the configuration file or from the environment. In the SDK's `Config`
# any `DATABRICKS_*` variable takes precedence over the named profile, so that the token of one workspace would be sent
# to another. Here a named profile alone decides.

# For the SDK's own requests while it signs in. Its defaults wait for five minutes.
_SIGN_IN_SECONDS = 5
_SIGN_IN_TRIES_SECONDS = 2
# For the whole sign-in: a sign-in program, and the service that issues tokens, have no limit of their own.
_SIGN_IN_AT_MOST_SECONDS = 20.0
# Sign-in methods that take everything from the environment, including the workspace.
_OF_ENVIRONMENT = frozenset({"runtime", "runtime-oauth", "model-serving", "env-oidc"})
_NO_WAY = "cannot configure default credentials"  # the SDK's message if no sign-in method fits
_NO_TOKEN_CAME = re.compile(r"unknown: unknown|b['\"]|Not supported yet")  # its messages if the service sends no token

_Result = TypeVar("_Result")

_HELPERS = Helpers("sign-in")


def signed_in(profile: str | None, token: str | None) -> "WorkspaceClient":
    try:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.config import Config
    except ImportError as error:
        raise UsageError("Databricks needs its SDK: pip install 'mlflow-registry-audit[databricks]'") from error
    logger = logging.getLogger("databricks.sdk")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)  # it warns of a probe that may well fail

    class OfProfile(Config):
        @classmethod
        def attributes(cls) -> Any:
            """Return the same settings, but without the variables that could set them."""
            return [SimpleNamespace(name=setting.name, env=None) for setting in Config.attributes()]

    settings: dict[str, Any] = {
        "http_timeout_seconds": _SIGN_IN_SECONDS,
        "retry_timeout_seconds": _SIGN_IN_TRIES_SECONDS,
        "config_file": os.environ.get("DATABRICKS_CONFIG_FILE"),
        "databricks_cli_path": os.environ.get("DATABRICKS_CLI_PATH"),
        "product": "mlflow-registry-audit",
        "product_version": "0",
    }
    if token is not None:
        settings |= {"token": token, "auth_type": "pat"}

    def sign_in() -> "WorkspaceClient":
        config = OfProfile(profile=profile, **settings) if profile else Config(**settings)
        if profile:
            _must_be_of_profile(config.auth_type, written)
        config.authenticate()
        return WorkspaceClient(config=config)

    written = _written_in_file(profile) if profile else {}
    try:
        return _in_time(sign_in)
    except AuditError as error:
        error.message = f"{no_credentials(profile)} ({error.message})"
        raise
    except Exception as error:  # whatever a sign-in method raises
        raise not_signed_in(error, no_credentials(profile), written) from error


def _in_time(call: Callable[[], _Result]) -> _Result:
    """Return the result of a call that cannot be interrupted. Raises: Transient: it does not return in time."""
    answer = _HELPERS.begin(call).wait(_SIGN_IN_AT_MOST_SECONDS)
    if answer is None:
        raise Transient(f"signing in took longer than {_SIGN_IN_AT_MOST_SECONDS:g} seconds")
    return answer[0]


def _written_in_file(profile: str) -> Mapping[str, str]:
    """Return the settings of a profile in the configuration file. They inherit nothing from DEFAULT here.

    Raises: UsageError: the file cannot be read, or has no such profile.
    """
    file, found = _file(), configparser.ConfigParser(default_section="", interpolation=None)
    shown = printable(str(file))
    try:
        found.read(file)
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise UsageError(_unreadable(error)) from None
    if not found.has_section(profile):
        close = did_you_mean(profile, found.sections())
        is_there = os.path.exists(file)  # noqa: PTH110 - never raises, unlike Path.exists before Python 3.14
        why = f"{shown} has no profile {printable(profile)}{close}" if is_there else f"there is no {shown}"
        raise UsageError(f"{no_credentials(profile)} ({why})")
    return dict(found.items(profile))


def _file() -> Path:
    return Path(os.environ.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg").expanduser()


def _unreadable(error: Exception) -> str:
    """Say what is wrong with the configuration file. No line of it is repeated, because it holds tokens."""
    if not isinstance(error, configparser.Error):
        return f"{printable(str(_file()))} cannot be read ({type(error).__name__})"
    lines = getattr(error, "errors", None) or [(getattr(error, "lineno", None), "")]
    return (
        f"{printable(str(_file()))} cannot be read at line {lines[0][0]}: a profile begins with its name in brackets, "
        "its other lines are KEY = VALUE, and nothing is given twice"
    )


def _must_be_of_profile(auth_type: str | None, written: Mapping[str, str]) -> None:
    """Check the credentials' origin. Raises: UsageError: the profile has none, and the SDK took the environment's."""
    named = written.get("auth_type") == auth_type or (auth_type == "env-oidc" and written.get("oidc_token_env"))
    if auth_type in _OF_ENVIRONMENT and not named:
        raise UsageError(f"it holds no credentials, and those of the environment ({auth_type}) are not its own")


def not_signed_in(error: Exception, what: str, written: Mapping[str, str] | None = None) -> AuditError:
    """Return the error for a failed sign-in.

    Args:
        what: begins the message.
        written: the profile's settings, if the file was read.
    """
    if isinstance(error, configparser.Error):
        return UsageError(f"{what} ({_unreadable(error)})")
    if (why := unreachable(error)) is not None:
        return Transient(f"{what} (the service that signs in: {why})")
    said = str(error).partition(". Config:")[0].removeprefix("default auth: ")
    if isinstance(error, NotImplementedError) or _NO_TOKEN_CAME.search(said):
        return Transient(f"{what} (the service that signs in gives no token; does it answer with a login page?)")
    if _NO_WAY in said and not written:
        return UsageError(what)
    if _NO_WAY in said and written:
        way = written.get("auth_type")
        if not written.get("host"):
            said = "it names no host"
        elif way:
            said = f"its auth_type, {way}, is of no use here: is the program that it needs installed and signed in?"
        else:
            said = "it holds neither a token, nor client_id and client_secret"
    return UsageError(f"{what} ({printable(redact(said))[:300]})")


def no_credentials(profile: str | None) -> str:
    if profile is None:
        return (
            "there are no Databricks credentials for this URI: set DATABRICKS_HOST and DATABRICKS_TOKEN, "
            "or name a profile of ~/.databrickscfg as databricks://PROFILE"
        )
    return (
        f"the Databricks profile {printable(profile)} cannot be signed in with: make it with "
        f"`databricks configure --profile {printable(profile)}`, or name another one as databricks://PROFILE"
    )
