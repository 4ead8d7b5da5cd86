"""Real MLflow tracking servers, one process group each, and the store that needs no server."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

import requests
import sqlalchemy

from support import warm
from support.artifacts import ArtifactStore
from support.postgres import postgres_database
from support.processes import free_port, server_process
from support.s3 import S3Endpoint

Backend = Literal["sqlite", "postgres"]
Artifacts = Literal["local-proxied", "local-direct", "s3-proxied", "s3-direct"]

_BUCKET = "models"
_ADMIN = ("admin", "admin-password-1")
_HTTP_SECONDS = 30
_START_SECONDS = 90.0  # another release's environment was never used before, and is imported from a cold disk

# What the machine or a test may have set for clients; a server must not see it.
_CLIENT_VARIABLES = (
    "MLFLOW_TRACKING_",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_HTTP_REQUEST_",
    "MLFLOW_WORKSPACE",
    "AWS_",
    "PYTEST_",
    "COV_",
)
_SERVER_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # The job runner is nine more processes of a second each, for evaluation jobs that no test starts.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """A tracking store to audit: `uri` for clients, the rest to look and reach behind it."""

    uri: str
    artifact_root: str  # a directory or s3://bucket/prefix: where the bytes are, whoever serves them
    db_uri: str
    log: Path | None  # None where there is no server
    artifacts: ArtifactStore

    @property
    def host(self) -> str:
        """`127.0.0.1:port`."""
        return self.uri.partition("://")[2].rpartition("@")[2]

    def uri_as(self, user: str, password: str) -> str:
        return f"http://{quote(user, safe='')}:{quote(password, safe='')}@{self.host}"

    def add_user(self, user: str, password: str) -> None:
        """Only with basic auth. A new user may read everything."""
        self._post_as_admin("2.0/mlflow/users/create", username=user, password=password)

    def deny(self, kind: Literal["registered_model", "experiment"], id: str, user: str) -> None:
        """Only with basic auth: take every permission on a registered model or an experiment from a user."""
        self._post_as_admin(
            "3.0/mlflow/users/permissions/grant",
            username=user,
            resource_type=kind,
            resource_id=id,
            permission="DENY",
        )

    def _post_as_admin(self, route: str, **body: str) -> None:
        answer = requests.post(f"http://{self.host}/api/{route}", json=body, auth=_ADMIN, timeout=_HTTP_SECONDS)
        assert answer.ok, f"{route}: {answer.status_code} {answer.text}"


@contextmanager
def mlflow_server(
    directory: Path,
    *,
    backend: Backend = "sqlite",
    artifacts: Artifacts = "local-proxied",
    basic_auth: bool = False,
    s3: S3Endpoint | None = None,
    more_environment: Mapping[str, str] = MappingProxyType({}),
    more_options: tuple[str, ...] = (),
    python: Path | None = None,
    before_2: bool = False,
    static_prefix: str = "",
    root_name: str = "artifacts",
) -> Iterator[MlflowServer]:
    """A `mlflow server` of one worker that keeps everything it has in `directory`, its log included.

    `s3` is the endpoint of the `s3-...` stores. With `basic_auth` the `uri` carries the administrator's credentials.
    `python` is that of another environment, with another MLflow, perhaps one `before_2`. A server that ended starts
    again on the same directory. `root_name` is of the directory of artifacts.
    """
    with ExitStack() as stack:
        store = _artifact_store(directory, artifacts, s3, root_name)
        if backend == "postgres":
            db_uri = stack.enter_context(postgres_database())
        else:
            db_uri = _sqlite_uri(directory, migrated=python is None)
        port = free_port()
        log = directory / "mlflow-server.log"
        command = [str(python.with_name("mlflow"))] if python else [sys.executable, "-m", "mlflow"]
        command += ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", db_uri, *_artifact_options(store, before_2), *more_options]
        if static_prefix:
            command += ["--static-prefix", static_prefix]
        environment = _environment(s3) | dict(more_environment)
        if python:  # gunicorn is found by its name
            environment["PATH"] = f"{python.parent}{os.pathsep}{environment.get('PATH', '')}"
        if basic_auth:
            command += ["--app-name", "basic-auth"]
            environment |= _auth_environment(directory)
        address = f"127.0.0.1:{port}"
        stack.enter_context(
            server_process(
                command,
                log=log,
                ready=lambda: _is_ready(address, static_prefix, log),
                environment=environment,
                directory=directory,
                timeout_seconds=4 * _START_SECONDS if python else _START_SECONDS,
                cold=bool(static_prefix or more_options or more_environment),  # read where MLflow is imported
            )
        )
        uri = f"http://{':'.join(_ADMIN)}@{address}" if basic_auth else f"http://{address}"
        yield MlflowServer(uri + static_prefix, store.root, db_uri, log, store)


def sqlite_store(
    directory: Path, *, artifacts: Artifacts = "local-direct", s3: S3Endpoint | None = None
) -> MlflowServer:
    """An SQLite database and an artifact store that clients open themselves, without any server."""
    return database_store(directory, _sqlite_uri(directory), artifacts=artifacts, s3=s3)


def database_store(
    directory: Path, uri: str, *, artifacts: Artifacts = "local-direct", s3: S3Endpoint | None = None
) -> MlflowServer:
    """A database, or MLflow's file store, and an artifact store that clients open themselves."""
    store = _artifact_store(directory, artifacts, s3)
    assert store.visible_as == store.root, "mlflow-artifacts: needs a server"
    return MlflowServer(uri, store.root, uri, None, store)


