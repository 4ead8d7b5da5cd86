"""One MLflow tracking server and its registry, as seen by this process.

No global tracking URI is ever set or read once a connection exists: MLflow's own `models:/` handling asks the
process-wide server even when told another one (docs/mlflow.md section 3), so every client gets both URIs and
every `models:/` and `runs:/` URI is resolved here.
"""

import os
import socket
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit, urlunsplit

from tenacity import Retrying, stop_after_delay, wait_fixed

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.redact import remember_userinfo
from registry_audit.registry.address import Address, AddressKind, active_workspace, registry_identity
from registry_audit.registry.database import read_only
from registry_audit.registry.databricks_clients import Databricks, addresses, client_of, databricks_of
from registry_audit.registry.origin import NOBODY, credentials_for, origin_of
from registry_audit.registry.transfers import Transfers
from registry_audit.registry.translate import NOTHING_LISTENS

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from registry_audit.registry.transport import Wire


_LISTENS_WITHIN_SECONDS = 3.0


_MAX_VERSION_BYTES = 40  # of what a server says its MLflow is


@dataclass(frozen=True, slots=True)
class Server:
    """Which server, and how to sign in. Holds names of environment variables, never a secret of its own."""

    tracking_uri: str = field(repr=False)
    registry_uri: str | None = field(default=None, repr=False)
    username_env: str | None = None
    password_env: str | None = None
    token_env: str | None = None


class Connection:
    """Clients for one server; safe to share between threads."""

    def __init__(self, server: Server, transfers: Transfers | None = None) -> None:
        calm_mlflow()
        from registry_audit.registry.translate import translated
        from registry_audit.registry.transport import make_mlflow_polite

        make_mlflow_polite()
        self.transfers = transfers or Transfers()
        self.tracking, self.registry_address = addresses(server.tracking_uri, server.registry_uri)
        self.workspace = active_workspace()
        self.tracking_uri = _with_basic_auth(server, self.tracking)
        self.registry_uri = _with_basic_auth(server, self.registry_address)
        token = _environment(server.token_env)
        opened = tuple(
            uri if address.kind is AddressKind.SERVER else read_only(address)
            for uri, address in ((self.tracking_uri, self.tracking), (self.registry_uri, self.registry_address))
        )
        manners = self.transfers.politeness
        self.databricks: Databricks | None = None
        self._stores: tuple[Any, Any] = (None, None)
        with translated(f"open the tracking server {self.tracking.shown}"):
            if {self.tracking.kind, self.registry_address.kind} & {AddressKind.DATABRICKS, AddressKind.UNITY_CATALOG}:
                self.databricks = databricks_of(self.tracking, self.registry_address, manners, token)
                self.client, self.registry = client_of(self.databricks, lambda: self._of_mlflow(opened, token))
            else:
                self.client, self.registry = self._of_mlflow(opened, token)
        self._wires: dict[tuple[str, bool], Wire] = {}

    def _of_mlflow(self, opened: tuple[str, ...], token: str | None) -> tuple[Any, Any]:
        """MLflow's own client, and its store for the registry, for what is not Databricks."""
        import mlflow

        from registry_audit.registry.file_store import ask_no_other_server
        from registry_audit.registry.transport import PoliteClient, host_of

        # A side that is Databricks is asked by another client: MLflow's takes the other side's address for it.
        uris = [
            uri if address.kind not in (AddressKind.DATABRICKS, AddressKind.UNITY_CATALOG) else None
            for uri, address in zip(opened, (self.tracking, self.registry_address), strict=True)
        ]
        tracking_uri, registry_uri = uris[0] or uris[1], uris[1] or uris[0]
        client = mlflow.MlflowClient(tracking_uri, registry_uri)
        # The store itself: the client's own method asks twice for each download URI, once only to exclude prompts.
        registry: Any = client._get_registry_client().store
        ask_no_other_server(registry)
        tracking = client._tracking_client.store
        if token is not None:
            for store in (tracking, registry):
                _sign_in(store, token)
        self._stores = tracking, registry
        if all(hasattr(store, "ManagedSessionMaker") for store in self._stores):
            return client, registry
        manners = self.transfers.politeness
        return (
            cast("MlflowClient", PoliteClient(client, manners, host_of(str(tracking_uri)))),
            PoliteClient(registry, manners, host_of(str(registry_uri))),
        )

    @property
    def identity(self) -> str:
        """What a ledger knows the registry by, unless it was given a name."""
        if self.databricks is not None and self.databricks.registry is not None:
            return self.databricks.registry.identity
        return registry_identity(self.registry_address, self.workspace)

    @property
    def is_http(self) -> bool:
        return urlsplit(self.tracking_uri).scheme in ("http", "https")

    @property
    def is_uc(self) -> bool:
        return urlsplit(self.registry_uri).scheme in ("uc", "databricks-uc") or self.registry_uri == "databricks-uc"

    @property
    def is_databricks(self) -> bool:
        return self.registry_uri.split(":")[0] in ("databricks", "databricks-uc")

    def host_creds(self) -> Any:
        """What `mlflow.utils.rest_utils.http_request` needs to speak to the tracking server."""
        return self._stores[0].get_host_creds()

    def registry_wire(self) -> "Wire | None":
        """Requests to the registry; None where it is a database, or a service that MLflow has another client for."""
        if self.databricks is not None and self.databricks.registry is not None:
            return None
        from mlflow.store.model_registry.rest_store import RestStore

        store = self._stores[1]
        return self.wire(store.get_host_creds()) if type(store) is RestStore else None

    def wire(self, host_creds: Any, *, is_ours: bool = True) -> "Wire":
        """Requests to the tracking server or to the registry; with `is_ours` False to a stranger, which gets no word
        of who asks.
        """
        from registry_audit.registry.transport import Wire

        carries = origin_of(host_creds.host) if is_ours else NOBODY
        known = self._wires.get((host_creds.host, is_ours))
        if known is None or known.host_creds != host_creds:
            known = self._wires[host_creds.host, is_ours] = Wire(host_creds, self.transfers.politeness, carries)
        return known

    def wire_to_proxy(self, endpoint: str) -> "Wire":
        """Requests to an artifact proxy: with the tracking server's credentials only where it is of that origin."""
        from mlflow.utils.rest_utils import MlflowHostCreds

        if self.is_http and origin_of(endpoint) == origin_of(self.tracking_uri):
            creds = copy(self.host_creds())
            userinfo, at, _ = urlsplit(creds.host).netloc.rpartition("@")
            creds.host = endpoint.replace("://", f"://{userinfo}{at}", 1)
            return self.wire(creds)
        return self.wire(MlflowHostCreds(endpoint), is_ours=False)


