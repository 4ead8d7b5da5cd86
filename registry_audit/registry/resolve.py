"""Resolves a registered version to the root storage of its two copies, without any download.

`models:/` and `runs:/` chains are followed here, on the right server; MLflow's own resolution asks the process-wide one
(docs/mlflow.md section 0, trap 2). Names are never put into a `models:/` URI: MLflow cannot carry every legal name in
one.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import quote

from registry_audit.errors import CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.listing import Problem
from registry_audit.net.origin import urlsplit
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.refs import has_three_levels
from registry_audit.registry.address import url_problem
from registry_audit.registry.connection import Connection
from registry_audit.registry.mlflow_environment import importing_mlflow
from registry_audit.registry.queries import DownloadUris, RefusedName
from registry_audit.registry.runs import Runs, RunState
from registry_audit.registry.storage import (
    MODELS,
    PROXY,
    NotOnThisMachine,
    StorageIdentity,
    Surroundings,
    UnreadableLocation,
    comparable,
    is_one_for_both_ways,
    storage_identity,
)
from registry_audit.registry.translate import translated
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.workspace import WorkspaceRegistry
from registry_audit.verdict import Storage

_MAX_CHAIN = 20
# Source: mlflow.tracking._model_registry.client and mlflow.store.artifact.utils.models, _upload_artifacts_to_databricks
_PLAIN_RUNS = re.compile(r"runs:/([\w-]+)/([\w.=-]+(?:/[\w.=-]+)*)", re.ASCII)  # as in `runs._below`
_UPLOADED = "dbfs:/databricks/mlflow/tmp-external-source/"
_DIRECTORY_OF_RUN = re.compile(r"(?P<directory>.*/(?P<run_id>[0-9a-f]{32})/artifacts)(/|$)")
_DIRECTORY_OF_MODEL = re.compile(r"(?P<experiment>.*)/models/(?P<model_id>m-[0-9a-f]{32})/artifacts(/|$)")


class Lost(StrEnum):
    """Names the kind of object that a location leads to and that no longer exists."""

    VERSION = "version"
    RUN = "run"
    LOGGED_MODEL = "logged model"
    NOWHERE = "nowhere"  # no source at all


@dataclass(frozen=True, slots=True)
class Location:
    """Says where one copy is stored. Exactly one of `roots`, `lost` and `unknown` is set."""

    uri: str  # as the registry records it
    roots: tuple[str, ...] = ()  # the locations that it leads to: usually one
    storages: tuple[StorageIdentity, ...] = ()  # of the roots, in their order
    run_id: str | None = None  # of the run whose directory should contain it
    through_version: bool = False  # the chain passed another registered version, which can be replaced
    lost: Lost | None = None
    unknown: str | None = None  # why it could not be resolved
    message: str = ""
    is_unreadable: bool = False  # whether the recorded location itself cannot be resolved, on any machine

    @property
    def identity(self) -> StorageIdentity | None:
        """Return the identity of the storage, or of several that are read as one; None if it could not be resolved."""
        return StorageIdentity.of_several(self.storages) if self.storages else None


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    version: RegisteredVersion
    run_model: Location
    reg_model: Location
    storage: Storage
    run: RunState
    problems: tuple[Problem, ...] = ()
    deleted_models: tuple[str, ...] = ()  # ids of the LoggedModels in whose directories its files are

    @property
    def was_copied(self) -> bool:
        """Say whether the registry made a copy when the version was registered: two storages are then as expected."""
        return any(storage.kind == MODELS for storage in self.reg_model.storages)


def resolve_version(
    connection: Connection, version: RegisteredVersion, runs: Runs, downloads: DownloadUris | None = None
) -> ResolvedVersion:
    """Resolve both locations of a version. A missing or denied object is part of the result, not an exception.

    Raises:
        Transient: the server does not answer as it should; retryable.
        UsageError: the server refuses the credentials.
    """
    recorded = _Recorded(runs, version.run_id)
    elsewhere = _run_is_elsewhere(connection, version)
    if elsewhere and _is_of_run(version.source):
        run_model = Location(version.source, unknown=elsewhere)
    else:
        run_model = _locate(connection, version.source, recorded)
    try:
        download_uri = (downloads or DownloadUris(connection)).get(version.name, version.version)
    except RefusedName:
        # Nobody can load the version by its name either. A server would serve what the source leads to.
        reg_model = _locate_registry_model(connection, version, version.source, recorded)
    except NotFound as error:
        reg_model = Location("", lost=Lost.VERSION, message=error.message)
    except Transient:
        raise
    except (CouldNotVerify, UsageError) as error:
        reg_model = Location("", unknown=error.message)
    else:
        reg_model = _locate_registry_model(connection, version, download_uri, recorded)
    run, problems = RunState.NONE, list[Problem]()
    if elsewhere:
        if run_model.unknown != elsewhere:
            problems.append(Problem("RA009", elsewhere))
    else:
        try:
            run = runs.state(version.run_id) if version.run_id else run
            problems += _in_the_trash(recorded)
        except Transient:
            raise
        except (CouldNotVerify, UsageError) as error:
            problems.append(Problem("RA009", error.message))
    storage = _storage(connection, run_model, reg_model)
    deleted = tuple(model_id for model_id, is_there in recorded.models.items() if not is_there)
    return ResolvedVersion(version, run_model, reg_model, storage, run, tuple(problems), deleted)


def _in_the_trash(recorded: "_Recorded") -> Iterator[Problem]:
    """Yield the deleted objects that hold the files, whether or not the version names them as its run."""
    runs, others = recorded.runs, list(recorded.other_runs)
    named = [recorded.run_id] if recorded.run_id else []
    of_runs = {run_id: runs.deleted_experiment(run_id) for run_id in (*named, *others)}
    of_models = [experiment for experiment in recorded.experiments if runs.is_deleted_experiment(experiment)]
    yield from map(_experiment_deleted, dict.fromkeys(filter(None, (*of_runs.values(), *of_models))))
    for run_id in others:
        if of_runs[run_id] is None and runs.state(run_id) is RunState.DELETED:
            shown = printable(run_id)
            remedy = f"Restore it before the next `mlflow gc`: mlflow runs restore --run-id {shlex.quote(shown)}"
            message = f"the run {shown}, which holds its files, is in the trash"
            yield Problem("RA004", message, blocks=False, remedy=remedy)


def _experiment_deleted(experiment_id: str) -> Problem:
    """Say how to restore an experiment, which restores its runs; a run restored alone would still be lost."""
    shown = printable(experiment_id)
    return Problem(
        "RA004",
        f"its experiment {shown} is in the trash, with all its runs and models",
        blocks=False,
        remedy=f"Restore it, and with it its runs, before the next `mlflow gc`: "
        f"mlflow experiments restore --experiment-id {shown}",
    )


def _run_is_elsewhere(connection: Connection, version: RegisteredVersion) -> str | None:
    """Say why the run is in another workspace: workspaces share one Unity Catalog, but a run's path differs in each."""
    services = connection.databricks
    if services is None or services.workspace is None or not version.run_id:
        return None
    told, here = version.run_workspace, services.workspace.id
    if told is None and isinstance(services.registry, WorkspaceRegistry):
        told = services.registry.workspace.id  # the registry leaves it out for runs of its own workspace
    if not told or not here or here == told:
        return None
    return (
        f"its run is in the workspace {printable(told)}, and the runs of workspace {here} are "
        "looked at here: give a profile of the other one as --tracking-uri, and this one as --registry-uri"
    )


