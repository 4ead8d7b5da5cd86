"""Connects this process to one MLflow tracking server and its registry.

No global tracking URI is ever set or read once a connection exists: MLflow's own `models:/` handling asks the
process-wide server even when told another one (docs/mlflow.md section 3), so every client gets both URIs and every
`models:/` and `runs:/` URI is resolved here.
"""

import logging
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any
from urllib.parse import quote, urlunsplit

from tenacity import Retrying, stop_after_delay, wait_fixed

from registry_audit.errors import CouldNotVerify, Transient, UsageError, did_you_mean
from registry_audit.net.http import NOTHING_LISTENS, HttpSession
from registry_audit.net.origin import Origin, is_one_machine, origin_of, urlsplit
from registry_audit.net.rest import Rest
from registry_audit.net.throttle import Throttle
from registry_audit.net.transfers import Transfers
from registry_audit.redact import remember_secrets
from registry_audit.registry.address import (
    DATABASES,
    Address,
    AddressKind,
    active_workspace,
    has_workspaces,
    in_workspace,
    server_in,
)
from registry_audit.registry.database import Opened, asked_identity, read_only
from registry_audit.registry.databricks_clients import Databricks, Joined, addresses, databricks_of
from registry_audit.registry.mlflow_api import Registry, Tracking
from registry_audit.registry.mlflow_environment import importing_mlflow
from registry_audit.registry.mlflow_private import stores_of
from registry_audit.registry.mlflow_server import MlflowServer, stranger
from registry_audit.registry.translate import refused_to_open, translated
from registry_audit.registry.workspace import Workspace

_LISTENS_WITHIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Server:
    """Describes a server's addresses and sign-in. It holds names of environment variables, never a secret."""

    tracking_uri: str = field(repr=False)
    registry_uri: str | None = field(default=None, repr=False)
    username_env: str | None = None
    password_env: str | None = None
    token_env: str | None = None
    by_itself: bool = False  # use only these settings: the sign-in in the environment is another server's
    registry_by_itself: bool | None = None  # likewise for the model registry; None: as for the tracking server


