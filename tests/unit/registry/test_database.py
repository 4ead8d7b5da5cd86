"""A database is opened so that nothing can be written, and only if it is the installed MLflow's own."""

import os
import sqlite3
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow
import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from support.databases import OLD_RELEASES, old_database

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.registry.address import parse_address
from registry_audit.registry.connection import Server, connect
from registry_audit.registry.database import read_only


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of the installed MLflow."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    client = MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}")
    client.create_experiment("models", artifact_location="/nowhere")
    client.create_registered_model("wine")
    client.create_model_version("wine", "/nowhere/model")
    return path.read_bytes()


@pytest.fixture
def database(tmp_path: Path, made: bytes) -> Path:
    directory = tmp_path / "registry"
    directory.mkdir()
    path = directory / "mlflow.db"
    path.write_bytes(made)
    return path


def files_in(directory: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(directory.iterdir())}


def model_names(uri: str) -> list[str]:
    return [model.name for model in connect(Server(uri)).client.search_registered_models()]


@pytest.mark.parametrize("release", OLD_RELEASES)
def test_the_database_of_an_older_release_is_refused_and_stays_as_it_was(tmp_path: Path, release: str) -> None:
    from mlflow import __version__
    from mlflow.store.db.utils import _get_latest_schema_revision

    path = tmp_path / "mlflow.db"
    revision = old_database(release, path)
    if revision == _get_latest_schema_revision():
        pytest.skip(f"the schema of MLflow {__version__} is the same")
    before = files_in(tmp_path)
    with pytest.raises(UsageError, match=f"{revision}.*{__version__}.*audit through the MLflow server that owns it"):
        connect(Server(f"sqlite:///{path}"))
    assert files_in(tmp_path) == before