def _sqlite_uri(directory: Path, *, migrated: bool = True) -> str:
    """Of a database that is `migrated` by this MLflow already: to run its many migrations takes two seconds."""
    database = directory / "mlflow.db"
    if migrated and not database.exists():
        shutil.copyfile(_migrated_database(), database)
    return f"sqlite:///{database}"


def _migrated_database() -> Path:
    """Without a row: what a server keeps of itself, such as where its artifacts are, it writes when it starts."""
    with warm.made_once("mlflow.db") as (made, directory):
        if directory:
            from mlflow.store.db.utils import _initialize_tables

            being_made = directory / "mlflow.db"
            engine = sqlalchemy.create_engine(f"sqlite:///{being_made}", poolclass=sqlalchemy.NullPool)
            _initialize_tables(engine)
            being_made.rename(made)
    return made


def _artifact_store(
    directory: Path, artifacts: Artifacts, s3: S3Endpoint | None, root_name: str = "artifacts"
) -> ArtifactStore:
    place, _, access = artifacts.partition("-")
    if place == "s3":
        assert s3 is not None, f"{artifacts} needs the endpoint: s3="
        client: Any = s3.client()
        client.create_bucket(Bucket=_BUCKET)  # no error where it exists
        root = f"s3://{_BUCKET}/{secrets.token_hex(4)}"
    else:
        s3 = None
        (directory / root_name).mkdir(exist_ok=True)
        root = str(directory / root_name)
    return ArtifactStore(root, "mlflow-artifacts:" if access == "proxied" else root, s3)


def _artifact_options(store: ArtifactStore, before_2: bool) -> list[str]:
    if store.visible_as != store.root:
        return ["--serve-artifacts", "--artifacts-destination", store.root]
    return [*([] if before_2 else ["--no-serve-artifacts"]), "--default-artifact-root", store.root]


def clean_environment() -> dict[str, str]:
    """That of this process without what its machine or a test has set for clients."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_CLIENT_VARIABLES)}
    return inherited | _SERVER_ENVIRONMENT


def _environment(s3: S3Endpoint | None) -> dict[str, str]:
    return clean_environment() | dict(s3.environment if s3 else {})


def _auth_environment(directory: Path) -> dict[str, str]:
    configuration = directory / "basic-auth.ini"
    user, password = _ADMIN
    configuration.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{directory / 'basic-auth.db'}\n"
        f"admin_username = {user}\n"
        f"admin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "grant_default_workspace_access = false\n"
        "auth_cache_ttl_seconds = 300\n",  # a password check costs 50 ms otherwise, every request one
        encoding="utf-8",
    )
    return {"MLFLOW_AUTH_CONFIG_PATH": str(configuration), "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16)}


def _is_ready(address: str, static_prefix: str, log: Path) -> bool:
    # /health alone could be another server's that took the port in between.
    text = log.read_text(encoding="utf-8", errors="replace")
    if not any(f"{says} http://{address}" in text for says in ("running on", "Listening at:")):  # uvicorn, gunicorn
        return False
    try:
        return requests.get(f"http://{address}{static_prefix}/health", timeout=_HTTP_SECONDS).ok
    except (requests.ConnectionError, requests.Timeout):  # gunicorn listens before its worker is there
        return False
