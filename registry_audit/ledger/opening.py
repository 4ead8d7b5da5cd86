"""Opening a ledger: never a fresh start where there was one before, never a schema that is not understood."""

import logging
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from registry_audit.errors import LedgerError, UsageError
from registry_audit.home import home_directory
from registry_audit.ledger.chain import Entry
from registry_audit.ledger.known import known_head, remember_head
from registry_audit.ledger.store import Ledger
from registry_audit.printable import printable
from registry_audit.redact import redact

_VERSION_TABLE = "registry_audit_ledger"
_BUSY_SECONDS = 120


def open_ledger(url: str, *, create: bool) -> Ledger:
    """A ledger that is whole as far as can be told without reading all of it.

    Args:
        url: SQLAlchemy's: `sqlite:///PATH` or `postgresql://...`.
        create: whether a ledger that this machine has never seen may be started.

    Raises:
        UsageError: the URL is none, or its driver is not installed.
        LedgerError: the ledger is missing, was shortened since this machine last saw it, is not a ledger, or was
            written by a later release.
    """
    shown = redact(url)
    engine = _engine(url, shown, create=create)
    try:
        _bring_up_to_date(engine, url, shown, create=create)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise LedgerError(f"the ledger {shown} cannot be opened: {redact(printable(cause))}") from error
    ledger = Ledger(engine, shown)
    _must_not_be_older(ledger, url, shown)
    return ledger


def remember(ledger: Ledger, head: Entry) -> None:
    """Note the head that this process saw or wrote, so that a later loss of it is noticed here."""
    remember_head(ledger.url, head.seq, head.digest)


def _engine(url: str, shown: str, *, create: bool) -> Engine:
    try:
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS} if url.startswith("sqlite") else {})
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(
            f"--ledger {shown} is no database this program can open: give sqlite:///PATH or postgresql://..."
        ) from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise UsageError(f"--ledger {shown}: only SQLite and PostgreSQL keep a ledger")
    if engine.dialect.name == "sqlite":
        path = Path(engine.url.database or "")
        if not path.is_file():
            _may_start(url, shown, create=create)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LedgerError(f"the ledger {shown} cannot be made: {error.strerror}") from error
        event.listen(engine, "connect", _manual_transactions)
    return engine


def _bring_up_to_date(engine: Engine, url: str, shown: str, *, create: bool) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(files("registry_audit.ledger").joinpath("migrations")))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        present = inspect(connection).get_table_names()
        if _VERSION_TABLE in present:
            current = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608
            if current == newest:
                return
            if current not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
                raise LedgerError(f"the ledger {shown} was written by a later release: upgrade mlflow-registry-audit")
        elif "entries" in present:
            raise LedgerError(f"the database {shown} holds other tables of these names: it is no ledger")
        else:
            _may_start(url, shown, create=create)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with engine.connect() as connection:
        # Two processes may both find nothing: the second waits, and then finds the ledger of the first.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(1296847425)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _may_start(url: str, shown: str, *, create: bool) -> None:
    if known_head(shown) is not None:
        raise LedgerError(
            f"the ledger {shown} is gone: this machine has used it before. Restore it from a backup or an export; "
            f"to start over knowingly, remove its line from {home_directory() / 'known-ledgers.json'}"
        )
    if not create:
        raise LedgerError(f"there is no ledger at {shown}: an audit with --accept-new starts one")


def _must_not_be_older(ledger: Ledger, url: str, shown: str) -> None:
    known = known_head(shown)
    if known is None:
        return
    with ledger.reading() as reader:
        if not reader.has(*known):
            raise LedgerError(
                f"the ledger {shown} has lost entries: its head as this machine last saw it, "
                f"{known[1][:16]}..., is not in it"
            )


def _manual_transactions(connection: object, record: object) -> None:
    """sqlite3 begins transactions when it likes; the ledger says itself when it does (BEGIN IMMEDIATE)."""
    connection.isolation_level = None  # type: ignore[attr-defined]
