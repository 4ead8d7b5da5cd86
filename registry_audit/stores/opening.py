"""Which store reads a root."""

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from registry_audit.registry.connection import Connection
from registry_audit.registry.resolve import Location
from registry_audit.registry.storage import PROXY, StorageIdentity
from registry_audit.stores.base import Store
from registry_audit.stores.clouds import KINDS, bucket_of
from registry_audit.stores.databricks import databricks_store
from registry_audit.stores.local import LocalStore
from registry_audit.stores.objects import ObjectStore
from registry_audit.stores.overlay import OverlayStore
from registry_audit.stores.proxy import ProxyStore
from registry_audit.stores.repository import RepositoryStore


def open_store(connection: Connection, location: Location) -> Store:
    """The store that reads a resolved location; nothing is read yet.

    Raises:
        UsageError: a package that this store needs is not installed.
        CouldNotVerify: MLflow knows no way to read such a URI.
    """
    stores = tuple(_open(connection, *root) for root in zip(location.roots, location.storages, strict=True))
    return stores[0] if len(stores) == 1 else OverlayStore(stores)


def _open(connection: Connection, root: str, identity: StorageIdentity) -> Store:
    if (store := databricks_store(connection, root, identity)) is not None:
        return store
    if identity.is_directory:
        return LocalStore(Path(identity.path), may_be_elsewhere=not _is_here(connection.tracking_uri))
    if identity.kind == PROXY:
        return ProxyStore(connection.wire_to_proxy(identity.endpoint), connection.transfers, identity)
    if identity.kind in KINDS:
        return ObjectStore(bucket_of(identity), identity, connection.transfers)
    manners = connection.transfers.politeness
    return RepositoryStore(root, identity, connection.tracking_uri, connection.registry_uri, manners)


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
