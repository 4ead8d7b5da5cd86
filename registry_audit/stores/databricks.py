"""Models in a Databricks workspace or behind Unity Catalog, streamed: nothing touches the disk.

One model may be reached in several ways, of which a workspace may refuse some: each is a route, and they are tried in
the order of their cost. The last route has the last word: only what that one does not find either is gone.
"""

import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from registry_audit.errors import CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection
from registry_audit.registry.databricks import WorkspaceRegistry, text_of
from registry_audit.registry.memory import Where
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.registry.unity_catalog import UnityRegistry
from registry_audit.registry.workspace import Workspace
from registry_audit.stores.base import Chunks, Store, whole_body
from registry_audit.stores.bounded import Child, only_root, walk
from registry_audit.stores.databricks_routes import (
    DbfsRoute,
    FilesRoute,
    LoggedModelRoute,
    Route,
    RunRoute,
    VersionRoute,
)

_YOUNG_MS = 60_000  # clocks differ, and an overwrite soon after another may show the same time


class DatabricksStore:
    directory: Path | None = None

    def __init__(self, routes: tuple[Route, ...], identity: StorageIdentity, transfers: Transfers) -> None:
        self.transfers, self.identity = transfers, identity
        self._routes, self._chosen = routes, threading.Lock()
        self._route: Route | None = None

    @property
    def way(self) -> str:
        """The route that was taken, in words for a person; empty before the first listing."""
        return type(self._route).__name__.removesuffix("Route") if self._route is not None else ""

    def root_listing(self) -> Listing:
        return only_root(self._children)

    def listing(self, limits: Limits) -> Listing:
        now = time.time() * 1000
        listing = walk(self._children, limits, cannot_carry=_cannot_carry, transfers=self.transfers)
        settled = all(not file.marker or now - int(file.marker) > _YOUNG_MS for file in listing.files)
        return replace(listing, settled=settled)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        if self._route is None:
            self._children("")
        assert self._route is not None
        size = 0
        with self._route.body(file) as answer:
            for chunk in whole_body(answer.chunks(where), file.path):
                size += len(chunk)
                yield chunk
        if file.size is None and size == 0:
            raise CouldNotVerify(
                f"'{printable(file.path)}' came without a byte, and no listing says how many there should be"
            )

    def _children(self, directory: str) -> list[Child]:
        if directory:
            assert self._route is not None
            return self._route.children(directory)
        with self._chosen:
            routes = self._routes if self._route is None else (self._route,)
            for route in routes:
                self._route, last = route, route is routes[-1]
                try:
                    found = route.children("")
                except NotFound:
                    found = []
                except Transient:
                    self._route = None
                    raise
                except (CouldNotVerify, UsageError):
                    if last:
                        raise
                    continue
                if found or last:
                    return found
        raise AssertionError("a store without a route")


def databricks_store(connection: Connection, root: str, identity: StorageIdentity) -> Store | None:
    """The store for a root that only Databricks or Unity Catalog can read; None for all others.

    Raises:
        CouldNotVerify: it is one of theirs, and there is no way to it.
    """
    services = connection.databricks
    if root.startswith("models:/") and services is not None and services.registry is not None:
        name, _, version = root.removeprefix("models:/").rpartition("/")
        if isinstance(services.registry, WorkspaceRegistry):
            routes: tuple[Route, ...] = (VersionRoute(services.registry.rest, name, version),)
            return DatabricksStore(routes, identity, connection.transfers)
        return _of_unity_catalog(connection, services.registry, name, version, identity)
    scheme = urlsplit(root).scheme
    if scheme == "dbfs":
        if services is None or services.workspace is None:
            raise CouldNotVerify("dbfs: storage can only be read through a databricks tracking URI")
        return DatabricksStore(_routes(services.workspace, f"/{identity.path}"), identity, connection.transfers)
    if scheme == "" and root.startswith("/Volumes/") and services is not None and services.workspace is not None:
        path = root.rstrip("/")
        place = StorageIdentity("dbfs", services.workspace.identity, "", path.lstrip("/"))
        return DatabricksStore((FilesRoute(services.workspace, path),), place, connection.transfers)
    return None


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


def _internal(place: str, inside: list[str]) -> str:
    return "/".join(("/WorkspaceInternal/Mlflow/Artifacts", place, *inside))


def _of_unity_catalog(
    connection: Connection, registry: UnityRegistry, name: str, version: str, identity: StorageIdentity
) -> Store:
    """By the Files API where Unity Catalog offers it; else with the credentials that it lends for one version.

    MLflow asks the same questions, and emits a lineage event besides: an audit is no use of a model, and does not.
    """
    files = FilesRoute(registry.rest, f"/Models/{name.replace('.', '/')}/{version}")
    if isinstance(registry.rest, Workspace) and registry.reads_through_files:
        return DatabricksStore((files,), identity, connection.transfers)
    lent = registry.temporary_credentials(name, version)
    if text_of(lent, "storage_mode") == "DEFAULT_STORAGE":
        return DatabricksStore((files,), identity, connection.transfers)
    from registry_audit.stores.lent import lent_store

    return lent_store(registry.get_model_version_download_uri(name, version), lent, connection.transfers)


def _cannot_carry(path: str) -> str | None:
    return None if path.isprintable() else "holds a control character, which no URL carries exactly"