def _is_of_run(source: str) -> bool:
    """Say whether a source means another thing in each workspace.

    A Volume and a name of three levels belong to the metastore, and uploads are in the workspace of the registry.
    """
    if source.startswith("models:/"):
        return not has_three_levels(source.removeprefix("models:/").partition("@")[0].partition("/")[0])
    scheme = source.partition(":")[0].lower()
    return scheme == "runs" or (scheme == "dbfs" and not source.startswith((_UPLOADED, "dbfs:/Volumes/")))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Reads what the registry records about the run of a version, when it is needed."""

    runs: Runs
    run_id: str | None
    other_runs: dict[str, None] = field(default_factory=dict)  # runs into which the locations lead
    experiments: dict[str, None] = field(default_factory=dict)  # of the LoggedModels to which the locations lead
    models: dict[str, bool] = field(default_factory=dict)  # LoggedModel id to whether it exists (False: deleted)

    def leads_to(self, model_id: str, found: Any) -> None:
        self.models[model_id] = True
        if found.experiment_id:
            self.experiments[str(found.experiment_id)] = None

    def leads_into(self, run_id: str) -> None:
        if run_id != self.run_id:
            self.other_runs[run_id] = None

    def confirms(self, directory: StorageIdentity) -> bool:
        """Say whether a directory is the recorded directory of the run itself, or lies in it."""
        own = self.runs.own_directory(self.run_id) if self.run_id else None
        if own is None or not own.startswith(("/", "file:/")):
            return False
        recorded = storage_identity(own, Surroundings(""))
        return directory.path == recorded.path or directory.path.startswith(recorded.path.rstrip("/") + "/")


def _locate_registry_model(
    connection: Connection, version: RegisteredVersion, download_uri: str, recorded: _Recorded
) -> Location:
    if connection.copies_models and _is_remote(download_uri):
        return _copy_of_registry(connection.registry, download_uri, version.name, version.version)
    return _locate(connection, download_uri, recorded)


def _is_remote(download_uri: str) -> bool:
    try:
        return urlsplit(download_uri).scheme not in ("", "file")
    except ValueError:
        return True


def _copy_of_registry(registry: Any, uri: str, name: str, version: str, *, through_version: bool = False) -> Location:
    """Locate the copy that the registry made: it is reached by the version's name, whatever its address."""
    # Two registries may hold the same names, and two profiles may name one workspace.
    identity = StorageIdentity(MODELS, registry.identity, "", f"{name}/{version}")
    return Location(uri, (f"models:/{name}/{version}",), (identity,), through_version=through_version)


