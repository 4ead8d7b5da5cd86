"""Which store reads a root."""

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.connection import Connection
from registry_audit.registry.resolve import Location
from registry_audit.registry.storage import LOCAL, PROXY_PATH, local_path, storage_identity
from registry_audit.stores.base import Store
from registry_audit.stores.local import LocalStore
from registry_audit.stores.overlay import OverlayStore
from registry_audit.stores.proxy import ProxyStore, proxy_root
from registry_audit.stores.repository import RepositoryStore
from registry_audit.stores.s3 import S3Store


def open_store(connection: Connection, location: Location) -> Store:
    """The store that reads a resolved location; nothing is read yet.

    Raises:
        UsageError: a package that this store needs is not installed.
        CouldNotVerify: MLflow knows no way to read such a URI.
    """
    if len(location.roots) == 1 and location.identity is not None:
        return _open(connection, location.roots[0], location.identity)
    stores = tuple(_open(connection, root, storage_identity(root, connection.tracking_uri)) for root in location.roots)
    return OverlayStore(stores)


def _open(connection: Connection, root: str, identity: str) -> Store:
    if local_path(root) is not None:
        return LocalStore(
            Path(identity.removeprefix(LOCAL)), identity, may_be_elsewhere=not _is_here(connection.tracking_uri)
        )
    parts = urlsplit(root)
    if parts.scheme == "mlflow-artifacts":
        return _proxy(connection, root, identity)
    if parts.scheme in ("http", "https") and PROXY_PATH in parts.path:
        return _proxy(connection, root, identity)
    if parts.scheme in ("s3", "s3a", "s3n"):
        return S3Store(root, identity, connection.transfers)
    if parts.scheme == "dbfs" and not connection.tracking_uri.startswith("databricks"):
        # MLflow's repository would open the process-wide store, and make a database where there is none.
        raise CouldNotVerify("dbfs: storage can only be read through a databricks tracking URI")
    manners = connection.transfers.politeness
    return RepositoryStore(root, identity, connection.tracking_uri, connection.registry_uri, manners)


def _proxy(connection: Connection, root: str, identity: str) -> ProxyStore:
    wire = connection.wire(_proxy_creds(connection, urlsplit(root).netloc))
    return ProxyStore(wire, connection.transfers, proxy_root(root), identity)


def _proxy_creds(connection: Connection, netloc: str) -> object:
    """The tracking server's own credentials, or for another host none: they are not that host's business."""
    if not connection.is_http:
        raise CouldNotVerify(
            "the storage is behind an artifact proxy, which only a tracking server's http(s) URI can reach: "
            "give that as --tracking-uri"
        )
    host = netloc.rpartition("@")[2].lower()
    if not host or host == urlsplit(connection.tracking_uri).netloc.rpartition("@")[2].lower():
        return connection.host_creds()
    from mlflow.utils.rest_utils import MlflowHostCreds

    return MlflowHostCreds(f"{urlsplit(connection.tracking_uri).scheme}://{host}")


def _is_here(tracking_uri: str) -> bool:
    """Whether a path that the server names must be on this machine: its database is a file here, or it is this host."""
    parts = urlsplit(tracking_uri)
    if parts.scheme.startswith("sqlite"):
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host == ""
