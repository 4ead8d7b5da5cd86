"""Registries of every kind, each with everything that belongs to it, to see that an auditor changes nothing of it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import mlflow
import pytest

from support.databases import everything_in
from support.mariadb import mariadb_database
from support.postgres import postgres_database
from support.registry import Registry
from support.servers import MlflowServer, database_store, mlflow_server, sqlite_store

PLACES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "mariadb", "file-store", "server")
WORKING_DIRECTORY = "working-directory"
_PROCESS_WIDE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@dataclass(frozen=True, slots=True)
class Place:
    """A registry with two models, `whole` and `damaged`, and everything that belongs to it."""

    server: MlflowServer
    directory: Path

    def snapshot(self) -> dict[str, object]:
        """Every file and directory with its bytes and times, and every table with its rows and its schema."""
        found: dict[str, object] = {}
        for path in sorted(self.directory.rglob("*")):
            if path == self.server.log:
                continue
            status = path.lstat()
            what = sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
            found[str(path)] = (what, status.st_mode, status.st_mtime_ns)
        if "://" in self.server.db_uri:
            found["database"] = everything_in(self.server.db_uri)
        return found


@contextmanager
def place_of(kind: str, directory: Path) -> Iterator[Place]:
    """
    Args:
        kind: `sqlite`, `postgres`, `mariadb`, `file-store` or `server`.
        directory: to be made.
    """
    directory.mkdir()
    with ExitStack() as stack:
        match kind:
            case "sqlite":
                server = sqlite_store(directory)
            case "postgres":
                server = database_store(directory, stack.enter_context(postgres_database()))
            case "mariadb":
                server = database_store(directory, stack.enter_context(mariadb_database()))
            case "file-store":
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
                server = database_store(directory, str(directory / "mlruns"))
            case _:
                server = stack.enter_context(mlflow_server(directory))
        with pytest.MonkeyPatch.context() as patch:
            if kind == "file-store":  # it asks the process-wide store while it is filled, and would make one here
                patch.setenv("MLFLOW_TRACKING_URI", server.uri)
            registry = Registry(server)
            registry.add("whole")
            damaged = registry.add("damaged")
        with server.artifacts.edit(damaged.reg_location) as model:
            (model / "MLmodel").unlink()
        yield Place(server, directory)


@contextmanager
def hostile_surroundings(directory: Path) -> Iterator[None]:
    """An empty working directory, and MLflow's process-wide addresses pointing where a registry would be made.

    Nobody asked for those addresses: whatever consults one of them makes a file, which `assert_nothing_left` finds.
    """
    empty = directory / WORKING_DIRECTORY
    empty.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(empty)
        patch.setenv("REGISTRY_AUDIT_HOME", str(directory / "remembered"))
        for name in _PROCESS_WIDE:
            patch.setenv(name, "")  # to be taken back; `set_tracking_uri` writes them too
        mlflow.set_tracking_uri(f"sqlite:///{empty / 'set-in-the-process.db'}")
        mlflow.set_registry_uri(f"sqlite:///{empty / 'set-in-the-process-too.db'}")
        for name in _PROCESS_WIDE:
            os.environ[name] = f"sqlite:///{empty / f'{name}.db'}"
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
            mlflow.set_registry_uri(None)  # type: ignore[arg-type]


def assert_nothing_left(directory: Path) -> None:
    left = sorted(path.name for path in (directory / WORKING_DIRECTORY).iterdir())
    assert left == [], f"something made {left} in the working directory"