def _locate(connection: Connection, uri: str, recorded: _Recorded) -> Location:
    try:
        return _follow(connection, uri, recorded)
    except Transient:
        raise
    except (CouldNotVerify, UsageError) as error:
        return Location(uri, unknown=error.message, is_unreadable=isinstance(error, UnreadableLocation))


def _follow(connection: Connection, uri: str, recorded: _Recorded) -> Location:
    current, seen, through_version = uri, set[str](), False
    while True:
        if not current:
            return Location(uri, lost=Lost.NOWHERE, message="the registry records no location")
        if current in seen or len(seen) >= _MAX_CHAIN:
            raise UnreadableLocation(
                f"the location {_shown(uri)} leads in a circle or through over {_MAX_CHAIN} others"
            )
        seen.add(current)
        scheme = current.split(":", 1)[0].lower()
        if scheme == "models":
            model = _parse_models(current)
            through_version |= not model.model_id
            try:
                if model.alias:
                    model = _of_alias(connection, model)
                registry = connection.registry_of(model.name)
                following = _next_of_model(connection, registry, model, recorded)
                if model.name and connection.copies_models and _is_remote(following):
                    return _copy_of_registry(registry, uri, model.name, model.version, through_version=True)
                current = following
            except NotFound:
                lost = Lost.LOGGED_MODEL if model.model_id else Lost.VERSION
                message = f"{_shown(current)} no longer exists"
                return Location(uri, lost=lost, through_version=through_version, message=message)
        elif scheme == "runs":
            run_id, path = _split_runs(current)
            try:
                roots = recorded.runs.artifact_roots(run_id, path)
                recorded.leads_into(run_id)
            except NotFound:
                return Location(uri, lost=Lost.RUN, message=f"{_shown(current)} no longer exists")
            return _located(connection, uri, roots, through_version, recorded)
        else:
            return _located(connection, uri, (current,), through_version, recorded)