class Connection:
    """Connects to one tracking server and its registry; safe to share between threads.

    Attributes:
        client: answers an audit's requests for runs and registered models, under the names of MLflow's own client.
        registry: answers requests for registered models alone, including prompts.
    """

    def __init__(self, server: Server, transfers: Transfers | None = None) -> None:
        calm_mlflow()
        self.transfers = transfers or Transfers()
        self.http = HttpSession(self.transfers.throttle)
        self.tracking, self.registry_address = addresses(server.tracking_uri, server.registry_uri)
        named = any(map(has_workspaces, (self.tracking, self.registry_address)))
        self.workspace = active_workspace() if named else None
        user, token = _user(server), _environment(server.token_env)
        by_itself = server.by_itself if server.registry_by_itself is None else server.registry_by_itself
        self.tracking_uri = _with_basic_auth(user, self.tracking)
        self.registry_uri = _with_basic_auth(user, self.registry_address)
        self.databricks: Databricks | None = None
        self._identity = self.registry_address.identity
        self._servers: dict[str, MlflowServer] = {}
        self._proxies: dict[str, Rest] = {}
        with translated(f"open the tracking server {self.tracking.shown}"):
            if {self.tracking.kind, self.registry_address.kind} & {AddressKind.DATABRICKS, AddressKind.UNITY_CATALOG}:
                self.databricks = databricks_of(
                    self.tracking, self.registry_address, self.http, token, user, by_itself=by_itself
                )
            registered, self.registry = self._registry(token, by_itself=by_itself)
            self.client: Any = Joined(self._tracking(token, by_itself=server.by_itself), registered)

    def _tracking(self, token: str | None, *, by_itself: bool) -> Any:
        if self.databricks is not None and self.databricks.workspace is not None:
            return Tracking(self.databricks.workspace)
        if self.tracking.kind is AddressKind.SERVER:
            return Tracking(self._server(self.tracking_uri, token, by_itself=by_itself))
        return self._of_mlflow(self.tracking)[0]

    def _registry(self, token: str | None, *, by_itself: bool) -> tuple[Any, Any]:
        """Return a client without prompts, and one with them. A service leaves prompts out only if it is asked to."""
        if self.databricks is not None and self.databricks.registry is not None:
            return self.databricks.registry, self.databricks.registry
        if self.registry_address.kind is AddressKind.SERVER:
            registry = Registry(self._server(self.registry_uri, token, by_itself=by_itself))
            return registry, registry
        return self._of_mlflow(self.registry_address)

    def _server(self, uri: str, token: str | None, *, by_itself: bool) -> MlflowServer:
        if uri not in self._servers:
            self._servers[uri] = MlflowServer(
                uri, self.http, token=token, workspace=self.workspace, by_itself=by_itself
            )
        return self._servers[uri]

    def _of_mlflow(self, address: Address) -> tuple[Any, Any]:
        """Return MLflow's own stores if the address is no server: a database, a directory, an address of a plugin."""
        if address.kind is not AddressKind.OTHER:
            opened, stores = _of_database(address)
            if address == self.registry_address:
                self._identity = opened.identity
            return stores
        stores = _of_plugin(address)
        host = f"{address.kind}:{address.shown}"
        return Throttled(stores[0], self.transfers.throttle, host), Throttled(stores[1], self.transfers.throttle, host)

    @property
    def identity(self) -> str:
        """Return the identity under which a ledger knows the registry, unless it was given a name."""
        if self.databricks is not None and self.databricks.registry is not None:
            return self.databricks.registry.identity
        return in_workspace(self._identity, self.registry_address, self.workspace)

    @property
    def is_http(self) -> bool:
        return urlsplit(self.tracking_uri).scheme in ("http", "https")

    @property
    def is_uc(self) -> bool:
        return self.registry_address.kind is AddressKind.UNITY_CATALOG

    @property
    def is_databricks(self) -> bool:
        """Say whether the registry belongs to a Databricks workspace."""
        return self.copies_models and isinstance(self.registry.rest, Workspace)

    @property
    def has_runs_in_databricks(self) -> bool:
        return self.databricks is not None and self.databricks.workspace is not None

    @property
    def own_spelling(self) -> Callable[[str], str]:
        """Return a function that spells a model's name as the registry does; Unity Catalog finds it in any capitals."""
        spelling: Callable[[str], str] = getattr(self.registry, "own_spelling", str)
        return spelling

    @property
    def copies_models(self) -> bool:
        """Say whether the registry copies a model when it is registered, as Databricks and Unity Catalog do."""
        return self.databricks is not None and self.databricks.registry is not None

    def registry_of(self, name: str) -> Any:
        """Return the registry that a `models:/` location of this name means."""
        if self.databricks is not None and self.databricks.registry is not None:
            return self.databricks.registry_of(name)
        return self.registry

    @property
    def server(self) -> MlflowServer | None:
        """Return the tracking server; None for a database or a Databricks workspace."""
        return self._servers.get(self.tracking_uri)

    def proxy(self, endpoint: str) -> Rest:
        """Return an artifact proxy. It gets the tracking server's credentials only if it has the same origin."""
        found = self._proxies.get(endpoint)
        if found is None:
            is_ours = self.server is not None and origin_of(endpoint) == origin_of(self.server.host)
            made = (
                self.server.beside(endpoint) if self.server is not None and is_ours else stranger(endpoint, self.http)
            )
            found = self._proxies.setdefault(endpoint, made)
        return found


class Throttled:
    """Wraps the store of an MLflow plugin: every call is one throttled request to `host`; attributes are unchanged."""

    def __init__(self, store: Any, throttle: Throttle, host: str) -> None:
        self._store, self._throttle, self._host = store, throttle, host

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name.startswith("_") or not callable(attribute):
            return attribute

        @wraps(attribute)
        def throttled(*arguments: Any, **named: Any) -> Any:
            with self._throttle.permit(self._host):
                return attribute(*arguments, **named)

        return throttled


def connect(server: Server, transfers: Transfers | None = None) -> Connection:
    """Make a connection to the server; nothing is asked of it yet.

    Args:
        transfers: the audit's, if it has limits of its own.

    Raises:
        UsageError: the URI is not one MLflow can open, or a named environment variable is not set.
    """
    return Connection(server, transfers)


