"""A tracking URI that is a database: looked at before MLflow opens it.

MLflow makes a database that does not exist and its tables where there are none: an auditor would have written, found
an empty registry, and called it clean. One that cannot be reached it tries again for minutes.
"""

import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact

_TABLE = "registered_models"
_SCHEMES = ("postgresql", "mysql", "mssql")


def must_be_mlflow_database(uri: str) -> None:
    """Nothing for a URI that is no database.

    Raises:
        UsageError: it is no URI, there is no such database, or it holds no MLflow registry.
        CouldNotVerify: it cannot be reached.
    """
    try:
        scheme = urlsplit(uri).scheme.partition("+")[0]
    except ValueError as error:
        raise UsageError(f"'{_shown(uri)}' is no URI: {error}") from error
    if scheme == "sqlite":
        found = _sqlite_has_table(Path(urlsplit(uri).path.removeprefix("/")))
    elif scheme in _SCHEMES:
        found = _has_table(uri)
    else:
        return
    if not found:
        raise UsageError(f"the database {_shown(uri)} holds no MLflow model registry: check --tracking-uri")


def _sqlite_has_table(path: Path) -> bool:
    if not path.name:
        raise UsageError(
            "the tracking URI names no database file: write sqlite:////absolute/path or sqlite:///relative"
        )
    if not path.is_file():
        raise UsageError(f"there is no database at {printable(str(path))}: check --tracking-uri")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (_TABLE,))
            return rows.fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UsageError(f"{printable(str(path))} is no database that can be read: {error}") from error


def _has_table(uri: str) -> bool:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        with create_engine(uri, poolclass=NullPool).connect() as connection:
            return inspect(connection).has_table(_TABLE)
    except ModuleNotFoundError as error:
        raise UsageError(f"the driver for {_shown(uri)} is not installed: pip install {error.name}") from error
    except SQLAlchemyError as error:
        cause = (str(getattr(error, "orig", None) or error).strip().splitlines() or [""])[0]
        raise CouldNotVerify(f"could not reach the database {_shown(uri)}: {printable(redact(cause))}") from error


def _shown(uri: str) -> str:
    return printable(redact(uri))
