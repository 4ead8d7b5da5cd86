"""Databases that an audit opens itself: the registry that the address means, read-only, and no wait without an end."""

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import sqlalchemy
from mlflow import MlflowClient
from sqlalchemy.pool import NullPool
from support.mariadb import mariadb_database
from support.postgres import postgres_database

from registry_audit.errors import CouldNotVerify, NotFound, UsageError
from registry_audit.refs import Alias, Latest, Number, Selector, Stage
from registry_audit.registry.address import parse_address
from registry_audit.registry.connection import Server, connect, identity_of
from registry_audit.registry.registered_models import require_model
from registry_audit.registry.versions import find_version, list_versions

TEAM = "-csearch_path=team_a"
ROLE = "registry_audit_of_team_a"


def filled(url: str, name: str) -> str:
    client = MlflowClient(url, url)
    client.create_registered_model(name)
    client.create_model_version(name, "/nowhere/model")
    client.set_registered_model_alias(name, "champion", "1")
    return url


@contextmanager
def connected(url: str) -> Iterator[sqlalchemy.Connection]:
    with sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection


def execute(url: str, *statements: str) -> None:
    with connected(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A registry in its schema `public`, another one in `team_a`."""
    with postgres_database() as url:
        execute(filled(url, "of-all"), "CREATE SCHEMA team_a")
        filled(f"{url}?options={TEAM}", "of-team-a")
        yield url


@pytest.fixture(scope="module")
def mariadb() -> Iterator[str]:
    with mariadb_database() as url:
        yield filled(url, "of-all")


def models_in(uri: str) -> list[str]:
    return [version.name for version in list_versions(connect(Server(uri))).versions]


def in_address(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"{url}?options={TEAM}"


def in_environment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGOPTIONS", TEAM)
    return url


def in_service_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    known = sqlalchemy.make_url(url)
    told = {"host": known.host, "port": known.port, "user": known.username, "dbname": known.database, "options": TEAM}
    service = tmp_path / "pg_service.conf"
    service.write_text("[team]\n" + "".join(f"{key}={value}\n" for key, value in told.items()), encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    return f"{url.partition('://')[0]}://?service=team"


def in_named_service(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    in_service_file(url, tmp_path, monkeypatch)
    monkeypatch.setenv("PGSERVICE", "team")
    return url


def in_settings_of_role(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    execute(url, f"DROP ROLE IF EXISTS {ROLE}", f"CREATE ROLE {ROLE} LOGIN SUPERUSER PASSWORD 'sesame'")
    execute(url, f"ALTER ROLE {ROLE} SET search_path = team_a")
    return sqlalchemy.make_url(url).set(username=ROLE, password="sesame").render_as_string(hide_password=False)


@pytest.mark.postgres
@pytest.mark.parametrize("said", [in_address, in_environment, in_service_file, in_named_service, in_settings_of_role])
def test_the_schema_is_the_one_that_was_asked_for(
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[str, Path, pytest.MonkeyPatch], str],
) -> None:
    """As every program finds it that is given the same address, in the same environment."""
    of_all = parse_address(postgres).identity
    assert models_in(postgres) == ["of-all"]
    assert connect(Server(postgres)).identity == of_all
    uri = said(postgres, tmp_path, monkeypatch)
    with connected(uri) as other:
        assert other.exec_driver_sql("SELECT name FROM registered_models").scalars().all() == ["of-team-a"]
    assert models_in(uri) == ["of-team-a"]
    assert connect(Server(uri)).identity == identity_of(Server(uri)) == f"{of_all}#schema=team_a"
    if said is in_settings_of_role:
        execute(postgres, f"DROP ROLE {ROLE}")


@pytest.mark.postgres
def test_an_address_without_a_host_is_known_by_the_host_that_answers(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sqlalchemy.make_url(postgres)
    told = {"PGHOST": known.host, "PGPORT": str(known.port), "PGDATABASE": known.database}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    bare = sqlalchemy.URL.create(known.drivername, known.username, known.password)
    uri = bare.render_as_string(hide_password=False)
    assert identity_of(Server(uri)) == connect(Server(uri)).identity == parse_address(postgres).identity


@pytest.mark.postgres
def test_a_service_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "none.conf"))
    with pytest.raises(CouldNotVerify, match=r"could not read the database postgresql:///: service file .* not found"):
        connect(Server("postgresql://?service=nowhere"))


@pytest.mark.timeout(60)  # libpq itself waits for ever
@pytest.mark.parametrize("said", [in_environment, in_service_file])
def test_a_port_that_never_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[str, Path, pytest.MonkeyPatch], str]
) -> None:
    monkeypatch.setattr("registry_audit.registry.database._CONNECT_SECONDS", "2")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = said(f"postgresql://nobody@127.0.0.1:{mute.getsockname()[1]}/none", tmp_path, monkeypatch)
        with pytest.raises(CouldNotVerify, match="timeout expired"):
            connect(Server(uri))


@pytest.mark.postgres
@pytest.mark.parametrize("wanted", ["read-write", "primary", "any"])
def test_a_server_that_can_be_written_to_may_be_asked_for(postgres: str, wanted: str) -> None:
    assert models_in(f"{postgres}?target_session_attrs={wanted}") == ["of-all"]


LOCKS = {
    "postgres": ("BEGIN", "LOCK TABLE experiments, registered_models IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
    "mariadb": ("SELECT 1", "LOCK TABLES experiments WRITE, registered_models WRITE", "UNLOCK TABLES"),
}


@pytest.mark.parametrize("kind", [pytest.param("postgres", marks=pytest.mark.postgres), "mariadb"])
def test_a_lock_is_not_waited_for_without_end(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    url = request.getfixturevalue(kind)
    monkeypatch.setattr("registry_audit.registry.database._LOCK_SECONDS", 1)
    before, lock, after = LOCKS[kind]
    already = connect(Server(url))
    with connected(url) as other:
        other.exec_driver_sql(before)
        other.exec_driver_sql(lock)
        for ask in (lambda: connect(Server(url)), lambda: list_versions(already)):
            with pytest.raises(CouldNotVerify, match="does another program hold a lock on it"):
                ask()
        other.exec_driver_sql(after)
    assert models_in(url) == ["of-all"]


@contextmanager
def reader(url: str, denied: str) -> Iterator[str]:
    """The address for a user who may read every table but one."""
    tables = sqlalchemy.inspect(sqlalchemy.create_engine(url, poolclass=NullPool)).get_table_names()
    allowed = [table for table in tables if table != denied]
    known, name = sqlalchemy.make_url(url), f"registry_audit_{secrets.token_hex(6)}"
    if known.get_backend_name() == "postgresql":
        execute(url, f"CREATE ROLE {name} LOGIN", *(f"GRANT SELECT ON {table} TO {name}" for table in allowed))
        drop = (f"DROP OWNED BY {name}", f"DROP ROLE {name}")
    else:
        user = f"{name}@'%%'"
        execute(url, f"CREATE USER {user}", *(f"GRANT SELECT ON `{table}` TO {user}" for table in allowed))
        drop = (f"DROP USER {user}",)
    try:
        yield known.set(username=name).render_as_string(hide_password=False)
    finally:
        execute(url, *drop)


def test_a_table_that_is_not_shown_is_granted_and_not_upgraded(mariadb: str) -> None:
    """MLflow takes it for a database that it should migrate."""
    said = "does not show every table of MLflow to its user: grant that one SELECT"
    with reader(mariadb, "webhooks") as uri, pytest.raises(UsageError, match=said):
        models_in(uri)


@pytest.mark.postgres
@pytest.mark.parametrize("denied", ["experiments", "model_version_tags", "registered_model_tags"])
def test_a_privilege_that_is_missing_is_named_and_is_no_bad_request(postgres: str, denied: str) -> None:
    said = f"permission denied for table {denied}; grant its user SELECT"
    with reader(postgres, denied) as uri, pytest.raises(CouldNotVerify, match=said):
        models_in(uri)


@pytest.mark.parametrize("kind", [pytest.param("postgres", marks=pytest.mark.postgres), "mariadb"])
def test_a_parameter_that_the_driver_does_not_know_is_named(request: pytest.FixtureRequest, kind: str) -> None:
    with pytest.raises(UsageError, match=r"nonsense.*; leave that parameter out of the address"):
        connect(Server(f"{request.getfixturevalue(kind)}?nonsense=1"))


def test_the_first_connection_is_encrypted_as_mlflows_own_are(mariadb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This MariaDB has no TLS."""
    monkeypatch.setenv("MLFLOW_MYSQL_SSL_CA", requests.certs.where())
    with pytest.raises(CouldNotVerify, match=r"could not read the database .*SSL"):
        connect(Server(mariadb))


@pytest.mark.parametrize("asked", [Number("1"), Alias("champion"), Latest(), Stage("None")], ids=str)
def test_a_name_in_other_capitals_is_no_model_though_the_database_finds_it(mariadb: str, asked: Selector) -> None:
    connection = connect(Server(mariadb))
    assert find_version(connection, "of-all", asked).label == "of-all/1"
    with pytest.raises(NotFound, match=r"no registered model 'OF-all' in .*; did you mean 'of-all'"):
        find_version(connection, "OF-all", asked)
    with pytest.raises(NotFound):
        require_model(connection, "OF-all")
