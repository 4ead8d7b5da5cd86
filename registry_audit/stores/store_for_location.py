"""Chooses the store that reads a location."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.registry.connection import Connection
from registry_audit.registry.resolve import Location
from registry_audit.registry.runs import Runs
from registry_audit.registry.storage import AZURE, PROXY, S3, StorageIdentity, storage_identity
from registry_audit.stores.azure import azure_environment
from registry_audit.stores.base import Store
from registry_audit.stores.databricks import databricks_store
from registry_audit.stores.fallback import OverlayStore
from registry_audit.stores.gcs import gcs_environment
from registry_audit.stores.local import LocalStore
from registry_audit.stores.mlflow_repository import RepositoryStore
from registry_audit.stores.objects import Bucket, ObjectStore
from registry_audit.stores.proxy import ProxyStore
from registry_audit.stores.s3 import s3_environment

# The bucket of a storage, with the access that the environment names.

_GCS = "gs"
KINDS = (S3, _GCS, AZURE)


def bucket_of(identity: StorageIdentity) -> Bucket:
    """Return the bucket of a storage, with the access that the environment names.

    Raises:
        UsageError: a package is not installed, or a variable of the environment makes no sense.
    """
    if identity.kind == _GCS:
        return gcs_environment().bucket(identity.container)
    if identity.kind == AZURE:
        return azure_environment(identity.endpoint).bucket(identity.container)
    return s3_environment().bucket(identity.container)


def open_store(connection: Connection, location: Location, runs: Runs | None = None) -> Store:
    """Return the store that reads a resolved location; nothing is read yet.

    Args:
        runs: finds the place that a missing model belongs to; None if it does not matter whether the model is there.

    Raises:
        UsageError: a package that this store needs is not installed.
        CouldNotVerify: MLflow has no way to read such a URI.
    """
    places = partial(_places, connection, runs, location.run_id)
    first, *others = (_open(connection, *root, places) for root in zip(location.roots, location.storages, strict=True))
    if not others:
        return first
    return OverlayStore(first, others[0], location.roots[0].rstrip("/").rpartition("/")[2])


def _open(connection: Connection, root: str, identity: StorageIdentity, places: Callable[[], Iterator[str]]) -> Store:
    if (store := databricks_store(connection, root, identity)) is not None:
        return store
    if identity.is_directory:
        return LocalStore(Path(identity.path), places)
    if identity.kind == PROXY:
        return ProxyStore(connection.proxy(identity.endpoint), connection.transfers, identity)
    if identity.kind in KINDS:
        return ObjectStore(bucket_of(identity), identity, connection.transfers)
    throttle = connection.transfers.throttle
    return RepositoryStore(root, identity, connection.tracking_uri, connection.registry_uri, throttle)


def _places(connection: Connection, runs: Runs | None, run_id: str | None) -> Iterator[str]:
    """Yield the directories of this machine that the registry records for a run and for its experiment."""
    if runs is None or not run_id:
        return
    for recorded in (runs.own_directory, runs.experiment_directory):
        with suppress(CouldNotVerify, UsageError):  # then nothing shows that the place is here
            location = recorded(run_id)
            found = storage_identity(location, connection.tracking_uri) if location else None
            if found is not None and found.is_directory:
                yield found.path