def identity_of(server: Server) -> str:
    """Return the identity under which a ledger knows a server's registry.

    A name given to the registry, or another address of it in the ledger, takes precedence. Only Databricks and
    PostgreSQL are asked for it: a Databricks profile is a private name of a workspace, and an address of PostgreSQL can
    lead elsewhere in another environment.

    Raises:
        UsageError: the address cannot be parsed, or the credentials are refused.
        CouldNotVerify: the service does not answer.
    """
    _, registry = addresses(server.tracking_uri, server.registry_uri)
    if registry.kind in (AddressKind.DATABRICKS, AddressKind.UNITY_CATALOG):
        return connect(server).identity
    return in_workspace(asked_identity(registry), registry, active_workspace())


def _of_database(address: Address) -> tuple[Opened, tuple[Any, Any]]:
    """Open a database. Raises: UsageError: it is no registry, or this MLflow and an installed package conflict."""
    try:
        opened = read_only(address)
        return opened, stores_of(opened.uri)
    except ImportError as error:
        with importing_mlflow():
            from mlflow.version import VERSION

        package = (error.name or "package").partition(".")[0]
        raise UsageError(
            f"MLflow {VERSION} cannot open {address.shown} with the {package} that is installed beside it: "
            "pip install 'mlflow-registry-audit[mlflow]' brings one that it can"
        ) from error
    except Exception as error:
        if (why := refused_to_open(error)) is None:
            raise
        raise UsageError(f"{address.shown} {why}") from error


def _of_plugin(address: Address) -> tuple[Any, Any]:
    """Open a plugin's stores. Raises: UsageError: no plugin of MLflow knows such addresses."""
    with importing_mlflow():
        from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        return stores_of(address.uri)
    except UnsupportedModelRegistryStoreURIException as error:
        scheme = address.shown.partition(":")[0]
        close = did_you_mean(scheme, ("http", "https", *DATABASES)) or "."
        raise UsageError(
            f"MLflow reads no registry at {scheme}:{close} An address "
            "begins with http://, https://, sqlite:///, postgresql:// or mysql://, or is databricks or uc"
        ) from error


def must_listen(connection: Connection) -> None:
    """Find a wrong host or port within seconds, before MLflow's client tries for half a minute.

    A server that is being restarted gets some seconds; behind a proxy of the environment nothing is checked here.

    Raises:
        CouldNotVerify: nothing listens at the address of the tracking server.
    """
    import requests

    if not connection.is_http or requests.utils.get_environ_proxies(connection.tracking_uri):
        return
    origin = origin_of(connection.tracking_uri)
    where = origin.host, origin.port
    soon = Retrying(stop=stop_after_delay(_LISTENS_WITHIN_SECONDS), wait=wait_fixed(0.3), reraise=True)
    try:
        soon(socket.create_connection, where, timeout=_LISTENS_WITHIN_SECONDS).close()
    except socket.gaierror as error:
        raise CouldNotVerify(
            f"could not reach the tracking server {connection.tracking.shown}: there is no host of that name"
        ) from error
    except OSError as error:
        why = "it does not answer" if isinstance(error, TimeoutError) else NOTHING_LISTENS
        raise CouldNotVerify(f"could not reach the tracking server {connection.tracking.shown}: {why}") from error


def server_version(connection: Connection) -> str | None:
    """Return the MLflow version of the server; None for a database, and if the server does not say.

    Raises:
        Transient: the server does not answer.
        UsageError: a workspace is asked for, and the server has none.
    """
    if connection.server is None:
        return None
    connection.server.must_know_workspaces()
    return connection.server.version()


def unasked_workspaces(connection: Connection) -> list[str]:
    """Return the server's workspaces that are not audited although nobody chose the default workspace."""
    registry = connection.registry.rest if connection.registry_address.kind is AddressKind.SERVER else None
    if not isinstance(registry, MlflowServer) or os.environ.get("MLFLOW_WORKSPACE", "").strip():
        return []
    return registry.other_workspaces()


