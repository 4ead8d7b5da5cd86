"""A PostgreSQL database of one's own."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.processes import ServerFailed, wait_until

_HOST = "127.0.0.1"
_PORT = 5432
_USER = "postgres"
_CLUSTERS = Path("/etc/postgresql")


@contextmanager
def postgres_database() -> Iterator[str]:
    """The SQLAlchemy URL of a new, empty database, dropped afterwards.

    Without PostgreSQL the test is skipped; where the environment has CI set it fails instead.
    """
    _need_postgres()
    name = f"registry_audit_{secrets.token_hex(6)}"
    _execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"postgresql+psycopg2://{_USER}@{_HOST}:{_PORT}/{name}"
    finally:
        _execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _need_postgres() -> None:
    if _answers():
        return
    reason = f"PostgreSQL does not answer on {_HOST}:{_PORT} and could not be started"
    try:
        _start()
        wait_until(_answers, timeout_seconds=20, what=reason)
    except (OSError, subprocess.SubprocessError, ServerFailed) as cause:
        if os.environ.get("CI"):
            pytest.fail(f"{reason}: {cause}")
        pytest.skip(reason)


def _start() -> None:
    clusters = sorted(path.name for path in _CLUSTERS.iterdir())
    if not clusters:
        raise FileNotFoundError(f"no cluster in {_CLUSTERS}")
    command = ["pg_ctlcluster", "--skip-systemctl-redirect", clusters[-1], "main", "start"]
    subprocess.run(command, check=False, timeout=30, capture_output=True)  # status 2: it runs already


def _answers() -> bool:
    import psycopg2

    try:
        _connect().close()
    except psycopg2.OperationalError:
        return False
    return True


def _connect() -> Any:
    import psycopg2

    return psycopg2.connect(host=_HOST, port=_PORT, user=_USER, dbname="postgres", connect_timeout=3)


def _execute(statement: str) -> None:
    connection = _connect()
    connection.autocommit = True  # databases are made and dropped outside transactions
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
