"""A MariaDB database of one's own."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_HOST = "127.0.0.1"
_PORT = 3306
_USER = "root"


@contextmanager
def mariadb_database() -> Iterator[str]:
    """The SQLAlchemy URL of a new, empty database, dropped afterwards.

    Without MariaDB the test is skipped; where the environment has CI set it fails instead.
    """
    import pymysql

    name = f"registry_audit_{secrets.token_hex(6)}"
    try:
        connection = pymysql.connect(host=_HOST, port=_PORT, user=_USER, connect_timeout=3)
    except pymysql.OperationalError as cause:
        reason = f"MariaDB does not answer on {_HOST}:{_PORT}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}: {cause}")
        pytest.skip(reason)
    try:
        _execute(connection, f"CREATE DATABASE `{name}`")
        yield f"mysql+pymysql://{_USER}@{_HOST}:{_PORT}/{name}"
    finally:
        _execute(connection, f"DROP DATABASE IF EXISTS `{name}`")
        connection.close()


def _execute(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