def test_there_are_releases_to_refuse() -> None:
    assert OLD_RELEASES == ("2.22.5", "3.10.1", "3.16.1", "3.5.1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = 'of a later one'",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
    ],
)
def test_any_other_revision_is_refused(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = files_in(database.parent)
    with pytest.raises(UsageError, match=r"schema revision (of a later one|none)"):
        connect(Server(f"sqlite:///{database}"))
    assert files_in(database.parent) == before


def test_the_revision_is_the_one_that_mlflow_itself_would_ask_for(database: Path) -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    from registry_audit.registry.database import _revision_of_installed_mlflow

    assert _revision_of_installed_mlflow() == _get_latest_schema_revision()


@pytest.mark.parametrize(
    ("url", "driver", "way_out"),
    [
        ("postgresql://h/db", "psycopg2", r"pip install 'mlflow-registry-audit\[postgres\]'$"),
        ("postgresql+psycopg://h/db", "psycopg", r"audit\[postgres\]', and write postgresql\+psycopg2://$"),
        ("mysql+pymysql://h/db", "pymysql", r"pip install 'mlflow-registry-audit\[mysql\]'$"),
        ("mysql://h/db", "MySQLdb", r"audit\[mysql\]', and write mysql\+pymysql://$"),
    ],
)
def test_a_driver_that_is_not_there_names_what_brings_it(
    url: str, driver: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(UsageError, match=way_out):
        read_only(parse_address(url))


def test_nothing_can_be_written(database: Path) -> None:
    engine = sqlalchemy.create_engine(read_only(parse_address(f"sqlite:///{database}")).uri, poolclass=NullPool)
    for statement in ("DELETE FROM model_versions", "CREATE TABLE x (a INT)", "DROP TABLE model_versions"):
        with engine.connect() as connection, pytest.raises(OperationalError, match="readonly"):
            connection.exec_driver_sql(statement)


def test_mlflow_cannot_write_either(database: Path) -> None:
    before = files_in(database.parent)
    with pytest.raises(Exception, match="readonly"):
        connect(Server(f"sqlite:///{database}")).client.create_registered_model("beer")
    assert files_in(database.parent) == before


@pytest.mark.parametrize("name", ["a b.db", "a?b.db", "a%41b.db", "a#b.db", "a&mode=rw.db", "ü@:'\".db", "file:x.db"])
def test_any_name_of_a_file(database: Path, name: str) -> None:
    path = database.parent / name
    database.rename(path)
    # SQLAlchemy takes what follows a question mark for parameters, and decodes nothing.
    if "?" in name:
        with pytest.raises(UsageError, match="no database at"):
            connect(Server(f"sqlite:///{path}"))
    else:
        assert model_names(f"sqlite:///{path}") == ["wine"]
    assert list(files_in(path.parent)) == [name]


def test_a_relative_path_and_a_link(database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(database.parent)
    assert model_names("sqlite:///mlflow.db") == ["wine"]
    link = tmp_path / "link.db"
    link.symlink_to(database)
    assert model_names(f"sqlite:///{link}") == ["wine"]
    assert parse_address(f"sqlite:///{link}").identity == parse_address("sqlite:///mlflow.db").identity


@pytest.fixture
def with_log(database: Path, tmp_path: Path) -> Path:
    """It has a write-ahead log, in which a second model is."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO registered_models (name, creation_time) VALUES ('beer', 1)")
    connection.commit()
    assert Path(f"{database}-wal").stat().st_size > 0
    # Copied, because within one process SQLite shares the index of the log with whoever opened it to write.
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in database.parent.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    connection.close()
    return copied / database.name


@pytest.mark.parametrize("by_link", [False, True])
def test_a_write_ahead_log_is_read_and_left_alone(with_log: Path, tmp_path: Path, by_link: bool) -> None:
    before, path = files_in(with_log.parent), with_log
    if by_link:
        path = tmp_path / "link.db"
        path.symlink_to(with_log)
    assert model_names(f"sqlite:///{path}") == ["beer", "wine"]
    assert files_in(with_log.parent) == before


def test_a_closed_database_with_a_log_gets_none(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    before = files_in(database.parent)
    assert list(before) == ["mlflow.db"]
    assert model_names(f"sqlite:///{database}") == ["wine"]
    assert files_in(database.parent) == before


def test_a_log_that_a_crash_left_behind_is_not_skipped(with_log: Path) -> None:
    """Without the log the second model would be missing from the audit."""
    Path(f"{with_log}-shm").unlink()
    before = files_in(with_log.parent)
    with pytest.raises(UsageError, match="a crash left behind"):
        connect(Server(f"sqlite:///{with_log}"))
    assert files_in(with_log.parent) == before


def test_a_journal_that_a_crash_left_behind_is_said_with_a_way_out(database: Path, tmp_path: Path) -> None:
    """SQLite undoes what was half written before it reads anything, and cannot where it may not write."""
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that changes reach the file before they are committed
        connection.execute("BEGIN IMMEDIATE")
        for table in ("experiments", "registered_models", "model_versions"):
            connection.execute(f"CREATE TABLE half_{table} AS SELECT randomblob(99999) FROM {table}")
        for file in database.parent.iterdir():
            (crashed / file.name).write_bytes(file.read_bytes())
    before = files_in(crashed)
    assert "mlflow.db-journal" in before
    with pytest.raises(CouldNotVerify, match="a crash left a journal beside it: start the MLflow server that owns it"):
        connect(Server(f"sqlite:///{crashed / database.name}"))
    assert files_in(crashed) == before


def test_a_database_that_is_being_written_is_said_with_a_way_out(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CouldNotVerify, match="database is locked; does another program hold a lock"):
            connect(Server(f"sqlite:///{database}"))


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x.db?uri=true"])
def test_a_database_that_is_no_file_is_refused(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="names no database file"):
        connect(Server(uri))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["", "models", ".trash"])
def test_nothing_is_made_in_a_file_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = tmp_path / "mlruns"
    if missing:
        for directory in {"models", ".trash", "0"} - {missing}:
            (store / directory).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=missing or "no directory"):
        connect(Server(str(store)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mssql+pyodbc://h/db", "cannot be opened read-only: audit through the MLflow server"),
        ("oracle://h/db", "cannot be opened read-only"),
        ("postgresql+asyncpg://h/db", "use postgresql\\+psycopg2"),
        ("mysql+pymysql://h/db?init_command=x", "leave init_command out"),
    ],
)
def test_what_cannot_be_opened_read_only_is_refused(uri: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_only(parse_address(uri))


def test_mlflows_process_wide_addresses_say_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, f"sqlite:///{database.parent}/another.db")
    assert model_names(f"sqlite:///{database}") == ["wine"]
    assert list(files_in(database.parent)) == ["mlflow.db"]
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        assert os.environ.pop(name)


def test_a_workspace_that_selects_nothing_is_not_named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database is read without workspaces unless MLflow is told otherwise, and the report must say what was read."""
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
    assert connect(Server(f"sqlite:///{database}")).workspace is None


@pytest.mark.skipif(not hasattr(mlflow, "set_workspace"), reason="this MLflow has no workspaces, for which it writes")
@pytest.mark.parametrize(
    ("change", "enabled", "says"),
    [
        ("UPDATE experiments SET workspace = 'team-a' WHERE experiment_id <> 0", "false", "holds several workspaces"),
        ("UPDATE experiments SET workspace = 'default'", "true", "without writing to it"),
        ("DELETE FROM experiments WHERE experiment_id = 0", "false", "without writing to it"),
    ],
    ids=["several workspaces", "workspaces are on", "no default experiment"],
)
def test_what_mlflow_opens_only_by_writing_is_refused_in_one_sentence(
    database: Path, change: str, enabled: str, says: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(change)
        connection.commit()
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", enabled)
    before = files_in(database.parent)
    with pytest.raises(UsageError, match=f"{says}.*audit through the MLflow server that owns it"):
        connect(Server(f"sqlite:///{database}"))
    assert (files_in(database.parent), capfd.readouterr().err) == (before, "")
