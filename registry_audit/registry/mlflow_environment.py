"""Reads the environment variables of MLflow's client, without importing MLflow.

Importing MLflow takes longer than checking a version, and nothing else needs it over http.
`tests/unit/registry/test_mlflow_environment.py` compares the results with those of the oldest and the newest supported
MLflow.
"""

import os
import re
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from registry_audit.errors import UsageError

_INSECURE_TLS, _SERVER_CERT = "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_IMPORTING = threading.RLock()
_VERSION = re.compile(r"""^VERSION\s*=\s*["']([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HostCreds:
    """Says how to sign in to a server, and how to trust it. Source: mlflow.utils.rest_utils.MlflowHostCreds."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    aws_sigv4: bool = False
    auth: str | None = None
    ignore_tls_verification: bool = False
    client_cert_path: str | None = None
    server_cert_path: str | None = None

    @property
    def verify(self) -> bool | str:
        return not self.ignore_tls_verification if self.server_cert_path is None else self.server_cert_path


def default_host_creds() -> HostCreds:
    """Return the credentials from the environment, else from MLflow's file with user and password.

    Source: mlflow.utils.credentials.get_default_host_creds.

    Raises:
        UsageError: a variable has a value that MLflow does not accept, or two variables contradict each other.
    """
    environment, file = os.environ.get, _credentials_file()
    creds = HostCreds(
        environment("MLFLOW_TRACKING_USERNAME") or file.get("mlflow_tracking_username"),
        environment("MLFLOW_TRACKING_PASSWORD") or file.get("mlflow_tracking_password"),
        environment("MLFLOW_TRACKING_TOKEN"),
        flag("MLFLOW_TRACKING_AWS_SIGV4"),
        environment("MLFLOW_TRACKING_AUTH"),
        flag(_INSECURE_TLS),
        environment("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        environment(_SERVER_CERT),
    )
    if creds.ignore_tls_verification and creds.server_cert_path is not None:
        raise UsageError(f"{_INSECURE_TLS} and {_SERVER_CERT} are both set, and contradict each other: unset one")
    return creds


def _credentials_file() -> dict[str, str]:
    """Read the credentials file. Source: mlflow.utils.credentials.read_mlflow_creds, which reads these two names."""
    path, file = Path("~/.mlflow/credentials").expanduser(), ConfigParser()
    names = "mlflow_tracking_username", "mlflow_tracking_password"
    try:
        file.read(path)
        return {name: file.get("mlflow", name) for name in names if file.has_option("mlflow", name)}
    except (ConfigParserError, UnicodeDecodeError) as error:  # the error's text may hold the password
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__}): it must have a line [mlflow], and under it lines like "
            "mlflow_tracking_username = alice; a percent sign is written twice"
        ) from None


def flag(name: str) -> bool:
    """Return a variable that MLflow reads as yes or no; no if it is not set. Raises: UsageError: it is neither."""
    value = os.environ.get(name, "false")
    if value.lower() not in _FLAGS:
        raise UsageError(f"the environment variable {name} must be true, false, 1 or 0")
    return _FLAGS[value.lower()]


def request_headers() -> dict[str, str]:
    """Return the headers that MLflow's client sends with every request, including its plugins' headers.

    A plugin's headers come from this process, an installed package, or Databricks, and are obtained through MLflow.
    """
    if "mlflow" in sys.modules or _has_header_plugins():
        with importing_mlflow():
            from mlflow.tracking.request_header.registry import resolve_request_headers

        return dict(resolve_request_headers())
    version = mlflow_version()
    return {"User-Agent": f"mlflow-python-client/{version}", "X-MLflow-Client-Version": version}


@cache
def _has_header_plugins() -> bool:
    return "DATABRICKS_RUNTIME_VERSION" in os.environ or bool(entry_points(group="mlflow.request_header_provider"))


@contextmanager
def importing_mlflow() -> Iterator[None]:
    """Import MLflow, or a part of it, in the block: one thread at a time, and the package before its parts.

    Its modules import each other. A thread that imports one of them while another thread still imports the package
    finds it half initialised: "partially initialized module 'mlflow'", or "deadlock detected by _ModuleLock".
    """
    with _IMPORTING:
        import mlflow  # noqa: F401 - waits for an import in a thread of other code

        yield


@cache
def mlflow_version() -> str:
    """Return the version of the installed MLflow."""
    spec = find_spec("mlflow")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if found := _VERSION.search(Path(place, "version.py").read_text(encoding="utf-8")):
            return found[1]
    with importing_mlflow():
        from mlflow.version import VERSION

    return str(VERSION)


# Features that only some releases of MLflow have: each is detected by what it does, never by a version.


def asks_unity_catalog_natively() -> bool:
    """Say whether the environment selects Unity Catalog's own protocol. MLflow before 3.11 knows only its other one."""
    return bool(_if_known("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY"))


def expected_bucket_owner() -> str | None:
    """Return the account that a bucket must belong to, if this MLflow checks it at all: 3.5 and older do not."""
    owner: str | None = _if_known("MLFLOW_S3_EXPECTED_BUCKET_OWNER")
    return owner


def file_stores_are_allowed() -> bool:
    """Say whether this MLflow opens a file store: older ones always do, newer ones if the environment allows it."""
    name = "MLFLOW_ALLOW_FILE_STORE"
    return _variable(name) is None or os.environ.get(name, "").lower() in ("true", "1")


def _if_known(name: str) -> Any:
    """Return the value that this MLflow reads from a variable; None if it is not set, or not known to this MLflow."""
    variable = _variable(name) if name in os.environ else None
    return None if variable is None else variable.get()


def _variable(name: str) -> Any:
    with importing_mlflow():
        from mlflow import environment_variables

    return getattr(environment_variables, name, None)
