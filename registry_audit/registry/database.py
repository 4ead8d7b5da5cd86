"""Opens databases and directories that MLflow would open itself: checked first, and without any way to write.

MLflow's own client creates what is missing: the database, its tables, a default experiment, the directories of a file
store. It also migrates a database that an older MLflow owns, and the owner then does not start again (docs/mlflow.md
section 7). An auditor does none of that.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.printable import printable
from registry_audit.redact import without_sign_in
from registry_audit.registry.address import Address, AddressKind, postgres_identity
from registry_audit.registry.mlflow_environment import file_stores_are_allowed, importing_mlflow
from registry_audit.registry.translate import is_unknown_parameter, way_out_of_database

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

_READ_ONLY_POSTGRES = "-c default_transaction_read_only=on"
_READ_ONLY_MYSQL = "SET SESSION TRANSACTION READ ONLY"
# A migration or a backup may hold a lock for hours; by default both databases wait for it without end.
_LOCK_SECONDS = 20
_CONNECT_SECONDS = "10"
# MLflow's own variables for its connections: our connections must be encrypted in the same way.
_MYSQL_TLS = {name: f"MLFLOW_MYSQL_{name.upper()}" for name in ("ssl_ca", "ssl_cert", "ssl_key")}
_WAL = 2  # bytes 18 and 19 of an SQLite file: its journal is a write-ahead log (https://sqlite.org/fileformat2.html)


@dataclass(frozen=True, slots=True)
class Opened:
    """Describes a database or a directory that was verified to be a registry of the installed MLflow."""

    uri: str = field(repr=False)  # for MLflow; nothing can be written through it
    identity: str  # see `Address`; for PostgreSQL see `asked_identity`


def read_only(address: Address) -> Opened:
    """Open a database or a directory so that nothing can be written.

    Args:
        address: address of a database or a directory.

    Raises:
        UsageError: there is no registry at the address, its schema is not the one of the installed MLflow, or MLflow
            would have to create something.
        CouldNotVerify: the database cannot be reached.
    """
    if address.kind is AddressKind.DIRECTORY:
        _must_be_whole_file_store(address)
        return Opened(address.uri, address.identity)
    with _opened(address) as (url, connection):
        _check_schema(connection, address.shown)
        identity = _identity(connection, address)
    return Opened(url.render_as_string(hide_password=False), identity)


def asked_identity(address: Address) -> str:
    """Return the identity of the registry in a database.

    PostgreSQL itself is asked: the environment, a service file and the settings of a role all decide which server,
    database and schema an address leads to.

    Raises:
        UsageError: there is no such database.
        CouldNotVerify: the database cannot be reached.
    """
    if not is_postgres(address):
        return address.identity
    with _opened(address) as (_, connection):
        return _identity(connection, address)


def is_postgres(address: Address) -> bool:
    return address.identity.startswith("postgresql:")


@contextmanager
def _opened(address: Address) -> Iterator[tuple["URL", "Connection"]]:
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    url = make_url(address.uri)
    with _explained(url, address.shown):
        url = _read_only_url(address, url)
        with create_engine(url, poolclass=NullPool).connect() as connection:
            _must_refuse_writes(connection, address.shown)
            yield url, connection


def _identity(connection: "Connection", address: Address) -> str:
    if not is_postgres(address):
        return address.identity
    from sqlalchemy import make_url, text

    info: Any = connection.connection.driver_connection.info  # type: ignore[union-attr]
    told = dict(info.dsn_parameters if hasattr(info, "dsn_parameters") else info.get_parameters())  # psycopg2, psycopg
    if "host" in told:  # psycopg adds the address that it resolved
        told["hostaddr"] = str(make_url(address.uri).query.get("hostaddr") or os.environ.get("PGHOSTADDR") or "")
    schema = str(connection.execute(text("SELECT current_schema()")).scalar())
    return postgres_identity({"dbname": info.dbname, **told}, schema)


def _read_only_url(address: Address, url: "URL") -> "URL":
    match url.get_backend_name():
        case "sqlite":
            return _read_only_sqlite(url)
        case "postgresql":
            if url.get_driver_name() not in ("psycopg2", "psycopg"):
                raise UsageError(
                    f"{address.shown} cannot be opened read-only with that driver: use postgresql+psycopg2"
                )
            lock = f"-c lock_timeout={_LOCK_SECONDS}s"
            query = {"connect_timeout": os.environ.get("PGCONNECT_TIMEOUT") or _CONNECT_SECONDS, **url.query}
            options = " ".join(filter(None, (lock, _own_options(url.set(query=query)), _READ_ONLY_POSTGRES)))
            # Keep the demand for a primary server, but our own session is read-only.
            if query.get("target_session_attrs", os.environ.get("PGTARGETSESSIONATTRS")) == "read-write":
                query["target_session_attrs"] = "primary"
            return url.set(query={**query, "options": options})
        case "mysql" | "mariadb":
            if "init_command" in url.query:
                raise UsageError(
                    f"{address.shown}: leave init_command out of the address, it is what makes it read-only"
                )
            query = {name: os.environ[said] for name, said in _MYSQL_TLS.items() if os.environ.get(said)}
            if url.get_driver_name() in ("pymysql", "mysqldb"):  # these support it, and it bounds the wait for a lock
                query["read_timeout"] = str(3 * _LOCK_SECONDS)
            return url.set(query={**query, **url.query, "init_command": _READ_ONLY_MYSQL})
        case backend:
            raise UsageError(
                f"a database of the kind {printable(backend)} cannot be opened read-only: "
                "audit through the MLflow server that owns it, by its http address"
            )


def _own_options(url: "URL") -> str:
    """Return the options that the address, a service file or the environment sets; they may select a schema.

    Options in the address replace all others, which would be lost without this.

    Source: https://www.postgresql.org/docs/current/libpq-envars.html, libpq-pgservice.html.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    if "options" in url.query:
        return str(url.query["options"])
    if "service" not in url.query and "PGSERVICE" not in os.environ:
        return os.environ.get("PGOPTIONS", "")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return connection.connection.driver_connection.info.options or ""  # type: ignore[union-attr]


