"""The clients of a connection where Databricks or Unity Catalog is on one of its two sides, or on both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from registry_audit.errors import UsageError
from registry_audit.registry.address import Address, AddressKind, parse_address
from registry_audit.registry.databricks import Tracking, WorkspaceRegistry
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.unity_catalog import OpenSource, UnityRegistry, databricks_unity_catalog
from registry_audit.registry.workspace import Workspace, profile_of

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


@dataclass(frozen=True, slots=True)
class Databricks:
    """What of a connection is Databricks or Unity Catalog."""

    workspace: Workspace | None  # that the runs are in
    registry: Service | None


class Joined:
    """What an audit asks of MLflow's client: runs of one service, registered models of the other."""

    def __init__(self, tracking: Any, registry: Any) -> None:
        self._tracking, self._registry = tracking, registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracking if name in _OF_TRACKING else self._registry, name)


def addresses(tracking_uri: str, registry_uri: str | None) -> tuple[Address, Address]:
    """Where the runs are, and where the registered models are.

    `databricks://P` alone is the workspace's own registry, and `databricks-uc://P` alone Unity Catalog with the runs of
    the same workspace.

    Raises:
        UsageError: an address that nobody can open.
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


def databricks_of(tracking: Address, registry: Address, manners: Politeness, token: str | None) -> Databricks:
    """Sign in where it is needed: once for each profile.

    Raises:
        UsageError: there are no credentials, or they are refused.
        Transient: a workspace does not answer.
    """
    known: dict[str | None, Workspace] = {}

    def workspace(address: Address) -> Workspace:
        profile = profile_of(address.uri)
        if profile not in known:
            known[profile] = Workspace(profile, manners, token)
        return known[profile]

    runs = workspace(tracking) if tracking.kind is AddressKind.DATABRICKS else None
    service: Service | None = None
    if registry.kind is AddressKind.DATABRICKS:
        service = WorkspaceRegistry(workspace(registry))
    elif registry.kind is AddressKind.UNITY_CATALOG and registry.uri.strip().lower().startswith("databricks-uc"):
        service = databricks_unity_catalog(workspace(registry))
    elif registry.kind is AddressKind.UNITY_CATALOG:
        host = registry.uri.strip().partition(":")[2].removeprefix("//")
        server = parse_address(host)
        if server.kind is not AddressKind.SERVER:
            raise UsageError(f"{registry.shown} names no server: write uc:http://HOST:PORT")
        service = OpenSource(server.uri, registry.identity, manners)
    return Databricks(runs, service)


def client_of(databricks: Databricks, of_mlflow: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The client, and the registry's store, as a `Connection` holds them.

    Args:
        of_mlflow: MLflow's own client and store; asked for only where a side is not Databricks.
    """
    needs_mlflow = databricks.workspace is None or databricks.registry is None
    client, store = of_mlflow() if needs_mlflow else (None, None)
    tracking = client if databricks.workspace is None else Tracking(databricks.workspace)
    registered = databricks.registry
    return Joined(tracking, client if registered is None else registered), store if registered is None else registered
