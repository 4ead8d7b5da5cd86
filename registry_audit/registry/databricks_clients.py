"""Makes the clients of a connection with Databricks or Unity Catalog as tracking server, registry, or both."""

from threading import Lock
from typing import Any

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.net.http import HttpSession
from registry_audit.refs import has_three_levels
from registry_audit.registry.address import Address, AddressKind, parse_address, server_in
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.unity_catalog import OpenSource, UnityRegistry, databricks_unity_catalog
from registry_audit.registry.workspace import Workspace, WorkspaceRegistry, profile_of

Service = WorkspaceRegistry | UnityRegistry

_OF_TRACKING = frozenset(
    {
        "get_run",
        "get_experiment",
        "get_logged_model",
        "search_runs",
        "search_experiments",
        "search_logged_models",
    }
)


class Databricks:
    """Holds the Databricks or Unity Catalog services of a connection."""

    def __init__(self, workspace: Workspace | None, registry: Service | None) -> None:
        """
        Args:
            workspace: the workspace of the runs; None if they are in an MLflow server.
            registry: None if the registry is an MLflow server's.
        """
        self.workspace, self.registry = workspace, registry
        self._other: Service | None = None
        self._lock = Lock()

    def registry_of(self, name: str) -> Service:
        """Return the registry that a `models:/` location of this name means. A version may be copied from elsewhere.

        Raises: CouldNotVerify: the workspace does not say whether its own registry holds a model of this name.
        """
        own, in_catalog = self.registry, has_three_levels(name)
        assert own is not None
        if isinstance(own, WorkspaceRegistry):
            is_own = not in_catalog or own.holds(name)
        else:
            is_own = in_catalog or self.workspace is None
        return own if is_own else self._beside(own)

    def registry_at(self, identity: str) -> Service:
        """Return the registry that holds a copy of a version. Raises: CouldNotVerify: no given profile leads to it."""
        own = self.registry
        assert own is not None
        if own.identity == identity:
            return own
        if isinstance(own, WorkspaceRegistry) or self.workspace is not None:
            other = self._beside(own)
            if other.identity == identity:
                return other
        raise CouldNotVerify(f"the registry {identity} cannot be reached through this address")

    def _beside(self, own: Service) -> Service:
        with self._lock:
            if self._other is None:
                self._other = self._opened_beside(own)
            return self._other

    def _opened_beside(self, own: Service) -> Service:
        if isinstance(own, WorkspaceRegistry):
            return databricks_unity_catalog(own.workspace)
        assert self.workspace is not None
        return WorkspaceRegistry(self.workspace)

    def workspace_of(self, storage: StorageIdentity) -> Workspace | None:
        """Return the workspace that a path of DBFS is in; None if no profile given here leads to it."""
        registered = self.registry.workspace if isinstance(self.registry, WorkspaceRegistry) else None
        known = (self.workspace, registered)
        return next((found for found in known if found is not None and found.identity == storage.endpoint), None)


class Joined:
    """Joins two clients into one for an audit: runs come from one service, registered models from another."""

    def __init__(self, tracking: Any, registry: Any) -> None:
        self._tracking, self._registry = tracking, registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracking if name in _OF_TRACKING else self._registry, name)


def addresses(tracking_uri: str, registry_uri: str | None) -> tuple[Address, Address]:
    """Parse the address of the runs, and the address of the registered models.

    `databricks://P` alone is the workspace's own registry, and `databricks-uc://P` alone is Unity Catalog with the runs
    of the same workspace.

    Raises:
        UsageError: an address cannot be opened.
    """
    tracking = parse_address(tracking_uri)
    registry = parse_address(registry_uri or tracking_uri)
    if tracking.kind is AddressKind.UNITY_CATALOG:
        if not tracking_uri.strip().lower().startswith("databricks-uc"):
            raise UsageError(
                f"{tracking.shown} is a registry and holds no runs: give it as --registry-uri, and as --tracking-uri "
                "the MLflow server that its runs are in"
            )
        tracking = parse_address("databricks" + tracking_uri.strip()[len("databricks-uc") :])
    return tracking, registry


def databricks_of(
    tracking: Address,
    registry: Address,
    http: HttpSession,
    token: str | None,
    user: tuple[str, str] | None = None,
    *,
    by_itself: bool = False,
) -> Databricks:
    """Sign in to the services that need it, once for each profile.

    Args:
        token: replaces a profile's token, and the environment's one for the open-source Unity Catalog.
        user: name and password for the open-source Unity Catalog.
        by_itself: whether the environment's token is for another Unity Catalog server.

    Raises:
        UsageError: there are no credentials, or they are refused.
        Transient: a workspace does not answer.
    """
    known: dict[str | None, Workspace] = {}

    def workspace(address: Address) -> Workspace:
        profile = profile_of(address.uri)
        if profile not in known:
            known[profile] = Workspace(profile, http, token)
        return known[profile]

    runs = workspace(tracking) if tracking.kind is AddressKind.DATABRICKS else None
    service: Service | None = None
    if registry.kind is AddressKind.DATABRICKS:
        service = WorkspaceRegistry(workspace(registry))
    elif registry.kind is AddressKind.UNITY_CATALOG and registry.uri.strip().lower().startswith("databricks-uc"):
        service = databricks_unity_catalog(workspace(registry))
    elif registry.kind is AddressKind.UNITY_CATALOG:
        server = parse_address(server_in(registry.uri))
        if server.kind is not AddressKind.SERVER:
            raise UsageError(f"{registry.shown} names no server: write uc:http://HOST:PORT")
        service = OpenSource(server.uri, registry.identity, http, token, user, by_itself=by_itself)
    return Databricks(runs, service)