def answers(connection: Connection) -> bool:
    """Say whether the tracking server answers; a database always does."""
    try:
        server_version(connection)
    except Transient:
        return False
    return True


def calm_mlflow() -> None:
    """Set short time-outs and quiet output for MLflow, unless the environment says otherwise.

    MLflow's own defaults wait for minutes on a server that is down, and draw progress bars and usage tips.
    """
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.5",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
        "MLFLOW_HTTP_POOL_MAXSIZE": "64",  # a connection that finds no room there is closed, not reused
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)
    # This logger prints the stack of each database error before the error is raised, which becomes a message anyway.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _user(server: Server) -> tuple[str, str] | None:
    username, password = _environment(server.username_env), _environment(server.password_env)
    return None if username is None or password is None else (username, password)


def _with_basic_auth(user: tuple[str, str] | None, address: Address) -> str:
    """Return the server's URI with its credentials: MLflow keeps two servers' credentials apart only in their URLs."""
    if address.kind is not AddressKind.SERVER or user is None:
        return address.uri
    username, password = user
    parts = urlsplit(address.uri)
    host = parts.netloc.rpartition("@")[2]
    uri = urlunsplit(parts._replace(netloc=f"{quote(username, safe='')}:{quote(password, safe='')}@{host}"))
    remember_secrets(uri)
    return uri


def _environment(name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        # A person who put the token itself into `token_env` must not see it printed.
        if re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise UsageError(f"the configuration names the environment variable {name}, which is not set")
        raise UsageError(
            "username_env, password_env and token_env are names of environment variables, and one of them is not set"
        )
    return value


# Two servers that are asked in one run, each signed in to with its own credentials only.

_OWNER, _REGISTRY_OWNER = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"


def each_with_its_own(
    one: Server, two: Server, owner_uri: str | None = None, registry_owner_uri: str | None = None
) -> tuple[Server, Server]:
    """Return both servers, so that neither is sent the sign-in that the environment holds for another server.

    `MLFLOW_TRACKING_TOKEN`, `MLFLOW_TRACKING_USERNAME` and everything else that MLflow's client finds belong to the
    server that `MLFLOW_TRACKING_URI` names, and to the model registry that `MLFLOW_REGISTRY_URI` names;
    `MLFLOW_UC_OSS_TOKEN` belongs to the latter. Any other server is signed in to with its own configuration, or with
    ~/.netrc's entry for exactly that host, or not at all. If the first variable names no server, the sign-in belongs to
    the servers of the command: both are asked as MLflow's own client would ask them. If the second one names none, a
    model registry is treated as the tracking server beside it.

    Args:
        owner_uri: replaces the value of `MLFLOW_TRACKING_URI`.
        registry_owner_uri: replaces the value of `MLFLOW_REGISTRY_URI`.
    """
    owner = _origin(owner_uri or os.environ.get(_OWNER, ""))
    registry_owner = _origin(registry_owner_uri or os.environ.get(_REGISTRY_OWNER, ""))
    servers = one, two
    tracking = [_origin(server.tracking_uri) for server in servers]
    registries = [_origin(server.registry_uri or server.tracking_uri) for server in servers]
    is_owner = [True, True] if owner is None else _are(owner, tracking)
    is_registry_owner = is_owner if registry_owner is None else _are(registry_owner, registries)
    first, second = (
        replace(
            server,
            by_itself=not is_owner[n],
            registry_by_itself=not (is_owner[n] if registries[n] == tracking[n] else is_registry_owner[n]),
        )
        for n, server in enumerate(servers)
    )
    return first, second


def _are(owner: Origin, origins: Sequence[Origin | None]) -> list[bool]:
    """Say of each origin whether it is the owner. One machine may be called 127.0.0.1 here and localhost there."""
    if any(origin == owner for origin in origins):
        return [origin == owner for origin in origins]
    return [origin is not None and is_one_machine(origin, owner) for origin in origins]


def _origin(uri: str) -> Origin | None:
    """Return the origin of a server, also of one in a `uc:` address; None for any other URI."""
    try:
        origin = origin_of(server_in(uri))
    except ValueError:
        return None
    return origin if origin.scheme in ("http", "https") else None