def _read_only_sqlite(url: "URL") -> "URL":
    """Return SQLite's own URI with `mode=ro`; for any other form MLflow would create the directories."""
    database = url.database or ""
    if not database or database == ":memory:" or database.startswith("file:"):
        raise UsageError(
            "the tracking URI names no database file: write sqlite:////absolute/path or sqlite:///relative"
        )
    path = Path(database).resolve()  # SQLite keeps its journals beside the file itself, not beside a link to it
    if not path.is_file():
        raise UsageError(f"there is no database at {printable(str(path))}: check --tracking-uri")
    query = {"mode": "ro", "uri": "true"}
    if _has_write_ahead_log(path):
        if not Path(f"{path}-wal").exists():
            query["immutable"] = "1"  # without it SQLite would create the log and its index
        elif Path(f"{path}-shm").exists():
            query["readonly_shm"] = "1"  # without it SQLite would write its own marks into the log's index
        else:
            raise UsageError(
                f"{printable(str(path))} has a write-ahead log that a crash left behind: open it once with the "
                "MLflow server that owns it, or audit through that server"
            )
    return url.set(drivername="sqlite+pysqlite", database=f"file:{quote(str(path))}", query=query)


def _has_write_ahead_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == bytes((_WAL, _WAL))
    except OSError as error:
        raise UsageError(f"{printable(str(path))} cannot be read: {error.strerror}") from error


@contextmanager
def _explained(url: "URL", shown: str) -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"the driver for {shown} is not installed: {_extra(url, error.name)}") from error
    except (SQLAlchemyError, TypeError) as error:
        cause = (str(getattr(error, "orig", None) or error).strip().splitlines() or [""])[0]
        message = f"could not read the database {shown}: {printable(without_sign_in(cause, url))}"
        if is_unknown_parameter(cause):
            raise UsageError(f"{message}; leave that parameter out of the address") from error
        if isinstance(error, TypeError):
            raise
        if way_out := way_out_of_database(cause):
            raise CouldNotVerify(f"{message}; {way_out}") from error
        if url.get_backend_name() == "sqlite" and isinstance(error, DBAPIError):
            raise UsageError(message) from error
        raise CouldNotVerify(message) from error


