"""From a registered version to the root storage of its two copies, with no download.

`models:/` and `runs:/` chains are followed here, on the right server; MLflow's own resolution asks the
process-wide one (docs/mlflow.md section 0, trap 2). Names are never put into a `models:/` URI: MLflow
cannot carry every legal name in one.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from registry_audit.errors import CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.connection import Connection
from registry_audit.registry.downloads import DownloadUris
from registry_audit.registry.runs import Runs, RunState
from registry_audit.registry.storage import comparable, storage_identity
from registry_audit.registry.translate import translated
from registry_audit.registry.version import RegisteredVersion
from registry_audit.verdict import Storage

_MAX_CHAIN = 20
_LOGGED_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


class Lost(StrEnum):
    """What a location leads to that is not there."""

    VERSION = "version"
    RUN = "run"
    LOGGED_MODEL = "logged model"
    NOWHERE = "nowhere"  # no source at all


@dataclass(frozen=True, slots=True)
class Location:
    """Where one copy lies. Exactly one of `roots`, `lost` and `unknown` says something."""

    uri: str  # as the registry records it
    roots: tuple[str, ...] = ()  # root storages; of several, a later one hides the same path in an earlier one
    identity: str | None = None  # equal for two spellings of one storage
    through_version: bool = False  # the chain passed another registered version, which can be replaced
    lost: Lost | None = None
    unknown: str | None = None  # why it could not be resolved
    message: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    version: RegisteredVersion
    run_model: Location
    reg_model: Location
    storage: Storage
    run: RunState
    problems: tuple[Problem, ...] = ()


def resolve_version(
    connection: Connection, version: RegisteredVersion, runs: Runs, downloads: DownloadUris | None = None
) -> ResolvedVersion:
    """Both locations of a version. What is gone or denied is part of the answer, not an exception.

    Raises:
        Transient: the server does not answer as it should; worth another try.
        UsageError: the server refuses the credentials.
    """
    run_model = _locate(connection, version.source, runs)
    try:
        download_uri = (downloads or DownloadUris(connection)).get(version.name, version.version)
    except NotFound as error:
        reg_model = Location("", lost=Lost.VERSION, message=error.message)
    except Transient:
        raise
    except (CouldNotVerify, UsageError) as error:
        reg_model = Location("", unknown=error.message)
    else:
        reg_model = _locate_registry_model(connection, version, download_uri, runs)
    run, problems = RunState.NONE, list[Problem]()
    if version.run_id:
        try:
            run = runs.state(version.run_id)
        except Transient:
            raise
        except (CouldNotVerify, UsageError) as error:
            problems.append(Problem("RA009", error.message))
    return ResolvedVersion(version, run_model, reg_model, _storage(run_model, reg_model), run, tuple(problems))


def _locate_registry_model(
    connection: Connection, version: RegisteredVersion, download_uri: str, runs: Runs
) -> Location:
    if connection.is_uc or connection.is_databricks:
        # Only the registry-aware repository holds the short-lived credentials for the managed storage.
        root = f"models:/{version.name}/{version.version}"
        # Two workspaces may hold the same names.
        return Location(download_uri, (root,), f"{redact(connection.registry_uri)} {root}")
    return _locate(connection, download_uri, runs)


def _locate(connection: Connection, uri: str, runs: Runs) -> Location:
    try:
        return _follow(connection, uri, runs)
    except Transient:
        raise
    except (CouldNotVerify, UsageError) as error:
        return Location(uri, unknown=error.message)


def _follow(connection: Connection, uri: str, runs: Runs) -> Location:
    current, seen, through_version = uri, set[str](), False
    while True:
        if not current:
            return Location(uri, lost=Lost.NOWHERE, message="the registry records no location")
        if current in seen or len(seen) >= _MAX_CHAIN:
            raise CouldNotVerify(f"the location {_shown(uri)} leads in a circle or through over {_MAX_CHAIN} others")
        seen.add(current)
        scheme = current.split(":", 1)[0].lower()
        if scheme == "models":
            through_version |= not _is_logged_model(current)
            try:
                current = _next_of_model(connection, current)
            except NotFound:
                lost = Lost.LOGGED_MODEL if _is_logged_model(current) else Lost.VERSION
                message = f"{_shown(current)} no longer exists"
                return Location(uri, lost=lost, through_version=through_version, message=message)
        elif scheme == "runs":
            try:
                roots = runs.artifact_roots(*_split_runs(current))
            except NotFound:
                return Location(uri, lost=Lost.RUN, message=f"{_shown(current)} no longer exists")
            return _located(connection, uri, roots, through_version)
        else:
            return _located(connection, uri, (current,), through_version)


def _located(connection: Connection, uri: str, roots: tuple[str, ...], through_version: bool) -> Location:
    identity = " + ".join(storage_identity(root, connection.tracking_uri) for root in roots)
    return Location(uri, roots, identity, through_version)


def _next_of_model(connection: Connection, uri: str) -> str:
    """One step along `models:/m-ID`, `models:/NAME/VERSION` or `models:/NAME@ALIAS`."""
    path = uri.split(":", 1)[1].lstrip("/")
    if _is_logged_model(uri):
        model_id, _, inside = path.partition("/")
        with translated(f"find the LoggedModel {printable(model_id)}"):
            location = str(connection.client.get_logged_model(model_id).artifact_location)
        return f"{location.rstrip('/')}/{inside}" if inside else location
    name, slash, version = path.rpartition("/")
    if not slash:
        name, _, alias = path.rpartition("@")
        with translated(f"find alias '{printable(alias)}' of model '{printable(name)}'"):
            version = connection.client.get_model_version_by_alias(unquote(name), alias).version
    name = unquote(name)
    with translated(f"find version {printable(str(version))} of model '{printable(name)}'"):
        return str(connection.registry.get_model_version_download_uri(name, version) or "")


def _is_logged_model(uri: str) -> bool:
    """`models:/m-<32 hex>`; a registered model is always followed by a version or an alias."""
    head, slash, _ = uri.split(":", 1)[1].lstrip("/").partition("/")
    return "@" not in head and (not slash or _LOGGED_MODEL_ID.fullmatch(head) is not None)


def _split_runs(uri: str) -> tuple[str, str]:
    run_id, _, path = uri.split(":", 1)[1].lstrip("/").partition("/")
    return run_id, path


def _storage(run_model: Location, reg_model: Location) -> Storage:
    if run_model.identity is None or reg_model.identity is None:
        return Storage.UNKNOWN
    if run_model.identity == reg_model.identity:
        return Storage.SHARED
    return Storage.SEPARATE if comparable(run_model.identity, reg_model.identity) else Storage.UNKNOWN


def _shown(uri: str) -> str:
    return printable(redact(uri))
