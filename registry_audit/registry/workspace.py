"""One Databricks workspace: which one it is, and requests to it under one profile.

The SDK's `Config` lets any `DATABRICKS_*` variable outrank the profile that was asked for, so that the token of one
workspace would be sent to another. Where a profile is named, it alone decides here.
"""

import logging
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from registry_audit.errors import AuditError, UsageError
from registry_audit.net.http import HttpSession
from registry_audit.net.rest import Refusal, Rest
from registry_audit.printable import printable
from registry_audit.redact import redact

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# Of the SDK alone: for what it asks while it signs in. Its own defaults wait for five minutes.
_SIGN_IN_SECONDS = 5
_SIGN_IN_TRIES_SECONDS = 2


class Workspace(Rest):
    """Requests to one workspace, signed in by the Databricks SDK. Its identity is asked for once, when it is opened."""

    def __init__(self, profile: str | None, http: HttpSession, token: str | None = None) -> None:
        """
        Args:
            profile: of the configuration file (~/.databrickscfg, or what DATABRICKS_CONFIG_FILE names); None for the
                default credentials of the environment.
            token: in place of the profile's.

        Raises:
            UsageError: there are no such credentials, or the workspace refuses them.
            Transient: the workspace does not answer.
        """
        self.called = f"profile {printable(profile)}" if profile else "the default credentials"
        self.sdk = _signed_in(profile, token)
        config = self.sdk.config
        if not config.host:
            raise UsageError(_no_credentials(profile))
        super().__init__(config.host, lambda *_: config.authenticate(), http, explain=self._explained)
        doing = f"reach the workspace {self.host}"
        _, headers = self.first_answer("/api/2.0/preview/scim/v2/Me", doing=doing)
        self.id = _plain(headers.get("X-Databricks-Org-Id") or config.workspace_id)
        self.identity = f"{self.host.partition('://')[2].lower()}/workspace/{self.id or 'unknown'}"

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


def _signed_in(profile: str | None, token: str | None) -> "WorkspaceClient":
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
            """The same settings, none of which has a variable that could set it."""
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
    try:
        return WorkspaceClient(config=OfProfile(profile=profile, **settings) if profile else Config(**settings))
    except Exception as error:  # whatever a way to sign in raises
        short = printable(redact(str(error).partition(". Config:")[0]))[:300]
        raise UsageError(f"{_no_credentials(profile)} ({short})") from error


def _no_credentials(profile: str | None) -> str:
    if profile is None:
        return (
            "there are no Databricks credentials for this URI: set DATABRICKS_HOST and DATABRICKS_TOKEN, "
            "or name a profile of ~/.databrickscfg as databricks://PROFILE"
        )
    return (
        f"the Databricks profile {printable(profile)} cannot be signed in with: make it with "
        f"`databricks configure --profile {printable(profile)}`, or name another one as databricks://PROFILE"
    )


def _plain(workspace_id: Any) -> str:
    text = str(workspace_id or "").strip()
    return text if text.isascii() and text.isalnum() and len(text) <= 64 else ""
