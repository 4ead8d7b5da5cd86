"""Confirm on a real Databricks workspace what was built against a stand-in. Reads only; prints no name and no secret.

    python deployments/confirm_databricks.py databricks://PROFILE
    python deployments/confirm_databricks.py databricks-uc://PROFILE --model catalog.schema.model

One version is listed and read. What is printed is what we need to know: please report it as it is.
"""

import argparse
import re
import sys
import time
from importlib.metadata import version

from registry_audit.errors import AuditError, UsageError
from registry_audit.model.listing import Limits
from registry_audit.registry.connection import Connection, Server, connect
from registry_audit.registry.resolve import Location, resolve_version
from registry_audit.registry.runs import Runs
from registry_audit.registry.versions import list_versions
from registry_audit.stores.base import Store
from registry_audit.stores.databricks import DatabricksStore
from registry_audit.stores.fallback import FallbackStore
from registry_audit.stores.store_for_location import open_store


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("registry", help="databricks://PROFILE or databricks-uc://PROFILE")
    parser.add_argument("--model", help="a model with few and small versions; without it the first that is listed")
    arguments = parser.parse_args()
    _hide(arguments.model)
    try:
        _confirm(arguments.registry, arguments.model)
    except AuditError as error:
        _say("it ended with", f"{type(error).__name__}: {error.message}")
        return error.exit_status
    return 0


def _confirm(uri: str, model: str | None) -> None:
    connection = connect(Server(uri))
    for package in ("mlflow-registry-audit", "mlflow", "databricks-sdk"):
        _say(package, version(package))
    services = connection.databricks
    if services is None:
        raise UsageError("this is no address of Databricks: give databricks://PROFILE or databricks-uc://PROFILE")
    _say("the workspace tells its id", bool(services.workspace and services.workspace.id))
    _say("the registry is known by its metastore", "metastore" in connection.identity)
    started = time.monotonic()
    versions = list_versions(connection, f"name='{model}'" if model else None).versions
    _say("versions listed", f"{len(versions)} in {time.monotonic() - started:.1f} s")
    if not len(versions):
        return
    first = versions[0]
    _hide(first.name, first.run_id, first.source.partition(":")[2], *first.aliases)
    _say("a version has", [name for name in ("stage", "aliases", "run_id", "run_workspace") if getattr(first, name)])
    resolved = resolve_version(connection, first, Runs(connection))
    _hide(resolved.reg_model.uri.partition(":")[2])
    known = next((start for start in _KNOWN_SOURCES if first.source.startswith(start)), None)
    _say("the source begins with", known or first.source.partition(":")[0] + ":")
    _say("the registry's copy is at", resolved.reg_model.uri.partition(":")[0])
    _say("the run is", resolved.run.value)
    for role, location in (("run model", resolved.run_model), ("registry model", resolved.reg_model)):
        _look_at(role, location, connection)
    if services.workspace is not None:
        _say("the Files API answers with files itself", services.workspace.answers_with_files)


def _look_at(role: str, location: Location, connection: Connection) -> None:
    if location.unknown or location.lost:
        _say(f"{role}: it cannot be found", location.unknown or location.message)
        return
    store = open_store(connection, location)
    tried = set[str]()
    for way in store.ways if isinstance(store, FallbackStore) else (lambda: store,):
        try:
            one = way()
            if (route := _route(one)) not in tried:
                tried.add(route)
                _say(f"{role}: is read by", route)
                _read(role, one)
        except AuditError as error:
            _say(f"{role}: it ended with", f"{type(error).__name__}: {error.message}")


def _route(store: Store) -> str:
    return type(store.route if isinstance(store, DatabricksStore) else store).__name__


def _read(role: str, store: Store) -> None:
    listing = store.listing(Limits())
    _say(f"{role}: files", len(listing.files))
    _say(f"{role}: files without a size", sum(file.size is None for file in listing.files))
    _say(f"{role}: files without a time or ETag", sum(not file.change_token for file in listing.files))
    _say(f"{role}: problems of the listing", [problem.rule for problem in listing.problems])
    smallest = min(listing.files, key=lambda file: file.size or 0, default=None)
    if smallest is not None:
        count = sum(len(chunk) for chunk in store.read(smallest))
        _say(f"{role}: the smallest file came whole", smallest.size in (None, count))


_KNOWN_SOURCES = ("dbfs:/databricks/mlflow-tracking/", "dbfs:/Volumes/", "dbfs:/databricks/", "/Volumes/", "models:/m-")
_hidden: list[str] = []


def _hide(*names: str | None) -> None:
    """Print none of these from now on, nor what they are made of."""
    for name in filter(None, names):
        parts = [part for part in re.split(r"[/:@]", name) if len(part) > 7]
        _hidden.extend((name, name.replace(".", "/"), *parts))
    _hidden.sort(key=len, reverse=True)


def _say(what: str, value: object) -> None:
    line = f"{what}: {value}"
    for text in _hidden:
        line = line.replace(text, "...")
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