def connect(server: Server, transfers: Transfers | None = None) -> Connection:
    """A connection to the server; nothing is asked of it yet.

    Args:
        transfers: the audit's, where it has limits of its own.

    Raises:
        UsageError: the URI is not one MLflow can open, or a named environment variable is not set.
    """
    return Connection(server, transfers)


def must_listen(connection: Connection) -> None:
    """Find a wrong host or port within seconds, before MLflow's client tries for half a minute.

    A server that is being restarted gets some seconds; proxies of the environment are left to the client.

    Raises:
        CouldNotVerify: nothing listens at the address of the tracking server.
    """
    import requests

    if not connection.is_http or requests.utils.get_environ_proxies(connection.tracking_uri):
        return
    parts = urlsplit(connection.tracking_uri)
    where = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
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
    """The MLflow version the server runs; None for a database and where it does not say."""
    if not connection.is_http:
        return None
    from mlflow.utils.rest_utils import http_request

    from registry_audit.registry.translate import translated
    from registry_audit.registry.transport import accounted, host_of

    with (
        translated(f"reach the tracking server {connection.tracking.shown}"),
        connection.transfers.politeness.request(host_of(connection.tracking_uri)) as flight,
        credentials_for(origin_of(connection.tracking_uri)),
        flight.sending(),
    ):
        response = http_request(connection.host_creds(), "/version", "GET", raise_on_status=False, stream=True)
        with response:
            body = b"".join(islice(accounted(response.iter_content(1), flight), _MAX_VERSION_BYTES + 1))
    text = body.decode("ascii", "replace").strip()
    is_version = response.status_code == 200 and len(body) <= _MAX_VERSION_BYTES and text[:1].isdecimal()
    return text if is_version and text.isprintable() else None


def answers(connection: Connection) -> bool:
    """Whether the tracking server is there; a database always is."""
    try:
        server_version(connection)
    except Transient:
        return False
    return True


def calm_mlflow() -> None:
    """Bounded patience and a quiet console, unless the environment says otherwise.

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


def _with_basic_auth(server: Server, address: Address) -> str:
    """Credentials of one server go into its URL: the only place where MLflow keeps two servers' apart."""
    if address.kind is not AddressKind.SERVER:
        return address.uri
    username, password = _environment(server.username_env), _environment(server.password_env)
    if username is None or password is None:
        return address.uri
    parts = urlsplit(address.uri)
    host = parts.netloc.rpartition("@")[2]
    uri = urlunsplit(parts._replace(netloc=f"{quote(username, safe='')}:{quote(password, safe='')}@{host}"))
    remember_userinfo(uri)
    return uri


def _sign_in(store: Any, token: str) -> None:
    from mlflow.utils.rest_utils import MlflowHostCreds

    if hasattr(store, "get_host_creds"):
        store.get_host_creds = partial(MlflowHostCreds, store.get_host_creds().host, token=token)


def _environment(name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise UsageError(f"the configuration names the environment variable {name}, which is not set")
    return value
