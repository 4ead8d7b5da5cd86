"""Reads models of a Databricks workspace or of Unity Catalog as streams, without using the disk."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from registry_audit.errors import CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.listing import Limits, ListedFile, Listing
from registry_audit.net.origin import urlsplit
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.connection import Connection
from registry_audit.registry.mlflow_api import number_of, text_of
from registry_audit.registry.storage import AZURE, S3, StorageIdentity, is_sent_elsewhere, storage_identity
from registry_audit.registry.unity_catalog import UnityRegistry
from registry_audit.registry.workspace import Workspace, WorkspaceRegistry
from registry_audit.stores.azure import azure_with_sas
from registry_audit.stores.base import Child, Chunks, NotSeen, Store, only_root, walk, whole_body
from registry_audit.stores.databricks_routes import (
    DbfsRoute,
    FilesRoute,
    LoggedModelRoute,
    Route,
    RunRoute,
    VersionRoute,
)
from registry_audit.stores.fallback import FallbackStore
from registry_audit.stores.gcs import gcs_with_token
from registry_audit.stores.objects import Bucket, ObjectStore, Page
from registry_audit.stores.s3 import Keys, s3_environment_with_keys, s3_with_keys

_YOUNG_MS = 60_000  # clocks differ, and an overwrite soon after another may show the same time


class DatabricksStore:
    """Lists and reads a model by one route."""

    directory: Path | None = None

    def __init__(
        self, route: Route, identity: StorageIdentity, transfers: Transfers, place: Route | None = None
    ) -> None:
        """
        Args:
            place: what a missing model belongs to, if that may itself be missing: a Volume, a mounted bucket.
        """
        self.transfers, self.identity, self.route = transfers, identity, route
        self._place, self._tells_sizes = place, False

    def root_listing(self) -> Listing:
        return self._sized(only_root(self._children))

    def listing(self, limits: Limits) -> Listing:
        now = time.time() * 1000
        listing = self._sized(walk(self._children, limits, cannot_carry=_cannot_carry, transfers=self.transfers))
        settled = all(not file.change_token or now - int(file.change_token) > _YOUNG_MS for file in listing.files)
        return replace(listing, settled=settled)

    def _sized(self, listing: Listing) -> Listing:
        """Set missing sizes to 0 if the service leaves out zeros, unless no file has a size at all."""
        self._tells_sizes = any(file.size is not None for file in listing.files)
        if not self._tells_sizes or not self.route.leaves_out_zeros:
            return listing
        return replace(listing, files=tuple(replace(f, size=0) if f.size is None else f for f in listing.files))

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        size = 0
        with self.route.body(file) as answer:
            for chunk in whole_body(answer.chunks(), file.path):
                size += len(chunk)
                yield chunk
        if file.size is None and size == 0 and not self._tells_sizes:
            raise CouldNotVerify(
                f"'{printable(file.path)}' came without a byte, and no listing says how many there should be"
            )

    def _children(self, directory: str) -> list[Child]:
        try:
            return self.route.children(directory)
        except NotFound:
            if directory:
                raise
            self._must_see_place()
            return []

    def _must_see_place(self) -> None:
        """Check that the place of a missing model is seen. Raises: NotSeen: it is missing or hidden. CouldNotVerify."""
        try:
            if self._place is not None:
                self._place.children("")
        except NotFound as error:
            raise NotSeen(f"{error.message}: it is not there, or this account may not see it") from error


def databricks_store(connection: Connection, root: str, identity: StorageIdentity) -> Store | None:
    """Return the store for a root that only Databricks or Unity Catalog can read; None for all others.

    Raises:
        CouldNotVerify: the root is one of theirs, and nothing configured can read it.
    """
    services, transfers = connection.databricks, connection.transfers
    if root.startswith("models:/") and services is not None and services.registry is not None:
        name, _, version = root.removeprefix("models:/").rpartition("/")
        registry = services.registry_at(identity.endpoint)
        if isinstance(registry, WorkspaceRegistry):
            return DatabricksStore(VersionRoute(registry.rest, name, version), identity, transfers)
        return _of_unity_catalog(registry, name, version, identity, transfers)
    if urlsplit(root).scheme == "dbfs":
        workspace = services.workspace_of(identity) if services is not None else None
        if workspace is None:
            raise CouldNotVerify("dbfs: storage can only be read through a databricks tracking URI")
        path = f"/{identity.path}"
        place = _place(workspace, path)
        ways = [DatabricksStore(route, identity, transfers, place) for route in _routes(workspace, path)]
        return (
            ways[0] if len(ways) == 1 else FallbackStore([partial(_itself, way) for way in ways], identity, transfers)
        )
    return None


def _itself(store: DatabricksStore) -> Store:
    return store


def _routes(workspace: Workspace, path: str) -> tuple[Route, ...]:
    """Return the routes for a path of DBFS: a Volume, the artifacts of a run or a LoggedModel, or any other directory.

    Source: mlflow.store.artifact.dbfs_artifact_repo.dbfs_artifact_repo_factory, databricks_sdk_artifact_repo.
    """
    if path.startswith("/Volumes/"):
        return (FilesRoute(workspace, path),)
    match path.strip("/").split("/"):
        case ["databricks", "mlflow-tracking", experiment, "logged_models", model_id, "artifacts", *inside]:
            place = f"{experiment}/LoggedModels/{model_id}/artifacts"
            return FilesRoute(workspace, _internal(place, inside)), LoggedModelRoute(
                workspace, model_id, "/".join(inside)
            )
        case ["databricks", "mlflow-tracking", experiment, run_id, "artifacts", *inside]:
            place = f"{experiment}/Runs/{run_id}/artifacts"
            return FilesRoute(workspace, _internal(place, inside)), RunRoute(workspace, run_id, "/".join(inside))
        case _:
            return (DbfsRoute(workspace, path),)


def _place(workspace: Workspace, path: str) -> Route | None:
    """Return the Volume or the mounted bucket that a path leads into; None for the rest of DBFS."""
    match path.split("/"):
        case ["", "Volumes", catalog, schema, volume, *_]:
            return FilesRoute(workspace, f"/Volumes/{catalog}/{schema}/{volume}")
        case ["", "mnt", mount, *_]:
            return DbfsRoute(workspace, f"/mnt/{mount}")
        case _:
            return None


def _internal(place: str, inside: list[str]) -> str:
    return "/".join(("/WorkspaceInternal/Mlflow/Artifacts", place, *inside))


def _of_unity_catalog(
    registry: UnityRegistry, name: str, version: str, identity: StorageIdentity, transfers: Transfers
) -> Store:
    """Read through the Files API if Unity Catalog offers it; else with the credentials that it lends for one version.

    MLflow makes the same requests, and also emits a lineage event: an audit is no use of a model, and emits none. If
    nothing is found, both requests are repeated before the model is reported as gone.
    """
    files = DatabricksStore(
        FilesRoute(registry.rest, f"/Models/{name.replace('.', '/')}/{version}"), identity, transfers
    )
    in_databricks = isinstance(registry.rest, Workspace)
    ask = partial(registry.temporary_credentials, name, version)

    def first() -> Store:
        return files if in_databricks and registry.reads_through_files() else with_credentials()

    def again() -> Store:
        return files if in_databricks and registry.reads_through_files(ask_again=True) else with_credentials()

    def with_credentials() -> Store:
        lent = ask()
        if text_of(lent, "storage_mode") == "DEFAULT_STORAGE":
            return files
        location = registry.get_model_version_download_uri(name, version)
        return lent_store(location, lent, ask, transfers, is_open_source=not in_databricks)

    ways: list[Callable[[], Store]] = [first, again]
    return FallbackStore(ways, identity, transfers)


def _cannot_carry(path: str) -> str | None:
    return None if path.isprintable() else "holds a control character, which no URL carries exactly"


Ask = Callable[[], Mapping[str, Any]]

_GCS, _R2 = "gs", "r2"

_RENEWED_BEFORE_SECONDS = 300.0
_UNSAID_SECONDS = 1_800.0  # validity of credentials that come without an expiration time
_YOUNG_SECONDS = 60.0  # refused credentials younger than this are not renewed


# Buckets that Unity Catalog lends credentials for: for one version, to read, for about an hour. The credentials go to
# the storage that Unity Catalog names, at its address in its own cloud. Endpoints and credentials in the environment
# are for other storage.


class LentStore(ObjectStore):
    """Reads objects with lent credentials, which are renewed before they expire, or when they are refused."""

    def __init__(self, loan: "Loan", identity: StorageIdentity, transfers: Transfers) -> None:
        super().__init__(loan.bucket(), identity, transfers)
        self._loan = loan

    def _opened(self) -> Bucket:
        return self._loan.bucket()

    def _page(self, token: str | None, *, directly: bool) -> Page:
        with self._loan.renewed_if_refused():
            return super()._page(token, directly=directly)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        with self._loan.renewed_if_refused():
            yield from super().read(file, where)


class Loan:
    """Opens one bucket with the current credentials; safe to share between threads."""

    def __init__(self, lent: Mapping[str, Any], ask: Ask, open_with: Callable[[Mapping[str, Any]], Bucket]) -> None:
        """
        Args:
            lent: the first credentials, as Unity Catalog answers.
            ask: requests the next credentials.
        """
        self._ask, self._open_with = ask, open_with
        self._lock = threading.Lock()
        self._take(lent)

    def bucket(self) -> Bucket:
        """Return the bucket, with renewed credentials if need be. Raises: AuditError: they cannot be renewed."""
        with self._lock:
            if time.time() >= self._renewed_at:
                self._take(self._ask())
            return self._bucket

    @contextlib.contextmanager
    def renewed_if_refused(self) -> Iterator[None]:
        """Renew the credentials before the next request if the storage refused them. Raises: Transient: try again."""
        used = self._bucket
        try:
            yield
        except (Transient, NotFound):
            raise
        except (CouldNotVerify, UsageError) as error:
            with self._lock:
                if self._bucket is used:  # no other thread has renewed them meanwhile
                    if time.time() < self._lent_at + _YOUNG_SECONDS:
                        raise
                    self._renewed_at = 0.0
            raise Transient(error.message) from error

    def _take(self, lent: Mapping[str, Any]) -> None:
        now = time.time()
        ends_ms = number_of(lent, "expiration_time")
        seconds = _UNSAID_SECONDS if ends_ms is None else ends_ms / 1_000 - now
        self._bucket, self._lent_at = self._open_with(lent), now
        self._renewed_at = now + seconds - min(_RENEWED_BEFORE_SECONDS, seconds / 4)


def lent_store(
    location: str, lent: Mapping[str, Any], ask: Ask, transfers: Transfers, *, is_open_source: bool
) -> LentStore:
    """Return the store of a version's files.

    Args:
        location: where Unity Catalog keeps them.
        lent: its response to the request for credentials.
        ask: repeats that request.
        is_open_source: whether S3 may be any service with its protocol: then the environment names the endpoint.

    Raises:
        UsageError: a package is not installed.
        CouldNotVerify: there is no such storage, or such credentials cannot be used for it.
    """
    identity = storage_identity(location, "")
    if is_sent_elsewhere(identity):
        raise CouldNotVerify(f"the location {printable(redact_location(location))} names no storage of a known cloud")

    def open_with(given: Mapping[str, Any]) -> Bucket:
        return _opened(identity, given, is_open_source=is_open_source)

    return LentStore(Loan(lent, ask, open_with), identity, transfers)


def _opened(identity: StorageIdentity, lent: Mapping[str, Any], *, is_open_source: bool) -> Bucket:
    """Open a bucket. Source: mlflow.store._unity_catalog.registry.utils.get_artifact_repo_from_storage_info."""
    if identity.kind == S3:
        keys = _keys(_part(lent, "aws_temp_credentials", identity))
        access = s3_environment_with_keys(keys) if is_open_source else s3_with_keys(keys)
        return access.bucket(identity.container)
    if identity.kind == _R2:
        keys = _keys(_part(lent, "r2_temp_credentials", identity))
        return s3_with_keys(keys, f"https://{identity.endpoint}").bucket(identity.container)
    if identity.kind == AZURE:
        sas = text_of(_part(lent, "azure_user_delegation_sas", identity), "sas_token")
        return azure_with_sas(identity.endpoint, _given(sas)).bucket(identity.container)
    if identity.kind == _GCS:
        token = text_of(_part(lent, "gcp_oauth_token", identity), "oauth_token")
        return gcs_with_token(_given(token)).bucket(identity.container)
    raise CouldNotVerify(f"Unity Catalog keeps the model in {printable(identity.shown)}, which no cloud here reads")


def _part(lent: Mapping[str, Any], key: str, identity: StorageIdentity) -> Mapping[str, Any]:
    found = lent.get(key)
    if isinstance(found, dict):
        return found
    kinds = ", ".join(sorted(printable(name) for name in lent if name.endswith(("credentials", "sas", "token"))))
    raise CouldNotVerify(
        f"Unity Catalog lends credentials ({kinds or 'none'}) that do not fit its storage "
        f"{printable(identity.shown)}, which wants {key}"
    )


def _keys(part: Mapping[str, Any]) -> Keys:
    key, secret = text_of(part, "access_key_id"), text_of(part, "secret_access_key")
    return Keys(_given(key), _given(secret), text_of(part, "session_token") or None)


def _given(secret: str) -> str:
    if not secret:
        raise CouldNotVerify("Unity Catalog lends credentials that hold no key")
    return secret
