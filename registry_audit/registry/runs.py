"""Finds the runs behind versions: do they still exist, and where are their artifacts? Each is asked for once."""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Transient
from registry_audit.net.rest import NoSuchRoute
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection, server_version
from registry_audit.registry.mlflow_environment import importing_mlflow
from registry_audit.registry.queries import pages
from registry_audit.registry.translate import translated

_EVERY_STATE = 3  # MLflow's ViewType.ALL
_SEARCH_SIZE = 100  # run ids in one filter
# Source: mlflow.store.tracking.sqlalchemy_store, the names that LoggedModels cannot have.
_NO_MODEL_NAME = re.compile(r"[/:.%\"']")
# Locations that every client joins in the same way. For all others MLflow is asked, and its import takes longer than a
# check.
_PLAIN_LOCATION = re.compile(r"(?!file:/[^/])([a-z][a-z0-9+.-]*:(//[\w.-]+(:\d+)?)?)?(/[\w.=-]+)+", re.ASCII)
_PLAIN_PATH = re.compile(r"[\w.=-]+(/[\w.=-]+)*", re.ASCII)
_MAX_EXPERIMENTS = 1_000_000
_MAX_PAGES = 1_000  # of the LoggedModels with one name in one run
_REMEMBERED = 2_000  # runs; the oldest answers are forgotten first


class RunState(StrEnum):
    ACTIVE = "active"
    DELETED = "deleted"  # in the trash: `mlflow gc` would destroy it and its artifacts
    MISSING = "missing"
    NONE = "none"  # the version names no run


@dataclass(frozen=True, slots=True)
class _Run:
    state: RunState
    experiment_id: str = ""
    artifact_uri: str = ""


