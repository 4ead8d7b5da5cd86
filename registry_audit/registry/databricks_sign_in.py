"""Signing in to Databricks, by its SDK, under one profile of the configuration file or as the environment says.

The SDK's `Config` lets any `DATABRICKS_*` variable outrank the profile that was asked for, so that the token of one
workspace would be sent to another. Where a profile is named, it alone decides here.
"""

import configparser
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from registry_audit.closest import did_you_mean
from registry_audit.errors import AuditError, Transient, UsageError
from registry_audit.net.http import unreachable
from registry_audit.net.threads import Helpers
from registry_audit.printable import printable
from registry_audit.redact import redact

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

# Of the SDK alone: for what it asks while it signs in. Its own defaults wait for five minutes.
_SIGN_IN_SECONDS = 5
_SIGN_IN_TRIES_SECONDS = 2
# Of all of it: a program that signs in, and the service that gives tokens, have no limit of their own.
_SIGN_IN_AT_MOST_SECONDS = 20.0
# Ways to sign in that take everything from the environment, also the workspace.
_OF_ENVIRONMENT = frozenset({"runtime", "runtime-oauth", "model-serving", "env-oidc"})
_NO_WAY = "cannot configure default credentials"  # what the SDK says where no way to sign in fits
_NO_TOKEN_CAME = re.compile(r"unknown: unknown|b['\"]|Not supported yet")  # likewise of a service that gives tokens

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
    except Exception as error:  # whatever a way to sign in raises
        raise not_signed_in(error, no_credentials(profile), written) from error


def _in_time(call: Callable[[], _Result]) -> _Result:
    """What a call gives that nothing can break off. Raises: Transient: it does not come back."""
    answer = _HELPERS.begin(call).wait(_SIGN_IN_AT_MOST_SECONDS)
    if answer is None:
        raise Transient(f"signing in took longer than {_SIGN_IN_AT_MOST_SECONDS:g} seconds")
    return answer[0]


def _written_in_file(profile: str) -> Mapping[str, str]:
    """What the configuration file says of a profile, which gets nothing from DEFAULT here.

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
        why = f"{shown} has no profile {printable(profile)}{close}" if file.exists() else f"there is no {shown}"
        raise UsageError(f"{no_credentials(profile)} ({why})")
    return dict(found.items(profile))


def _file() -> Path:
    return Path(os.environ.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg").expanduser()


def _unreadable(error: Exception) -> str:
    """What is wrong with the configuration file. No line of it is repeated: it holds tokens."""
    if not isinstance(error, configparser.Error):
        return f"{printable(str(_file()))} cannot be read ({type(error).__name__})"
    lines = getattr(error, "errors", None) or [(getattr(error, "lineno", None), "")]
    return (
        f"{printable(str(_file()))} cannot be read at line {lines[0][0]}: a profile begins with its name in brackets, "
        "its other lines are KEY = VALUE, and nothing is given twice"
    )


def _must_be_of_profile(auth_type: str | None, written: Mapping[str, str]) -> None:
    """Raises: UsageError: the SDK found no credentials in the profile, and took those of the environment."""
    named = written.get("auth_type") == auth_type or (auth_type == "env-oidc" and written.get("oidc_token_env"))
    if auth_type in _OF_ENVIRONMENT and not named:
        raise UsageError(f"it holds no credentials, and those of the environment ({auth_type}) are not its own")


def not_signed_in(error: Exception, what: str, written: Mapping[str, str] | None = None) -> AuditError:
    """
    Args:
        what: begins the message.
        written: of the profile, where the file was read.
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
