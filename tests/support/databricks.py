"""A stand-in for a Databricks workspace and its Unity Catalog, or for the open-source Unity Catalog server.

It speaks what MLflow 3.17's client and databricks-sdk 0.156 send and expect (read from their source; nothing of it was
seen on a real workspace), runs in this process, keeps every request, and does wrong what `Faults` says. What no audit
may ever do it refuses to overlook: `must_be_unharmed`.
"""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.models import write_model

EXPERIMENT = "e090757fcb8f49cb9822f65f2fe7ed91"

# Questions that the services want as a POST. Everything else that is no GET or HEAD would write, or leave a trace.
QUESTIONS = (
    "/api/2.0/mlflow/artifacts/credentials-for-read",
    "/artifacts/credentials-for-download",
    "/api/2.0/mlflow/logged-models/search",
    "/api/2.0/fs/create-download-url",
    "/api/2.0/mlflow/unity-catalog/model-versions/generate-temporary-credentials",
    "/api/2.1/unity-catalog/temporary-model-version-credentials",
    "/oidc/v1/token",
)


@dataclass(slots=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str | None
    body: Any = None


@dataclass(slots=True)
class Faults:
    """What a workspace, or the way to it, can do wrong."""

    page_size: int = 100
    empty_page_first: bool = False  # with a token for the one that holds something
    files_api: int = 200  # or what it answers instead
    internal_files: bool = True  # whether the Files API knows the artifacts of runs
    direct_files: bool = True  # whether it answers with a file itself, and not with a signed URL only
    models_through_files: bool = True  # whether Unity Catalog reads its models through the Files API
    default_storage: bool = False  # what it says of storage where it does not
    said_first: dict[str, list[bool]] = field(
        default_factory=dict
    )  # of these two, by name: answers before the true one
    models_on_files: bool = True  # whether the Files API knows the models of Unity Catalog
    without_sizes: bool = False
    sizes: dict[str, int] = field(default_factory=dict)  # listed wrongly, by file name
    bodies: dict[str, bytes] = field(default_factory=dict)  # of files, by name: a 200 with something else
    expired: int = 0  # so many signed URLs are not valid any more
    refusals: list[tuple[int, str | None]] = field(default_factory=list)  # status and Retry-After of the next answers
    pages_of_html: tuple[str, ...] = ()  # paths that a gateway answers with 404 and HTML
    seen_as_empty: tuple[str, ...] = ()  # directories, by the end of their path
    denied: tuple[str, ...] = ()  # models
    unlisted: bool = True  # whether those are left out of lists, too
    token_refused: bool = False
    token_refused_from: str | None = None  # the first request whose path holds this, and all that follow
    hangs: tuple[str, ...] = ()  # paths that are not answered while the stand-in lives
    aliases_move: dict[str, str] = field(default_factory=dict)  # once they were told: alias to another version
    needs_filter: bool = False  # whether versions are only listed by model
    without_metastore: bool = False


@dataclass(frozen=True, slots=True)
class Logged:
    """A model of a run, not registered yet."""

    source: str
    directory: Path
    run_id: str
    model_id: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    name: str
    version: str
    run: Path  # the directory of the run model
    reg: Path  # the directory of the registry model


class StandIn:
    """One service at one port."""

    def __init__(self, root: Path, *, number: int = 1, open_source: bool = False) -> None:
        self.files = root / "dbfs"
        self.files.mkdir(parents=True)
        self.open_source = open_source
        self.token = f"dapi-secret-{number}-{secrets.token_hex(8)}"
        self.workspace_id, self.metastore_id = f"{number}234567890", f"00000000-0000-0000-0000-{number:012d}"
        self.url = ""  # once it listens
        self.asked: list[Asked] = []
        self.faults = Faults()
        self.runs: dict[str, dict[str, Any]] = {}
        self.logged_models: dict[str, dict[str, Any]] = {}
        self.models: dict[str, list[dict[str, Any]]] = {}  # of the workspace's registry
        self.catalog: dict[str, list[dict[str, Any]]] = {}  # of Unity Catalog
        self.aliases: dict[str, dict[str, str]] = {}
        self.lend: Callable[[], dict[str, Any]] = dict  # the credentials that Unity Catalog lends
        self.ended = threading.Event()
        self._lock = threading.Lock()

    # ---- what it holds

    def log_model(
        self,
        *,
        seed: int = 0,
        number: int | None = None,
        logged_model: bool = False,
        files: Mapping[str, bytes] | None = None,
        at: str | None = None,
    ) -> Logged:
        """A model as a run's artifact, or as a LoggedModel. `number` makes the ids, and so the paths, repeatable.

        Args:
            at: a place of DBFS or a Volume, without a slash in front; the source is then `dbfs:/` and that.
        """
        run_id = f"{number or len(self.runs) + 1:032x}"
        base = f"databricks/mlflow-tracking/{EXPERIMENT}"
        self.runs[run_id] = {
            "run_id": run_id,
            "run_uuid": run_id,
            "experiment_id": EXPERIMENT,
            "status": "FINISHED",
            "lifecycle_stage": "active",
            "artifact_uri": f"dbfs:/{base}/{run_id}/artifacts",
            "start_time": 1,
        }
        if at is not None:
            directory = write_model(self.files / at, seed=seed, run_id=run_id, files=files)
            return Logged(f"dbfs:/{at}", directory, run_id)
        if not logged_model:
            directory = write_model(
                self.files / base / run_id / "artifacts/model", seed=seed, run_id=run_id, files=files
            )
            return Logged(f"dbfs:/{base}/{run_id}/artifacts/model", directory, run_id)
        model_id = f"m-{run_id}"
        place = f"{base}/logged_models/{model_id}/artifacts"
        self.logged_models[model_id] = {
            "model_id": model_id,
            "experiment_id": EXPERIMENT,
            "name": "model",
            "source_run_id": run_id,
            "creation_timestamp_ms": 1,
            "artifact_uri": f"dbfs:/{place}",
            "status": "LOGGED_MODEL_READY",
        }
        directory = write_model(self.files / place, seed=seed, run_id=run_id, model_id=model_id, files=files)
        return Logged(f"models:/{model_id}", directory, run_id, model_id)

    def register(self, name: str, logged: Logged | None = None, *, seed: int = 0, stage: str = "None") -> Version:
        """In the workspace's registry, which copies the model."""
        logged = logged or self.log_model(seed=seed)
        versions = self.models.setdefault(name, [])
        place = f"databricks/mlflow-registry/{len(versions) + 1:032x}-{len(self.models)}/models/model"
        shutil.copytree(logged.directory, self.files / place)
        number = str(len(versions) + 1)
        versions.append(
            {
                "name": name,
                "version": number,
                "creation_timestamp": 1_700_000_000_000 + int(number),
                "last_updated_timestamp": 1_700_000_000_000 + int(number),
                "current_stage": stage,
                "source": logged.source,
                "run_id": logged.run_id,
                "status": "READY",
                "user_id": "somebody@example.com",
                "tags": [{"key": "number", "value": number}],
                "registry_uri": f"dbfs:/{place}",
            }
        )
        return Version(name, number, logged.directory, self.files / place)

    def register_in_catalog(
        self,
        name: str,
        logged: Logged | None = None,
        *,
        seed: int = 0,
        alias: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """In Unity Catalog, under a name of three levels."""
        logged = logged or self.log_model(seed=seed)
        versions = self.catalog.setdefault(name, [])
        number = str(len(versions) + 1)
        directory = self.files / "uc" / name.replace(".", "/") / number
        shutil.copytree(logged.directory, directory)
        location = f"s3://managed/__unitystorage/{name}/{number}"
        versions.append(
            {
                "name": name,
                "version": number,
                "creation_timestamp": 1_700_000_000_000 + int(number),
                "last_updated_timestamp": 1_700_000_000_000 + int(number),
                "source": logged.source,
                "run_id": logged.run_id,
                "run_workspace_id": self.workspace_id,
                "status": "READY",
                "user_id": "somebody@example.com",
                "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
                "storage_location": directory.resolve().as_uri() if self.open_source else location,
            }
        )
        if alias:
            self.aliases.setdefault(name, {})[alias] = number
        return Version(name, number, logged.directory, directory)

    # ---- what was asked of it

    def paths(self, *, containing: str = "") -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked if containing in asked.path]

    def must_be_unharmed(self) -> None:
        """Nothing was written, no credentials went where they do not belong, and no lineage was left."""
        for asked in self.asked:
            where = f"{asked.method} {asked.path}"
            assert "emit-lineage" not in asked.path, f"{where} leaves a lineage event"
            is_question = asked.method == "POST" and asked.path.endswith(QUESTIONS)
            assert asked.method in ("GET", "HEAD") or is_question, f"{where} may write"
            if is_question and isinstance(asked.body, dict) and "operation" in asked.body:
                assert "WRITE" not in asked.body["operation"], f"{where} asks for credentials to write"
            if asked.path.startswith("/signed/"):
                assert asked.authorization is None, f"{where} was sent credentials"
            elif asked.authorization is not None and not asked.path.startswith("/oidc/"):
                assert asked.authorization == f"Bearer {self.token}", f"{where} was sent the credentials of another"

    # ---- for the routes

    def says(self, name: str) -> bool:
        """Of a fault that is a switch, what is said of it now."""
        before = self.faults.said_first.get(name)
        with self._lock:
            return before.pop(0) if before else bool(getattr(self.faults, name))

    def alias_told(self, name: str, alias: str) -> None:
        if alias in self.faults.aliases_move:
            self.aliases[name][alias] = self.faults.aliases_move.pop(alias)

    def take(self, what: str) -> Any:
        """One of a fault that happens so many times."""
        with self._lock:
            if what == "expired" and self.faults.expired:
                self.faults.expired -= 1
                return True
            if what == "refusal" and self.faults.refusals:
                return self.faults.refusals.pop(0)
        return None


@contextmanager
def stand_in(root: Path, *, number: int = 1, open_source: bool = False) -> Iterator[StandIn]:
    """A service that listens until the block ends, and was not harmed by then."""
    from support.databricks_routes import application

    service = StandIn(root, number=number, open_source=open_source)
    with _served(application(service), service):
        yield service


@contextmanager
def one_host(*services: StandIn) -> Iterator[None]:
    """Several workspaces at one address: a header chooses, or a signed URL; the first one answers without either."""
    from support.databricks_routes import application

    known = {service.workspace_id: application(service) for service in services}

    def chosen(environment: Any, start: Any) -> Any:
        signed_for = environment["QUERY_STRING"].partition("&o=")[2] or services[0].workspace_id
        return known[environment.get("HTTP_X_DATABRICKS_WORKSPACE_ID", signed_for)](environment, start)

    with _served(chosen, *services):
        yield


@contextmanager
def _served(application: Any, *services: StandIn) -> Iterator[None]:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    for service in services:
        service.url = f"http://127.0.0.1:{server.server_port}"
    thread.start()
    try:
        yield
    finally:
        for service in services:
            service.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
    for service in services:
        service.must_be_unharmed()


def profiles(file: Path, **services: StandIn) -> Path:
    """Write a configuration file with one profile for each service; `DEFAULT` is one only if it is named."""
    text = "".join(f"[{name}]\nhost = {service.url}\ntoken = {service.token}\n\n" for name, service in services.items())
    file.write_text(text, encoding="utf-8")
    return file


def older(directory: Path, *, seconds: float = 3600) -> None:
    """Let the files of a model have been written a while ago."""
    then = time.time() - seconds
    for path in directory.rglob("*"):
        os.utime(path, (then, then))