def _located(
    connection: Connection, uri: str, roots: tuple[str, ...], through_version: bool, recorded: _Recorded
) -> Location:
    if connection.databricks is not None and connection.databricks.workspace is not None:
        roots = tuple(f"dbfs:{root}" if root.startswith("/Volumes/") else root for root in roots)
    storages = tuple(_storage_of(root, _surroundings(connection, root), recorded) for root in roots)
    for root in roots:
        _look_for_its_run(connection, root, recorded)
        _look_for_its_model(connection, root, recorded)
    return Location(uri, roots, storages, recorded.run_id, through_version)


def _look_for_its_run(connection: Connection, root: str, recorded: _Recorded) -> None:
    """Find a plain path into the directory of a run that the version does not name, or names another run beside."""
    found = _DIRECTORY_OF_RUN.match(root)
    if found is None or connection.has_runs_in_databricks or found["run_id"] in (recorded.run_id, *recorded.other_runs):
        return
    try:
        own = recorded.runs.own_directory(found["run_id"])
    except Transient:
        raise
    except (CouldNotVerify, UsageError):  # nobody named that run, and it may be another server's
        return
    if own == found["directory"]:
        recorded.leads_into(found["run_id"])


def _look_for_its_model(connection: Connection, root: str, recorded: _Recorded) -> None:
    """Find a plain path into the directory of a LoggedModel, as tools that copy registries record it.

    MLflow says nothing about a deleted LoggedModel. It was this server's if its directory lies in the directory of the
    experiment of the version's run.
    """
    found = _DIRECTORY_OF_MODEL.match(root)
    if found is None or connection.has_runs_in_databricks or found["model_id"] in recorded.models:
        return
    try:
        with translated(f"find the LoggedModel {found['model_id']}"):
            model = connection.client.get_logged_model(found["model_id"])
        recorded.leads_to(found["model_id"], model)
    except NotFound:
        directory = recorded.runs.experiment_directory(recorded.run_id) if recorded.run_id else None
        if directory is not None and directory.rstrip("/") == found["experiment"]:
            recorded.models[found["model_id"]] = False
    except Transient:
        raise
    except (CouldNotVerify, UsageError):  # as above; and servers before 3.0 have no LoggedModels
        return


def _surroundings(connection: Connection, root: str) -> Surroundings:
    return Surroundings(connection.tracking_uri, connection.workspace, partial(_databricks_host, connection, root))


def _storage_of(root: str, around: Surroundings, recorded: _Recorded) -> StorageIdentity:
    try:
        return storage_identity(root, around)
    except NotOnThisMachine as error:
        # A relative path has its meaning only in the server's working directory; the run's directory proves that this
        # is it.
        if error.relative is not None:
            here = StorageIdentity.of_directory(error.relative)
            if recorded.confirms(here):
                return here
        raise


def _databricks_host(connection: Connection, root: str, profile: str) -> str:
    """Return the identity of the workspace that a path of DBFS is in."""
    if profile:
        shown = "***" if ":" in profile else printable(profile)
        raise CouldNotVerify(
            f"the location names its workspace by a profile of whoever registered it ({shown}), "
            "which says nothing here: audit it through that workspace"
        )
    services = connection.databricks
    if services is None:
        return connection.tracking_uri
    workspace = services.workspace
    # MLflow copies a model that it registers in another workspace into that one's DBFS first, and records that as the
    # source.
    if isinstance(services.registry, WorkspaceRegistry) and root.startswith(_UPLOADED):
        workspace = services.registry.workspace
    return connection.tracking_uri if workspace is None else workspace.identity


