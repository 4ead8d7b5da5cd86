"""Models in a Databricks workspace or behind Unity Catalog, streamed: nothing touches the disk."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from registry_audit.errors import CouldNotVerify, NotFound
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing
from registry_audit.net.transfers import Transfers, Where
from registry_audit.net.uris import urlsplit
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection
from registry_audit.registry.mlflow_api import text_of
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.unity_catalog import UnityRegistry
from registry_audit.registry.workspace import Workspace, WorkspaceRegistry
from registry_audit.stores.base import Chunks, NotSeen, Store, whole_body
from registry_audit.stores.bounded import Child, only_root, walk
from registry_audit.stores.databricks_routes import (
    DbfsRoute,
    FilesRoute,
    LoggedModelRoute,
    Route,
    RunRoute,
    VersionRoute,
)
from registry_audit.stores.fallback import FallbackStore
from registry_audit.stores.lent_credentials import lent_store

_YOUNG_MS = 60_000  # clocks differ, and an overwrite soon after another may show the same time


class DatabricksStore:
    """A model that is listed and read by one route."""

    directory: Path | None = None

    def __init__(
        self, route: Route, identity: StorageIdentity, transfers: Transfers, place: Route | None = None
    ) -> None:
        """
        Args:
            place: what a missing model belongs into, where that may itself be missing: a Volume, a mounted bucket.
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
        """Some services leave zeros out: a file without a size is an empty one, unless no file has a size at all."""
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
        """Raises: NotSeen: what should hold the model is not there, or may not be seen. CouldNotVerify."""
        try:
            if self._place is not None:
                self._place.children("")
        except NotFound as error:
            raise NotSeen(f"{error.message}: it is not there, or this account may not see it") from error


def databricks_store(connection: Connection, root: str, identity: StorageIdentity) -> Store | None:
    """The store for a root that only Databricks or Unity Catalog can read; None for all others.

    Raises:
        CouldNotVerify: it is one of theirs, and there is no way to it.
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
    """What a path of DBFS is: a Volume, the artifacts of a run or a LoggedModel, or a directory like any other.

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
    """The Volume or the mounted bucket that a path leads into; the rest of DBFS is always there."""
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
    """By the Files API where Unity Catalog offers it; else with the credentials that it lends for one version.

    MLflow asks the same questions, and emits a lineage event besides: an audit is no use of a model, and does not.
    Where nothing is found, both questions are asked again before anybody says that the model is gone.
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
