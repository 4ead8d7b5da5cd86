"""Opens a ledger. A lost ledger is never replaced by an empty one, and an unknown schema is refused."""

import logging
import re
import stat
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from registry_audit.errors import LedgerError, NoLedgerYet, UsageError
from registry_audit.ledger.chain import Entry
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.verified_chain import known_head, memory_file, remember_head
from registry_audit.model.mlmodel import must_not_be_in_a_model
from registry_audit.printable import printable
from registry_audit.redact import redact, without_sign_in
from registry_audit.registry.address import SIGN_IN, shown_address

_VERSION_TABLE = "registry_audit_ledger"
_ADDRESSES = "give sqlite:///PATH or postgresql://HOST/DATABASE"
_OF_A_REGISTRY = "registered_models"  # a table of MLflow's own database
_OF_PREFECT = "flow_run"  # a table of Prefect's own database
_BUSY_SECONDS = 120
_ELSEWHERE = "Give another with --ledger, or --ledger none to audit without baselines"
_HOW_TO_START_OVER = "To start over with an empty ledger, remove {}"


def open_ledger(url: str, *, create: bool, restore: bool = False) -> Ledger:
    """Open a ledger. Everything is checked that can be checked without reading all of it.

    Args:
        url: SQLAlchemy's URL: `sqlite:///PATH` or `postgresql://...`.
        create: whether to start a ledger that this machine has never seen.
        restore: whether to recreate a ledger that this machine has seen, to be filled from an export.

    Raises:
        UsageError: the URL is invalid, or its driver is not installed.
        LedgerError: the ledger is missing, was shortened since this machine last saw it, is not a ledger, or was
            written by a later release.
    """
    engine = _engine(url)
    shown = _named(engine)
    try:
        if not (restore or _exists(engine, shown)):
            _may_start(engine, shown, create=create)
        _bring_up_to_date(engine, shown)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        cause = redact(printable(without_sign_in(cause, engine.url)))
        raise LedgerError(f"the ledger {shown} cannot be opened: {cause}. {_ELSEWHERE}") from error
    ledger = Ledger(engine, shown)
    if not restore:
        must_not_be_older(ledger)
    return ledger


def shown_ledger(url: str) -> str:
    """Return the address to show for a ledger with this URL, whether or not it exists."""
    return _named(_engine(url))


def remember(ledger: Ledger, head: Entry) -> None:
    """Remember the head that this process saw or wrote, so that this machine notices if it is lost later."""
    remember_head(ledger.url, head.seq, head.digest, ledger.first_digest)


def must_not_be_older(ledger: Ledger) -> None:
    """Check that the ledger holds the head that this machine last saw. Raises: LedgerError: it does not."""
    known = known_head(ledger.url)
    if known is None:
        return
    with ledger.reading() as reader:
        if not reader.has(*known):
            raise LedgerError(
                f"the ledger {ledger.url} has lost entries: its head as this machine last saw it, "
                f"{known[1][:16]}..., is not in it. {_HOW_TO_START_OVER.format(memory_file(ledger.url))}"
            )


