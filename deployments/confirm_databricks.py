"""Confirm on a real Databricks workspace what was built against a stand-in. Reads only; prints no name and no secret.

    python deployments/confirm_databricks.py databricks://PROFILE
    python deployments/confirm_databricks.py databricks-uc://PROFILE --model catalog.schema.model

One version is listed and read. What is printed is what we need to know: please report it as it is.
"""

import argparse
import sys
import time

from registry_audit.errors import AuditError
from registry_audit.model.limits import Limits
from registry_audit.registry.connection import Server, connect
from registry_audit.registry.resolve import Location, resolve_version
from registry_audit.registry.runs import Runs
from registry_audit.registry.versions import list_versions
from registry_audit.stores.databricks import DatabricksStore
from registry_audit.stores.opening import open_store


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("registry", help="databricks://PROFILE or databricks-uc://PROFILE")
    parser.add_argument("--model", help="a model with few and small versions; without it the first that is listed")
    arguments = parser.parse_args()
    try:
        _confirm(arguments.registry, arguments.model)
    except AuditError as error:
        _say("it ended with", f"{type(error).__name__}: {error.message}")
        return error.exit_status
    return 0


def _confirm(uri: str, model: str | None) -> None:
    connection = connect(Server(uri))
    services = connection.databricks
    assert services is not None, "give databricks://PROFILE or databricks-uc://PROFILE"
    _say("the workspace tells its id", bool(services.workspace and services.workspace.id))
    _say("the registry is known by its metastore", "metastore" in connection.identity)
    started = time.monotonic()
    versions = list_versions(connection, f"name='{model}'" if model else None).versions
    _say("versions listed", f"{len(versions)} in {time.monotonic() - started:.1f} s")
    if not len(versions):
        return
    version = versions[0]
    _say("a version has", [name for name in ("stage", "aliases", "run_id", "run_workspace") if getattr(version, name)])
    resolved = resolve_version(connection, version, Runs(connection))
    _say("the source begins with", version.source[:26])
    _say("the run is", resolved.run.value)
    for role, location in (("run model", resolved.run_model), ("registry model", resolved.reg_model)):
        try:
            _look_at(role, location, connection)
        except AuditError as error:
            _say(f"{role}: it ended with", f"{type(error).__name__}: {error.message}")


def _look_at(role: str, location: Location, connection: object) -> None:
    if location.unknown or location.lost:
        _say(f"{role}: it cannot be found", location.unknown or location.message)
        return
    store = open_store(connection, location)  # type: ignore[arg-type]
    listing = store.listing(Limits())
    _say(f"{role}: read by", store.way if isinstance(store, DatabricksStore) else type(store).__name__)
    _say(f"{role}: files", len(listing.files))
    _say(f"{role}: files without a size", sum(file.size is None for file in listing.files))
    _say(f"{role}: files without a time", sum(not file.marker for file in listing.files))
    _say(f"{role}: problems of the listing", [problem.rule for problem in listing.problems])
    smallest = min(listing.files, key=lambda file: file.size or 0, default=None)
    if smallest is not None:
        count = sum(len(chunk) for chunk in store.read(smallest))
        _say(f"{role}: the smallest file came whole", smallest.size in (None, count))


def _say(what: str, value: object) -> None:
    sys.stdout.write(f"{what}: {value}\n")


if __name__ == "__main__":
    sys.exit(main())
