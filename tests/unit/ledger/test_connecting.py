"""A ledger that is gone, emptied, shortened, foreign or too new is exit 4; never a fresh start."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from support.ledgers import checkpointed_copy, execute, note, record, registry_audit, row, sqlite_file, tamper

from registry_audit.api import audit_registry
from registry_audit.audit.options import AuditOptions
from registry_audit.errors import LedgerError, UsageError
from registry_audit.ledger import connecting
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.verified_chain import known_head, memory_file

_LEDGER, _USAGE = 4, 2
both = pytest.mark.parametrize("create", [True, False], ids=["may create", "may not create"])
on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("url", ["postgres"], indirect=True)


@pytest.fixture
def used(ledger: Ledger) -> Ledger:
    """A ledger that this machine has used and let go of."""
    for number in (1, 2):
        remember(ledger, record(ledger, row(), audit_id=f"audit-{number}", accept_new=True).head)
    ledger.close()
    return ledger


def opened(url: str, *, create: bool) -> None:
    open_ledger(url, create=create).close()


def must_refuse(url: str, match: str, *, create: bool) -> None:
    with pytest.raises(LedgerError, match=match):
        open_ledger(url, create=create)


def test_what_was_used_opens_again(used: Ledger, url: str) -> None:
    opened(url, create=False)
    opened(url, create=True)


def test_none_is_started_unless_it_may_be(url: str) -> None:
    must_refuse(url, "there is no ledger at", create=False)
    opened(url, create=True)
    opened(url, create=False)


@both
@on_sqlite
def test_a_deleted_file(used: Ledger, url: str, create: bool) -> None:
    sqlite_file(url).unlink()
    must_refuse(url, "is gone: this machine has used it before", create=create)
    assert not sqlite_file(url).exists()


@both
@on_sqlite
def test_an_emptied_file(used: Ledger, url: str, create: bool) -> None:
    sqlite_file(url).write_bytes(b"")
    must_refuse(url, "is gone: this machine has used it before", create=create)
    assert sqlite_file(url).read_bytes() == b""


@both
def test_dropped_tables(used: Ledger, url: str, create: bool) -> None:
    tamper(url, *(f"DROP TABLE {table}" for table in ("entries", "manifests", "registry_audit_ledger")))
    must_refuse(url, "is gone: this machine has used it before", create=create)


@both
@pytest.mark.parametrize("kept", [0, 1, 5], ids=["none", "the first", "all but the newest"])
def test_entries_were_cut_off(used: Ledger, url: str, create: bool, kept: int) -> None:
    with used.reading() as reader:
        head = reader.head()
    assert head is not None
    assert head.seq > kept
    left = kept if kept < 5 else head.seq - 1
    tamper(url, f"DELETE FROM entries WHERE seq > {left}")
    must_refuse(url, "has lost entries", create=create)


def test_entries_were_cut_off_and_others_appended(used: Ledger, url: str) -> None:
    tamper(url, "DELETE FROM entries WHERE seq > 3")
    with pytest.raises(LedgerError, match="has lost entries that this process has read"):
        used.append([note()])
    by_another_process = Ledger(used._engine, used.url)
    by_another_process.append([note(n) for n in range(20)])
    by_another_process.verify()  # whole, but not the chain that was there
    must_refuse(url, "has lost entries", create=False)


def test_an_older_copy_was_put_back(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, create=True)
    remember(ledger, record(ledger, row(), accept_new=True).head)
    checkpointed_copy(sqlite_url, tmp_path / "backup.db")
    remember(ledger, record(ledger, row(), accept_new=True).head)
    ledger.close()
    (tmp_path / "backup.db").replace(sqlite_file(sqlite_url))
    must_refuse(sqlite_url, "has lost entries", create=False)


@both
def test_a_later_schema(used: Ledger, url: str, create: bool) -> None:
    execute(url, "UPDATE registry_audit_ledger SET version_num = '9999'")
    must_refuse(url, "written by a later release: upgrade", create=create)
    assert registry_audit("baseline", "list", "--ledger", url).exit_status == _LEDGER


@both
def test_a_schema_of_no_release(used: Ledger, url: str, create: bool) -> None:
    execute(url, "DELETE FROM registry_audit_ledger")
    with pytest.raises(LedgerError):
        open_ledger(url, create=create)


@both
def test_a_file_that_is_no_database(sqlite_url: str, create: bool) -> None:
    sqlite_file(sqlite_url).write_bytes(b"This is a text.\n" * 100)
    must_refuse(sqlite_url, "cannot be opened: file is not a database", create=create)
    assert registry_audit("baseline", "verify", "--ledger", sqlite_url).exit_status == _LEDGER
    assert sqlite_file(sqlite_url).read_bytes() == b"This is a text.\n" * 100


@both
def test_a_database_with_an_unrelated_table_of_that_name(url: str, create: bool) -> None:
    sqlite_file(url).touch() if url.startswith("sqlite") else None
    execute(url, "CREATE TABLE entries (title TEXT)")
    must_refuse(url, "it is no ledger", create=create)


def test_another_program_s_database_is_no_ledger_yet(url: str) -> None:
    sqlite_file(url).touch() if url.startswith("sqlite") else None
    execute(url, "CREATE TABLE addresses (street TEXT)")
    must_refuse(url, "there is no ledger at", create=False)


def test_the_database_of_a_registry_stays_a_registry_alone(url: str) -> None:
    sqlite_file(url).touch() if url.startswith("sqlite") else None
    execute(url, "CREATE TABLE registered_models (name TEXT)")
    must_refuse(url, "is an MLflow registry, to which nothing is written", create=True)
    execute(url, "CREATE TABLE entries (it_is_still_free TEXT)")


def test_the_database_of_prefect_stays_prefect_s_alone(url: str) -> None:
    sqlite_file(url).touch() if url.startswith("sqlite") else None
    execute(url, "CREATE TABLE flow_run (id TEXT)")
    must_refuse(url, "is Prefect's own, to which nothing is written", create=True)
    execute(url, "CREATE TABLE entries (it_is_still_free TEXT)")


def test_a_file_of_another_program_is_left_as_it_is(sqlite_url: str) -> None:
    sqlite_file(sqlite_url).touch()
    execute(sqlite_url, "CREATE TABLE customers (name TEXT)")
    before = sqlite_file(sqlite_url).read_bytes()
    must_refuse(sqlite_url, "another program's, with the table 'customers'.*Give another with --ledger", create=True)
    assert sqlite_file(sqlite_url).read_bytes() == before


@both
def test_a_directory(tmp_path: Path, create: bool) -> None:
    must_refuse(f"sqlite:///{tmp_path}", "cannot be opened|there is no ledger", create=create)


@both
def test_a_path_that_cannot_be_looked_at(tmp_path: Path, create: bool) -> None:
    must_refuse(f"sqlite:///{tmp_path}/{300 * 'x'}.db", "cannot be opened: File name too long.*--ledger", create=create)


def test_a_ledger_that_may_only_be_read(sqlite_ledger: Ledger) -> None:
    sqlite_ledger.append([note()])
    sqlite_ledger.close()
    event.listen(sqlite_ledger._engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    with pytest.raises(LedgerError, match="cannot be written: attempt to write a readonly database"):
        sqlite_ledger.append([note()])
    assert sqlite_ledger.verify() is not None


@pytest.mark.parametrize(
    "url",
    [
        "ledger.db",
        "mysql://h/d",
        "oracle://x",
        "http://h/",
        "",
        "sqlite://",
        "postgresql://me:hunter2",
    ],
)
def test_an_url_of_no_ledger(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_ledger(url, create=True)
    assert "hunter2" not in raised.value.message


def test_none_is_started_in_a_model(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").touch()
    with pytest.raises(UsageError, match="is in a model"):
        open_ledger(f"sqlite:///{tmp_path}/below/ledger.db", create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["MLmodel"]


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_none_is_started_that_could_not_hold_every_name(postgres_url: str, encoding: str) -> None:
    name = f"{postgres_url.rpartition('/')[2]}_{encoding.lower()}"
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        chosen = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(text(f'CREATE DATABASE "{name}" {chosen}'))
        try:
            must_refuse(f"{postgres_url}_{encoding.lower()}", f"has the encoding {encoding}", create=True)
        finally:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


def test_a_server_that_does_not_answer() -> None:
    url = "postgresql+psycopg2://someone:secret@127.0.0.1:1/ledger"
    with pytest.raises(LedgerError) as raised:
        open_ledger(url, create=True)
    assert "secret" not in raised.value.message
    said = registry_audit("baseline", "verify", "--ledger", url)
    assert (said.exit_status, "secret" in said.stdout + said.stderr) == (_LEDGER, False)


@pytest.mark.postgres
@on_postgres
def test_the_memory_of_ledgers_is_for_every_user_and_holds_no_password(ledger: Ledger, url: str, home: Path) -> None:
    remember(ledger, ledger.append([note()]))
    with_password = url.replace("postgres@", "postgres:a-secret@")
    opened(with_password, create=False)
    tamper(url, "DELETE FROM entries")
    must_refuse(with_password, "has lost entries", create=True)
    remembered = [file.read_text(encoding="utf-8") for file in home.rglob("*") if file.is_file()]
    assert len(remembered) == 1
    assert "a-secret" not in remembered[0]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"x": 1}', b"\xff"])
def test_a_damaged_memory_is_no_obstacle(used: Ledger, url: str, damage: bytes) -> None:
    memory_file(used.url).write_bytes(damage)
    opened(url, create=False)


def test_a_memory_that_cannot_be_written_fails_no_audit(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "a-file"))
    remember(ledger, record(ledger, row()).head)


def test_an_audit_does_not_start_over(used: Ledger, url: str, tmp_path: Path) -> None:
    """Also with --accept-new, which would start a ledger that was never there."""
    tamper(url, "DELETE FROM entries")
    (tmp_path / "mlflow.db").touch()
    options = AuditOptions(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", ledger=url, accept_new=True)
    with pytest.raises(LedgerError, match="has lost entries"):
        audit_registry(options)
    assert (tmp_path / "mlflow.db").read_bytes() == b""  # the ledger is looked at before anything is opened


def test_one_relative_path_in_two_directories_is_two_ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        ledger = open_ledger("sqlite:///ledger.db", create=True)
        remember(ledger, ledger.append([note()]))
        ledger.close()


@pytest.mark.parametrize("memory", ["sqlite://", "sqlite:///:memory:"])
def test_memory_is_no_place_for_a_ledger(memory: str) -> None:
    with pytest.raises(UsageError):
        open_ledger(memory, create=True).close()


def test_memories_of_two_ledgers_do_not_displace_each_other(
    ledger: Ledger, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ledger.append([note()])
    mkdir, done = Path.mkdir, []

    def meanwhile(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)  # type: ignore[arg-type]
        if not done:
            done.append(True)
            remember(Ledger(ledger._engine, "sqlite:///other.db"), head)

    monkeypatch.setattr(Path, "mkdir", meanwhile)
    remember(ledger, head)
    assert known_head("sqlite:///other.db") == known_head(ledger.url) == (head.seq, head.digest)


@pytest.mark.postgres
@on_postgres
def test_a_connection_that_the_server_closed_during_a_long_audit(ledger: Ledger, url: str) -> None:
    ledger.append([note()])
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    ledger.append([note()])


_OPEN = """
import sys
from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger import connecting
from registry_audit.ledger.connecting import open_ledger
ledger = open_ledger(sys.argv[1], create=True)
ledger.append([Draft(Kind.REGISTRY, name=sys.argv[2], body={"address": None, "name": None})])
ledger.close()
"""


def test_many_processes_start_one_ledger(url: str, tmp_path: Path) -> None:
    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", _OPEN, url, str(number)], env=dict(os.environ))

    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(start(number)) for number in range(4)]
        assert [process.wait(timeout=60) for process in processes] == [0] * 4
    ledger = open_ledger(url, create=False)
    with ledger.reading() as reader:
        assert sorted(entry.name for entry in reader.all_entries()) == ["0", "1", "2", "3"]
    ledger.verify()
    ledger.close()


def test_postgresql_without_a_driver_is_opened_with_that_of_the_extra() -> None:
    """Which driver SQLAlchemy takes by itself changed with 2.1."""
    engine = connecting._engine("postgresql://127.0.0.1:1/ledger")
    assert engine.url.drivername == "postgresql+psycopg2"
    engine.dispose()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql://u:s3cret@db/ledger",
            r"PostgreSQL, whose driver psycopg2 is not installed: pip install '[^']+'$",
        ),
        ("postgres://u:s3cret@db/ledger", r"PostgreSQL, whose driver psycopg2 is not installed: pip install '[^']+'$"),
        (
            "postgresql+psycopg://u:s3cret@db/ledger",
            r"driver psycopg is not .*, and write postgresql:// before the host$",
        ),
        (
            "mysql://u:s3cret@db/ledger",
            r"a ledger is kept in SQLite or PostgreSQL: give sqlite:///PATH or postgresql://",
        ),
        ("postgresql+asyncpg://u:s3cret@db/ledger", r"asyncpg is for asynchronous programs only: write postgresql://"),
        ("nothing", r"cannot be read as the address of a database: give sqlite:///PATH or postgresql://"),
        ("postgresql://u:p@s3cret@db/ledger", r"^--ledger postgresql://\.\.\. has an @ .*, write @ as %40$"),
        ("postgres://u:p@s3cret@127.0.0.1:5432/ledger", r"write @ as %40$"),
        ("postgresql://u:p/q@s3cret@db/ledger", r"write @ as %40$"),
        ("postgresql://u/v:s3cret@db/ledger", r"write @ as %40$"),
    ],
)
def test_an_address_that_cannot_be_opened_says_what_to_write(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in ("psycopg2", "psycopg"):
        monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(UsageError, match=said) as refused:
        open_ledger(address, create=False)
    assert "s3cret" not in refused.value.message


@on_postgres
def test_postgres_is_another_name_of_postgresql(used: Ledger, url: str) -> None:
    other = re.sub(r"^postgresql(\+psycopg2)?:", "postgres:", url)
    assert other != url
    opened(other, create=False)