def _must_refuse_writes(connection: "Connection", shown: str) -> None:
    """Check that the connection is read-only: a proxy or a driver may drop that request."""
    from sqlalchemy import text

    match connection.dialect.name:
        case "postgresql":
            is_read_only = connection.execute(text("SHOW transaction_read_only")).scalar() == "on"
        case "mysql" | "mariadb":
            # Its name depends on the server: tx_read_only, transaction_read_only, or both.
            shows = text("SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')")
            values = [str(value) for _, value in connection.execute(shows)]
            is_read_only = bool(values) and all(value.upper() in ("ON", "1") for value in values)
        case _:  # SQLite, whose file was opened with mode=ro
            return
    if not is_read_only:
        raise UsageError(
            f"the database {shown} did not become read-only for this connection: connect without the proxy between, "
            "or audit through the MLflow server that owns it, by its http address"
        )


def _check_schema(connection: "Connection", shown: str) -> None:
    from sqlalchemy import column, inspect, select, table

    tables = set(inspect(connection).get_table_names())
    if "registered_models" not in tables:
        raise UsageError(f"the database {shown} holds no MLflow model registry: check --tracking-uri")
    revisions: set[str] = set()
    if "alembic_version" in tables:
        revisions = set(
            connection.execute(select(column("version_num")).select_from(table("alembic_version"))).scalars()
        )
    wanted = _revision_of_installed_mlflow()
    if revisions != {wanted}:
        with importing_mlflow():
            import mlflow

        found = ", ".join(printable(str(revision)) for revision in sorted(revisions)) or "none"
        raise UsageError(
            f"the database {shown} has the schema revision {found}; MLflow {mlflow.__version__} here needs {wanted} "
            "and would migrate it: audit through the MLflow server that owns it, by its http address, "
            "or install that server's version of MLflow beside this program"
        )
    if connection.execute(select(1).select_from(table("experiments")).limit(1)).first() is None:
        raise UsageError(
            f"the database {shown} has no experiment, and MLflow would create one: audit through its server"
        )


@cache
def _revision_of_installed_mlflow() -> str:
    """Return the head revision; cached, because Alembic imports every migration for it (0.1 seconds)."""
    from alembic.script import ScriptDirectory

    spec = find_spec("mlflow.store.db_migrations")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "this MLflow brings no database schema: pip install 'mlflow-registry-audit[mlflow]', or audit through an "
            "http address"
        )
    return str(ScriptDirectory(str(next(iter(spec.submodule_search_locations)))).get_current_head())


def _must_be_whole_file_store(address: Address) -> None:
    """Check that a file store is complete, because MLflow creates whatever is missing."""
    root = Path(address.path)
    if root.is_file():
        raise UsageError(f"{address.shown} is a file: for an SQLite database write sqlite:///{address.shown}")
    if not root.is_dir():
        # A person who forgot the scheme of a server did not type a path.
        is_path = address.uri.startswith(("/", ".", "file:")) and not address.uri.startswith("//")
        server = "" if is_path else ", or write http:// before the name of a server"
        raise UsageError(f"there is no directory {address.shown}: check --tracking-uri{server}")
    if not (root / "models").is_dir():
        raise UsageError(
            f"the directory {address.shown} holds no MLflow model registry (no models/): check --tracking-uri"
        )
    if not (root / ".trash").is_dir():
        raise UsageError(
            f"the file store {address.shown} has no .trash/, and MLflow would create it: make it, then audit"
        )
    if not file_stores_are_allowed():
        raise UsageError("MLflow reads a file store only where MLFLOW_ALLOW_FILE_STORE=true is set: export it")


def _extra(url: "URL", module: str | None) -> str:
    extras = {"postgresql": ("postgres", "psycopg2"), "mysql": ("mysql", "pymysql"), "mariadb": ("mysql", "pymysql")}
    extra, driver = extras.get(url.get_backend_name(), ("", ""))
    if not extra:
        return f"pip install {module}"
    other = "" if module == driver else f", and write {url.get_backend_name()}+{driver}://"
    return f"pip install 'mlflow-registry-audit[{extra}]'{other}"