def _engine(url: str) -> Engine:
    shown = shown_address(url)
    try:
        parsed = make_url(re.sub(r"^postgres(?=[:+])", "postgresql", url))  # many services write postgres://
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
                raise UsageError(f"--ledger {shown}: a ledger is a file on disk; give sqlite:///PATH")
            parsed = parsed.set(database=str(Path(parsed.database or "").absolute()))
        elif parsed.get_backend_name() != "postgresql":
            raise UsageError(f"--ledger {shown}: a ledger is kept in SQLite or PostgreSQL: {_ADDRESSES}")
        elif "@" in f"{parsed.host}{parsed.database}":  # the driver would show it, and with it a part of the password
            raise UsageError(f"--ledger {shown} has an @ behind its host: in a user or password, write @ as %40")
        elif parsed.drivername == "postgresql":  # SQLAlchemy 2.1 defaults to psycopg, but our extra installs psycopg2
            parsed = parsed.set(drivername="postgresql+psycopg2")
        waiting = {"timeout": _BUSY_SECONDS} if parsed.get_backend_name() == "sqlite" else {}
        engine = create_engine(parsed, connect_args=waiting, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        write = ", and write postgresql:// before the host" if "+" in url.partition(":")[0] else ""
        raise UsageError(
            f"the ledger {shown} is on PostgreSQL, whose driver {error.name} is not installed: "
            f"pip install 'mlflow-registry-audit[postgres]'{write}"
        ) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:  # ValueError: the port is not a number
        raise UsageError(f"--ledger {shown} cannot be read as the address of a database: {_ADDRESSES}") from error
    if engine.dialect.is_async:  # for instance the URL of Prefect's own database
        raise UsageError(
            f"--ledger {shown}: the driver {engine.dialect.driver} is for asynchronous programs only: write "
            f"{engine.dialect.name}:// before the host or the path"
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _manual_transactions)
    return engine


def _named(engine: Engine) -> str:
    """Return the ledger's URL without user, password and driver, so that it is the same for all its users."""
    url = engine.url._replace(drivername=engine.url.get_backend_name(), username=None, password=None)
    url = url.difference_update_query([key for key in url.query if key.lower() in SIGN_IN])
    return redact(url.render_as_string())


def _exists(engine: Engine, shown: str) -> bool:
    """Say whether there is a database file or a table to open, be it a ledger or not. A missing file is not created."""
    if engine.dialect.name == "sqlite":
        try:
            if not stat.S_ISREG(Path(engine.url.database or "").stat().st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise LedgerError(f"the ledger {shown} cannot be opened: {error.strerror}. {_ELSEWHERE}") from error
    with engine.connect() as connection:
        present = inspect(connection).get_table_names()
    return _VERSION_TABLE in present or "entries" in present


def _bring_up_to_date(engine: Engine, shown: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    if engine.dialect.name == "sqlite":
        try:
            Path(engine.url.database or "").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise LedgerError(f"the ledger {shown} cannot be made: {error.strerror}. {_ELSEWHERE}") from error
    config = Config()
    # Alembic would take a percent sign in the path for an interpolation.
    migrations = str(files("registry_audit.ledger").joinpath("migrations"))
    config.set_main_option("script_location", migrations.replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        present = inspect(connection).get_table_names()
        if _VERSION_TABLE in present:
            current = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608
            if current == scripts.get_current_head():
                return
            if current not in {script.revision for script in scripts.walk_revisions()}:
                raise LedgerError(f"the ledger {shown} was written by a later release: upgrade mlflow-registry-audit")
        elif "entries" in present:
            raise LedgerError(f"the database {shown} holds other tables of these names: it is no ledger")
        elif _OF_A_REGISTRY in present:
            raise LedgerError(f"the database {shown} is an MLflow registry, to which nothing is written. {_ELSEWHERE}")
        elif _OF_PREFECT in present:
            raise LedgerError(f"the database {shown} is Prefect's own, to which nothing is written. {_ELSEWHERE}")
        elif present and engine.dialect.name == "sqlite":  # a schema of PostgreSQL may be shared on purpose
            raise LedgerError(
                f"the database {shown} is another program's, with the table '{printable(min(present))}', and nothing "
                f"is written to it: a ledger is a file of its own. {_ELSEWHERE}"
            )
        if engine.dialect.name == "postgresql":
            encoding = connection.execute(text("SHOW server_encoding")).scalar()
            if encoding != "UTF8":
                raise LedgerError(f"the database {shown} has the encoding {encoding}, and a ledger needs UTF8")
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with engine.connect() as connection:
        # Two processes may both find no ledger: the second one waits, and then finds the ledger of the first.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(1296847425)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _may_start(engine: Engine, shown: str, *, create: bool) -> None:
    if known_head(shown) is not None:
        raise LedgerError(
            f"the ledger {shown} is gone: this machine has used it before. Restore it from a backup, or import an "
            f"export. {_HOW_TO_START_OVER.format(memory_file(shown))}"
        )
    if engine.dialect.name == "sqlite":
        must_not_be_in_a_model(Path(engine.url.database or "").parent, f"the ledger {shown}")
    if not create:
        missing = NoLedgerYet if engine.dialect.name == "sqlite" else LedgerError
        raise missing(f"there is no ledger at {shown}: an audit with --accept-new starts one")


def _manual_transactions(connection: object, record: object) -> None:
    """Stop sqlite3 from starting transactions implicitly: the ledger issues BEGIN IMMEDIATE itself."""
    connection.isolation_level = None  # type: ignore[attr-defined]