class Runs:
    """Answers questions about runs, and keeps the answers for one audit; safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[str, _Run] = OrderedDict()
        self._experiments: list[str] | None = None
        self._server_version: str | None = None
        self._deleted_experiments: dict[str, bool] = {}
        self._lock = threading.Lock()

    def prefetch(self, run_ids: set[str]) -> None:
        """Ask for many runs with few requests.

        A run that the search does not return is requested separately when it is needed. If a search fails, these
        single requests report what is wrong.
        """
        wanted = sorted(run_ids - self._known.keys())
        if len(wanted) < 8 or self._connection.has_runs_in_databricks:
            return
        try:
            with translated("search the runs"):
                experiments = self._experiments = self._experiments or self._experiment_ids()
                for start in range(0, len(wanted), _SEARCH_SIZE):
                    self._search(experiments, wanted[start : start + _SEARCH_SIZE])
        except Exception:  # noqa: BLE001 - see above: `state` asks again and reports
            return

    def state(self, run_id: str) -> RunState:
        """Say whether the run is active, in the trash or gone.

        Raises:
            CouldNotVerify: denied, or the server does not answer.
        """
        return self._get(run_id).state

    def deleted_experiment(self, run_id: str) -> str | None:
        """Return the id of the run's experiment, if that is in the trash: `mlflow gc` would destroy its runs, too.

        Each experiment is asked for once. An experiment that the user may not see counts as active.

        Raises:
            Transient: the server does not answer.
        """
        experiment_id = self._get(run_id).experiment_id
        return experiment_id if experiment_id and self.is_deleted_experiment(experiment_id) else None

    def is_deleted_experiment(self, experiment_id: str) -> bool:
        """Say whether an experiment is in the trash: see `deleted_experiment`."""
        if self._connection.has_runs_in_databricks:
            return False
        with self._lock:
            known = self._deleted_experiments.get(experiment_id)
        if known is None:
            try:
                with translated(f"find experiment {printable(experiment_id)}"):
                    known = self._connection.client.get_experiment(experiment_id).lifecycle_stage == "deleted"
            except Transient:
                raise
            except AuditError:  # denied, or its row is lost: the run itself tells what is known
                known = False
            with self._lock:
                self._deleted_experiments[experiment_id] = known
        return known

    def artifact_roots(self, run_id: str, path: str) -> tuple[str, ...]:
        """Return the places of `runs:/RUN_ID/PATH`: the run's own directory, and any LoggedModel of that name.

        MLflow lays the second over the first, at different places in different ways (docs/mlflow.md 1.d).

        Raises:
            NotFound: there is no such run.
            CouldNotVerify: denied, or the server does not answer.
        """
        run = self._get(run_id)
        if run.state is RunState.MISSING:
            raise NotFound(f"there is no run {printable(run_id)}")
        own = _below(run.artifact_uri, path)
        name, _, inside = path.partition("/")
        logged = self._logged_model(run, run_id, name) if name else None
        return (own,) if logged is None else (own, _below(logged, inside))

    def own_directory(self, run_id: str) -> str | None:
        """Return the location of everything that the run logged; None if the run is gone.

        Raises:
            CouldNotVerify: denied, or the server does not answer.
        """
        return self._get(run_id).artifact_uri or None

    def experiment_directory(self, run_id: str) -> str | None:
        """Return the location of everything that the run's experiment holds; None if the run or the experiment is gone.

        Raises:
            CouldNotVerify: denied, or the server does not answer.
        """
        run = self._get(run_id)
        if run.state is RunState.MISSING:
            return None
        try:
            with translated("find the experiment of a run"):
                return self._connection.client.get_experiment(run.experiment_id).artifact_location or None
        except NotFound:
            return None

    def _logged_model(self, run: "_Run", run_id: str, name: str) -> str | None:
        """Return the location of the LoggedModel that MLflow finds for a name in a run: the first of all pages.

        Source: mlflow RunsArtifactRepository._get_logged_model_artifact_repo.
        """
        if _NO_MODEL_NAME.search(name):
            return None  # MLflow gives no LoggedModel such a name, and its filter could not express it
        of_run = "" if self._connection.has_runs_in_databricks else f" AND source_run_id = '{run_id}'"
        token = None
        for _ in range(_MAX_PAGES):
            page = self._search_logged_models(run.experiment_id, f"name = '{name}'{of_run}", token)
            for model in page:
                if model.source_run_id == run_id and model.name == name:
                    return str(model.artifact_location)
            token = getattr(page, "token", None)
            if not token:
                return None
        raise CouldNotVerify(f"the LoggedModels of run {printable(run_id)} are more than {_MAX_PAGES} pages")

    def _search_logged_models(self, experiment_id: str, filter_string: str, token: str | None) -> Any:
        try:
            with translated("search the LoggedModels of a run"):
                return self._connection.client.search_logged_models(
                    [experiment_id], filter_string=filter_string, page_token=token
                )
        except NotFound as error:  # the search found nothing, which says nothing about the run
            raise CouldNotVerify(error.message) from error
        except NoSuchRoute as error:
            # Servers before 3.0 have neither LoggedModels nor this route: the run's directory is then the only place.
            if self._is_before_logged_models():
                return ()
            if self._server_version:
                raise
            raise NoSuchRoute(
                f"{error.message}, nor does it say which MLflow it runs: one of 2.0 has to be upgraded to 2.1 or newer"
            ) from error

    def _is_before_logged_models(self) -> bool:
        if self._server_version is None:
            self._server_version = server_version(self._connection) or ""
        major = self._server_version.partition(".")[0]
        return major.isdecimal() and int(major) < 3

    def _get(self, run_id: str) -> _Run:
        with self._lock:
            known = self._known.get(run_id)
        if known is not None:
            return known
        try:
            with translated(f"find run {printable(run_id)}"):
                info = self._connection.client.get_run(run_id).info
        except NotFound:
            found = _Run(RunState.MISSING)
        else:
            found = _run(info.lifecycle_stage, info.experiment_id, info.artifact_uri)
        with self._lock:
            return self._remember(run_id, found)

    def _remember(self, run_id: str, found: _Run) -> _Run:
        while len(self._known) >= _REMEMBERED:
            self._known.popitem(last=False)
        return self._known.setdefault(run_id, found)

    def _experiment_ids(self) -> list[str]:
        search = self._connection.client.search_experiments
        found = pages(search, _MAX_EXPERIMENTS, view_type=_EVERY_STATE, max_results=1_000)
        return [experiment.experiment_id for experiment in found]

    def _search(self, experiments: list[str], run_ids: list[str]) -> None:
        quoted = ",".join(f"'{run_id}'" for run_id in run_ids if run_id.isalnum())
        if not quoted:
            return
        found = self._connection.client.search_runs(
            experiments, f"attributes.run_id IN ({quoted})", _EVERY_STATE, max_results=len(run_ids)
        )
        with self._lock:
            for run in found:
                info = run.info
                self._remember(info.run_id, _run(info.lifecycle_stage, info.experiment_id, info.artifact_uri))


def _run(lifecycle_stage: str, experiment_id: str, artifact_uri: str) -> _Run:
    state = RunState.DELETED if lifecycle_stage == "deleted" else RunState.ACTIVE
    return _Run(state, experiment_id, artifact_uri or "")


def _below(location: str, path: str) -> str:
    """Join a path to a location as MLflow does it: before a query, with one slash between."""
    if not path:
        return location
    if _PLAIN_LOCATION.fullmatch(location) and _PLAIN_PATH.fullmatch(path):
        return f"{location}/{path}"
    with importing_mlflow():
        from mlflow.utils.uri import append_to_uri_path

    with translated("put a location together"):
        return str(append_to_uri_path(location, path))
