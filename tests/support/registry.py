"""A registry to fill with models, over a client that never touches MLflow's process-wide URIs."""

import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from mlflow import MlflowClient

from support.models import write_model
from support.servers import MlflowServer


@dataclass(frozen=True, slots=True)
class Logged:
    """A model in the artifact store, not registered yet."""

    source: str  # what a model version made from it has as its source
    location: str  # where its bytes are
    run_id: str
    model_id: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    name: str
    version: str
    run_id: str
    run_location: str  # the run model's root storage
    reg_location: str  # the registry model's root storage; the same unless they were separated


class Registry:
    """Everything a test does with a registry, in an experiment of its own."""

    def __init__(self, server: MlflowServer, *, has_workspaces: bool = False) -> None:
        self.server = server
        self.client = MlflowClient(server.uri, server.uri)
        name = f"experiment-{secrets.token_hex(4)}"
        # The location is given, because a store without a server would put it below the working directory. One with
        # workspaces lets nobody choose.
        location = None if has_workspaces else server.artifacts.location(name)
        self.experiment_id = self.client.create_experiment(name, artifact_location=location)

    @staticmethod
    def new_name(prefix: str = "model") -> str:
        """A name that no other test of this server uses."""
        return f"{prefix}-{secrets.token_hex(4)}"

    def log_run_model(self, *, seed: int = 0, files: Mapping[str, bytes] | None = None) -> Logged:
        """Log a model the MLflow 2 way: as the directory `model` of a run's artifacts."""
        run = self.client.create_run(self.experiment_id)
        run_id = run.info.run_id
        with tempfile.TemporaryDirectory() as scratch:
            model = write_model(Path(scratch, "model"), seed=seed, run_id=run_id, files=files)
            self.client.log_artifacts(run_id, str(model), "model")
        self.client.set_terminated(run_id)
        location = f"{run.info.artifact_uri}/model"
        return Logged(source=location, location=location, run_id=run_id)

    def log_logged_model(self, *, seed: int = 0, files: Mapping[str, bytes] | None = None) -> Logged:
        """Log a model the MLflow 3 way: as a LoggedModel, whose source is `models:/m-...`."""
        run_id = self.client.create_run(self.experiment_id).info.run_id
        logged = self.client.create_logged_model(self.experiment_id, name="model", source_run_id=run_id)
        with tempfile.TemporaryDirectory() as scratch:
            model = write_model(Path(scratch, "model"), seed=seed, run_id=run_id, model_id=logged.model_id, files=files)
            self.client.log_model_artifacts(logged.model_id, str(model))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.set_terminated(run_id)
        return Logged(f"models:/{logged.model_id}", logged.artifact_location, run_id, logged.model_id)

    def register(self, name: str, source: str, run_id: str | None = None) -> str:
        """Make a version of `name`, and the registered model with the first one; returns the version's number."""
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        model_id = source.removeprefix("models:/") if source.startswith("models:/m-") else None
        recorded = source
        if model_id and self.server.log is None:
            # Without a server MLflow looks for the LoggedModel in the process-wide store, not in the client's.
            recorded = self.client.get_logged_model(model_id).artifact_location
        version = str(
            self.client.create_model_version(
                name, recorded, run_id, model_id=model_id if recorded == source else None, await_creation_for=0
            ).version
        )
        if recorded != source:
            self.change_row(name, version, source=source)
        return version

    def add(
        self, name: str | None = None, *, seed: int = 0, separate: bool = False, logged: Logged | None = None
    ) -> Registered:
        """Log (unless `logged` is given) and register a version; with `separate` its registry model is a copy."""
        name = name or self.new_name()
        logged = logged or self.log_run_model(seed=seed)
        version = self.register(name, logged.source, logged.run_id)
        reg_location = self.separate_copy(name, version) if separate else logged.location
        return Registered(name, version, logged.run_id, logged.location, reg_location)

    def separate_copy(self, name: str, version: str) -> str:
        """Give a version a registry model of its own, as registries that copy do, and return its location.

        The bytes are copied to a new place in the artifact store, and the database says that the registry model
        is there. No API of open-source MLflow does it.
        """
        location = self.root_storage(name, version)
        target = self.server.artifacts.location(f"registered-{secrets.token_hex(6)}/model")
        self.server.artifacts.copy(location, target)
        self.change_row(name, version, storage_location=target)
        return target

    def root_storage(self, name: str, version: str) -> str:
        """The location of a version's registry model."""
        location = self.client.get_model_version_download_uri(name, version)
        if location.startswith("runs:/"):
            run_id, _, path = location.removeprefix("runs:/").partition("/")
            location = f"{self.client.get_run(run_id).info.artifact_uri}/{path}"
        return location

    def insert_versions(self, name: str, locations: Sequence[tuple[str, str]]) -> None:
        """Make a registered model whose versions have these sources and download URIs, in this order.

        Rows are written behind the server's back: no API of MLflow takes all of them.
        """
        self.client.create_registered_model(name)
        made = {"creation_time": 1_700_000_000_000, "last_updated_time": 1_700_000_000_000}
        with self._rows() as (connection, table):
            for number, (source, storage) in enumerate(locations, 1):
                row = {"name": name, "version": number, "source": source, "storage_location": storage}
                row |= {"status": "READY", "current_stage": "None", **made}
                connection.execute(table.insert().values(row))

    def change_row(self, name: str, version: str, **columns: str | None) -> None:
        """Change the version's row in the database, behind the server's back; e.g. `status="FAILED_REGISTRATION"`."""
        with self._rows() as (connection, table):
            change = table.update().where(table.c.name == name, table.c.version == int(version)).values(**columns)
            assert connection.execute(change).rowcount == 1, f"no version {version} of {name}"

    @contextmanager
    def _rows(self) -> Iterator[tuple[sqlalchemy.Connection, sqlalchemy.Table]]:
        engine = sqlalchemy.create_engine(self.server.db_uri, poolclass=sqlalchemy.NullPool)
        table = sqlalchemy.Table("model_versions", sqlalchemy.MetaData(), autoload_with=engine)
        with engine.begin() as connection:
            yield connection, table