@dataclass(frozen=True, slots=True)
class _ModelUri:
    """Holds the parts of a `models:/` location: a LoggedModel's id, or a name with a version or an alias."""

    model_id: str = ""
    name: str = ""
    version: str = ""
    alias: str = ""


def _parse_models(uri: str) -> _ModelUri:
    """Parse a `models:/` location as mlflow.store.artifact.utils.models._parse_model_uri does; names are not decoded.

    Raises: CouldNotVerify: MLflow reads no fixed model from it.
    """
    try:
        parts = urlsplit(uri, allow_fragments=False)
    except ValueError as error:
        raise UnreadableLocation(f"the location {_shown(uri)} is no URI: {url_problem(error)}") from None
    first, *rest = parts.path.lstrip("/").split("/")
    if parts.netloc or not parts.path.startswith("/") or not first.strip() or len(rest) > 1:
        raise UnreadableLocation(f"MLflow does not read the location {_shown(uri)} in every way")
    if rest:
        if not rest[0].isdigit():
            raise UnreadableLocation(
                f"the location {_shown(uri)} names a stage or 'latest', and so another model every day"
            )
        return _ModelUri(name=first, version=rest[0])
    if "@" in first:
        name, _, alias = first.rpartition("@")
        return _ModelUri(name=name, alias=alias)
    if quote(first, safe="") != first:  # a client puts it into a URL as it is, and may ask for another model
        raise UnreadableLocation(f"MLflow does not read the location {_shown(uri)} in every way")
    return _ModelUri(model_id=first)


def _of_alias(connection: Connection, model: _ModelUri) -> _ModelUri:
    with translated(f"find alias '{printable(model.alias)}' of model '{printable(model.name)}'"):
        found = connection.registry_of(model.name).get_model_version_by_alias(model.name, model.alias)
    return _ModelUri(name=model.name, version=str(found.version))


def _next_of_model(connection: Connection, registry: Any, model: _ModelUri, recorded: _Recorded) -> str:
    """Follow `models:/m-ID` or `models:/NAME/VERSION` by one step."""
    if model.model_id:
        with translated(f"find the LoggedModel {printable(model.model_id)}"):
            found = connection.client.get_logged_model(model.model_id)
        recorded.leads_to(model.model_id, found)
        return str(found.artifact_location)
    with translated(f"find version {printable(model.version)} of model '{printable(model.name)}'"):
        return str(registry.get_model_version_download_uri(model.name, model.version) or "")


def _split_runs(uri: str) -> tuple[str, str]:
    """Split a location into run and path as MLflow does. Source: mlflow RunsArtifactRepository.parse_runs_uri."""
    if plain := _PLAIN_RUNS.fullmatch(uri):
        return plain[1], plain[2]
    with importing_mlflow():
        from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

    with translated(f"read the location {_shown(uri)}"):
        parts = urlsplit(uri)
        run_id, path = RunsArtifactRepository.parse_runs_uri(uri)
    if parts.query or parts.fragment or not is_one_for_both_ways(parts.path):
        raise UnreadableLocation(f"MLflow reads the location {_shown(uri)} differently in different ways")
    if parts.hostname == "databricks":  # for any other name MLflow asks its own server
        raise CouldNotVerify(
            f"the location {_shown(uri)} names a workspace of Databricks as whoever registered it calls it, which says "
            "nothing here: audit it through that workspace"
        )
    return str(run_id), path or ""


def _storage(connection: Connection, run_model: Location, reg_model: Location) -> Storage:
    one, two = run_model.identity, reg_model.identity
    if one is None or two is None:
        return Storage.UNKNOWN
    if one == two:
        return Storage.SHARED
    # If registering copies, the registry model has a place of its own, even beside a proxy that hides the run model's.
    is_copy = connection.copies_models and one.kind == PROXY
    return Storage.SEPARATE if is_copy or comparable(one, two) else Storage.UNKNOWN


def _shown(uri: str) -> str:
    return printable(redact_location(uri))
