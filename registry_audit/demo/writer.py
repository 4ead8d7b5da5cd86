"""Writes one demo registry: logs and registers models, and notes what an audit must report for each.

It needs a separate process: `log_model` uses MLflow's global tracking URI, which would leak into an audit.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from registry_audit.printable import printable
from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.verdict import Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient


# The expected results of an audit of the demo registry, and the comparison with them.


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    name: str
    version: str
    what: str  # the state of the version, in words
    verdict: Verdict | None  # None if any verdict is accepted
    rules: tuple[str, ...]  # ids of exactly the rules that must report, sorted and unique


def unexpected(document: AuditDocument, expected: Iterable[ExpectedResult]) -> tuple[str, ...]:
    """Return one sentence for every version that the audit judged differently, missed or should not have seen.

    The result is empty if the audit found the known damage and nothing else. It is sorted by name and version number.
    """
    wanted = {(result.name, result.version): result for result in expected}
    found = {(row.name, row.version): row for row in document.versions}
    sentences: list[str] = []
    for key in sorted(wanted.keys() | found.keys(), key=_by_name_and_number):
        result, row = wanted.get(key), found.get(key)
        title = printable(f"{key[0]}/{key[1]}")
        if row is None:
            sentences.append(f"{title} is missing from the audit.")
        elif result is None:
            sentences.append(f"{title} was audited but is no version of the demo registry.")
        else:
            sentences += [f"{title}: {difference} ({result.what})." for difference in _differences(result, row)]
    return tuple(sentences)


def _differences(expected: ExpectedResult, row: VersionRow) -> list[str]:
    differences: list[str] = []
    if expected.verdict is not None and row.verdict is not expected.verdict:
        differences.append(f"verdict {row.verdict.value} instead of {expected.verdict.value}")
    rules = sorted({finding.rule for finding in row.findings})
    if rules != sorted(set(expected.rules)):
        differences.append(f"findings {_listed(rules)} instead of {_listed(sorted(set(expected.rules)))}")
    return differences


def _listed(rules: list[str]) -> str:
    return ", ".join(printable(rule) for rule in rules) or "none"


def _by_name_and_number(key: tuple[str, str]) -> tuple[str, int, str]:
    """Return a sort key that puts version 10 after version 2, and non-numeric versions first."""
    name, version = key
    return name, int(version) if version.isascii() and version.isdecimal() else -1, version


Format = Literal["pickle", "skops"]

# Passed for every model. Otherwise MLflow starts a process that loads the model to infer them, which takes seconds.
REQUIREMENTS = ["mlflow", "scikit-learn"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Holds the paths of a demo registry. All are below `directory`, which is the caller's."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts"

    @property
    def registry_copies(self) -> Path:
        return self.directory / "registry"

    @property
    def elsewhere(self) -> Path:
        """Return the directory outside of every model that links lead to."""
        return self.directory / "elsewhere"

    @property
    def scratch(self) -> Path:
        return self.directory / "scratch"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.database.as_posix()}"

    def all(self) -> tuple[Path, ...]:
        """Return everything that a build makes, except the marker file."""
        journals = tuple(self.directory / f"{self.database.name}-{suffix}" for suffix in ("journal", "wal", "shm"))
        return (self.database, *journals, self.artifacts, self.registry_copies, self.elsewhere, self.scratch)


@dataclass(frozen=True, slots=True)
class Logged:
    source: str
    run_id: str


class RegistryWriter:
    def __init__(self, directory: Path) -> None:
        import mlflow

        self.layout = Layout(directory)
        self.expected: list[ExpectedResult] = []
        self.layout.artifacts.mkdir()
        self.layout.elsewhere.mkdir()
        self.layout.scratch.mkdir()
        mlflow.set_tracking_uri(self.layout.tracking_uri)
        mlflow.set_registry_uri(self.layout.tracking_uri)
        self.client: MlflowClient = mlflow.MlflowClient(self.layout.tracking_uri, self.layout.tracking_uri)
        self._experiment_id = self.client.create_experiment("demo", artifact_location=str(self.layout.artifacts))

    def close(self) -> None:
        shutil.rmtree(self.layout.scratch)

    # Logging

    def log_sklearn(self, model: Any, *, format: Format = "pickle") -> Logged:
        """Log as MLflow 3 does: a LoggedModel with its own storage, whose source is `models:/m-...`."""
        import mlflow.sklearn

        with self._run() as run_id:
            info = mlflow.sklearn.log_model(
                model, name="model", pip_requirements=REQUIREMENTS, serialization_format=_known(format)
            )
        return Logged(f"models:/{info.model_id}", run_id)

    def log_pyfunc(self, model: Any, *, artifacts: dict[str, str] | None = None) -> Logged:
        """Log as MLflow 3 does, a Python class or the path of a code file."""
        import mlflow.pyfunc

        with self._run() as run_id:
            info = mlflow.pyfunc.log_model(
                name="model", python_model=model, artifacts=artifacts, pip_requirements=REQUIREMENTS
            )
        return Logged(f"models:/{info.model_id}", run_id)

    def log_sklearn_as_mlflow_2(self, model: Any, *, format: Format = "pickle") -> Logged:
        """Log as MLflow 1 and 2 did: files below the run's artifacts, no LoggedModel, and a path as the source."""
        import mlflow.sklearn
        from mlflow.models import Model

        run = self.client.create_run(self._experiment_id)
        saved = self.layout.scratch / run.info.run_id
        mlflow.sklearn.save_model(
            model,
            str(saved),
            mlflow_model=Model(artifact_path="model", run_id=run.info.run_id),
            pip_requirements=REQUIREMENTS,
            serialization_format=_known(format),
        )
        self.client.log_artifacts(run.info.run_id, str(saved), "model")
        self.client.set_terminated(run.info.run_id)
        return Logged(f"{run.info.artifact_uri}/model", run.info.run_id)

    @contextlib.contextmanager
    def _run(self) -> Iterator[str]:
        import mlflow

        with mlflow.start_run(experiment_id=self._experiment_id) as run:
            yield run.info.run_id

    # Registering

    def register(
        self,
        name: str,
        logged: Logged,
        *,
        alias: str | None = None,
        stage: str | None = None,
        source: str | None = None,
    ) -> str:
        """Register a version, and return its number."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.client.create_registered_model(name)
        model_id = logged.source.removeprefix("models:/") if logged.source.startswith("models:/m-") else None
        created = self.client.create_model_version(
            name, source or logged.source, run_id=logged.run_id, model_id=model_id, await_creation_for=0
        )
        version = str(created.version)
        if stage:
            self.client.transition_model_version_stage(name, version, stage)
        if alias:
            self.client.set_registered_model_alias(name, alias, version)
        return version

    def copy_version(self, name: str, version: str, *, to: str, alias: str) -> str:
        """Copy a version, and return the number of the copy. Its source stays `models:/NAME/VERSION` forever."""
        with contextlib.redirect_stderr(io.StringIO()):  # MLflow reports success on stderr, and failures as exceptions
            copy = self.client.copy_model_version(f"models:/{name}/{version}", to)
        self.client.set_registered_model_alias(to, alias, copy.version)
        return str(copy.version)

    def replace_model(self, name: str, logged: Logged) -> str:
        """Delete a registered model and reuse its name. Numbers restart at 1, so old addresses lead to new models."""
        self.client.delete_registered_model(name)
        version = self.register(name, logged)
        if version != "1":
            raise RuntimeError(f"version numbers of the new {name} do not start at 1 but at {version}")
        return version

    def give_own_copy(self, name: str, version: str) -> Path:
        """Give the registry its own copy of the version's bytes, and return the directory of the copy.

        Open-source MLflow copies nothing when it registers. Databricks' registries and registry plugins put a copy
        elsewhere and keep its address as the version's storage location. This does the same by hand.
        """
        copy = self.layout.registry_copies / name / version
        # Keep times, as copy2 and most object store tools do, so that a change cannot be found by comparing times.
        shutil.copytree(self.storage(name, version), copy)
        self.set_storage_location(name, version, str(copy))
        return copy

    def storage(self, name: str, version: str) -> Path:
        """Return the directory where the registry keeps the version's bytes."""
        uri = self.client.get_model_version_download_uri(name, version)
        run = re.fullmatch(r"runs:/([^/]+)/(.+)", uri)
        if run:
            uri = f"{self.client.get_run(run[1]).info.artifact_uri}/{run[2]}"
        if urlsplit(uri).scheme:
            raise ValueError(f"the demo registry keeps plain paths, not {uri}")
        return Path(uri)

    def set_storage_location(self, name: str, version: str, location: str) -> None:
        with contextlib.closing(sqlite3.connect(self.layout.database)) as connection, connection:
            changed = connection.execute(
                "UPDATE model_versions SET storage_location = ? WHERE name = ? AND version = ?",
                (location, name, int(version)),
            ).rowcount
        if changed != 1 or self.client.get_model_version_download_uri(name, version) != location:
            raise RuntimeError(f"the storage location of {name}/{version} was not changed")

    def expect(self, name: str, version: str, what: str, verdict: Verdict | None, *rules: str) -> None:
        self.expected.append(ExpectedResult(name, version, what, verdict, tuple(sorted(rules))))


def _known(format: Format) -> Format:
    """Return the format, or pickle if the installed MLflow (3.5 and older) writes no skops."""
    from mlflow import sklearn

    return format if format in sklearn.SUPPORTED_SERIALIZATION_FORMATS else "pickle"
