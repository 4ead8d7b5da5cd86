"""Runs behind versions: do they still exist, and where did they keep their artifacts. Each is asked for once."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum

from registry_audit.errors import NotFound
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection
from registry_audit.registry.translate import translated

_SEARCH_SIZE = 100  # run ids in one filter
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
    """Answers about runs, remembered for one audit; safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[str, _Run] = OrderedDict()
        self._experiments: list[str] | None = None
        self._lock = threading.Lock()

    def prefetch(self, run_ids: set[str]) -> None:
        """Ask for many runs with few requests. What the search does not return is asked for by itself when needed.

        A search that fails costs nothing but speed: the single requests then say what is wrong.
        """
        wanted = sorted(run_ids - self._known.keys())
        if len(wanted) < 8 or self._connection.is_databricks:
            return
        try:
            with translated("search the runs"):
                experiments = self._experiments = self._experiments or self._experiment_ids()
                for start in range(0, len(wanted), _SEARCH_SIZE):
                    self._search(experiments, wanted[start : start + _SEARCH_SIZE])
        except Exception:  # noqa: BLE001 - see above: `state` asks again and reports
            return

    def state(self, run_id: str) -> RunState:
        """Whether the run is active, in the trash or gone.

        Raises:
            CouldNotVerify: denied, or the server does not answer.
        """
        return self._get(run_id).state

    def artifact_roots(self, run_id: str, path: str) -> tuple[str, ...]:
        """Where `runs:/RUN_ID/PATH` keeps its bytes.

        MLflow reads the run's own directory and lays a LoggedModel of that name over it (docs/mlflow.md 1.d).

        Raises:
            NotFound: there is no such run.
            CouldNotVerify: denied, or the server does not answer.
        """
        run = self._get(run_id)
        if run.state is RunState.MISSING:
            raise NotFound(f"there is no run {printable(run_id)}")
        own = f"{run.artifact_uri.rstrip('/')}/{path}" if path else run.artifact_uri
        with translated(f"search the LoggedModels of run {printable(run_id)}"):
            logged = self._connection.client.search_logged_models(
                [run.experiment_id], filter_string=f"source_run_id='{run_id}'"
            )
        named = sorted(
            (model for model in logged if model.name == path), key=lambda model: model.creation_timestamp or 0
        )
        return (own, *(str(model.artifact_location) for model in named[-1:]))

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
        from mlflow.entities import ViewType

        experiments: list[str] = []
        token = None
        while True:
            page = self._connection.client.search_experiments(ViewType.ALL, max_results=1000, page_token=token)
            experiments += [experiment.experiment_id for experiment in page]
            token = page.token
            if not token:
                return experiments

    def _search(self, experiments: list[str], run_ids: list[str]) -> None:
        from mlflow.entities import ViewType

        quoted = ",".join(f"'{run_id}'" for run_id in run_ids if run_id.isalnum())
        if not quoted:
            return
        found = self._connection.client.search_runs(
            experiments, f"attributes.run_id IN ({quoted})", ViewType.ALL, max_results=len(run_ids)
        )
        with self._lock:
            for run in found:
                info = run.info
                self._remember(info.run_id, _run(info.lifecycle_stage, info.experiment_id, info.artifact_uri))


def _run(lifecycle_stage: str, experiment_id: str, artifact_uri: str) -> _Run:
    state = RunState.DELETED if lifecycle_stage == "deleted" else RunState.ACTIVE
    return _Run(state, experiment_id, artifact_uri or "")
