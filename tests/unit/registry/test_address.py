"""Addresses: one identity for every spelling, and no secret in what is shown."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry_audit.errors import UsageError
from registry_audit.redact import redact
from registry_audit.registry.address import (
    AddressKind,
    are_two_registries,
    has_workspaces,
    parse_address,
    postgres_identity,
    registry_beside,
    registry_identity,
    shown_address,
)

SAME = [
    ("http://h/mlflow", "http://h/mlflow/"),
    ("http://h/mlflow", "http://h//mlflow"),
    ("http://h/mlflow", "http://h/./x/../mlflow"),
    ("http://h/a%20b", "http://h/a b"),
    ("http://h", "HTTP://H:80/"),
    ("http://h", "http://user:password@h./#/models"),
    ("https://h", "https://h:443"),
    ("http://127.0.0.1:5000", "http://127.1:5000"),
    ("http://[::1]:5000", "http://[0:0:0:0:0:0:0:1]:5000"),
    ("http://bücher.example:5000", "http://xn--bcher-kva.example:5000"),
    ("http://bücher.example:5000", "http://BÜCHER.example.:5000"),
    ("postgres://u:p@db/mlflow", "postgresql+psycopg2://db/mlflow"),
    ("mariadb+pymysql://db/m", "mysql://db:3306/m"),
    ("postgresql://u:p@db/mlflow", "postgresql+psycopg2://v@DB:5432/mlflow"),
    ("mysql://db/m", "mysql+pymysql://db:3306/m"),
    ("sqlite:////x/m.db", "sqlite+pysqlite:////x/y/../m.db"),
    ("file:///x/mlruns", "/x/mlruns"),
    ("postgresql://db/m", "postgresql://db/m?sslmode=require&connect_timeout=3&application_name=x"),
    ("databricks", "databricks://DEFAULT"),
    ("databricks-uc", "databricks-uc://DEFAULT"),
    (
        "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BDATABASE%3Dm%3BUID%3Da%3BPWD%3Db",
        "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BDATABASE%3Dm%3BUID%3Dc%3BPWD%3Dd",
    ),
]
OTHER = [
    ("http://h", "https://h"),
    ("http://h", "http://h:5000"),
    ("http://h/a", "http://h/b"),
    ("http://localhost:5000", "http://127.0.0.1:5000"),
    ("postgresql://db/a", "postgresql://db/b"),
    ("postgresql://db/a", "postgresql://db:5433/a"),
    ("postgresql:///a?host=/one", "postgresql:///a?host=/two"),
    ("postgresql://db/m?options=-csearch_path%3Da", "postgresql://db/m?options=-csearch_path%3Db"),
    ("mysql://db/m?unix_socket=/a", "mysql://db/m?unix_socket=/b"),
    ("sqlite:////x/m.db", "sqlite:////x/n.db"),
    ("http://h/a%2Fb", "http://h/a/b"),
    ("databricks://one", "databricks://two"),
    ("databricks://one", "databricks-uc://one"),
    ("uc:http://h:8080", "uc:http://h:8081"),
    (
        "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BDATABASE%3Dm",
        "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BDATABASE%3Dn",
    ),
]


@pytest.mark.parametrize(("one", "another"), SAME)
def test_spellings_of_one_address_are_one(one: str, another: str) -> None:
    assert parse_address(one).identity == parse_address(another).identity


@pytest.mark.parametrize(("one", "another"), OTHER)
def test_two_addresses_are_two(one: str, another: str) -> None:
    assert parse_address(one).identity != parse_address(another).identity


def test_an_identity_is_an_address_of_itself() -> None:
    """A ledger's keys are read back as addresses."""
    for address in (*sum(SAME, ()), *sum(OTHER, ())):
        identity = parse_address(address).identity
        if "#" not in identity:
            assert parse_address(identity).identity == identity


@pytest.mark.parametrize(
    ("workspace", "ends"), [(None, ""), ("", ""), ("default", ""), ("team-a", "#workspace=team-a")]
)
def test_the_workspace_is_part_of_a_server(workspace: str | None, ends: str) -> None:
    assert registry_identity(parse_address("http://h:5000"), workspace) == f"http://h:5000{ends}"
    assert registry_identity(parse_address("databricks://p"), workspace) == "databricks://p"


@pytest.mark.parametrize(
    ("asked", "owner", "found"),
    [
        ("http://a:5000", "http://a:5000", "http://r"),
        ("http://A.:5000/", " http://a:5000", "http://r"),
        ("http://a:5000", None, "http://r"),
        ("http://a:5000", "", "http://r"),
        ("http://a:5000", "http://b:5000", None),
        ("http://a:5000", "http://a:5001", None),
        ("http://a:5000", "databricks", None),
        ("databricks", "databricks://DEFAULT", "http://r"),
        ("databricks://one", "databricks://two", None),
    ],
)
def test_a_configured_registry_is_that_of_the_configured_server(
    asked: str, owner: str | None, found: str | None
) -> None:
    assert registry_beside(asked, owner, "http://r") == found
    assert registry_beside(asked, owner, None) is None


def test_a_database_has_workspaces_where_mlflow_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("sqlite:////x/m.db")
    assert registry_identity(address, "team-a") == "sqlite:////x/m.db"
    assert not has_workspaces(address)
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    assert registry_identity(address, "team-a") == "sqlite:////x/m.db#workspace=team-a"
    assert has_workspaces(address)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("localhost:5000", "write http://localhost:5000"),
        ("localhost:5000#/models", "write http://localhost:5000$"),
        ("http://:80", "no host"),
        ("http:/localhost:5000", "write http://HOST:PORT"),
        ("http://h:99999", "Port out of range"),
        ("file://other/mlruns", "another machine"),
        ("", "--tracking-uri"),
        ("user:hunter2@h:5000", "write http:// before"),
        ("user:12345/hunter2@h:5000", "write http:// before"),
        ("host:5000/?token=hunter2", "write http://host:5000/"),
        ("//user:hunter2@h:5000", "write http: before"),
        ("databricks://user:hunter2@p", "names a profile"),
        ('"http://user:hunter2@h:5000"', "leave out quotes"),
        ("'http://user:hunter2@h:5000'", "leave out quotes"),
        ("http ://user:hunter2@h:5000", "check its first characters"),
        ("https//user:hunter2@h:5000", "check its first characters"),
        ("/user:x/hunter2@h:5000", "check its first characters"),
        ('"sqlite:////x/hunter2.db"', "leave out quotes"),
        ("http://user:hunter2@a..b:5000", "names a host that cannot be looked up"),
        ("uc:http://user:hunter2@a..b:5000", "names a host that cannot be looked up"),
        (f"https://user:hunter2@{'x' * 64}.example", "names a host that cannot be looked up"),
        ("mysql+pymysql://user:hunter2@a..b/db", "names a host that cannot be looked up"),
        ("postgresql://user:hunter2@h,a..b/db", "names a host that cannot be looked up"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_way_out(address: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        parse_address(address)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in shown_address(address)


def test_a_browsers_address_is_the_servers() -> None:
    address = parse_address("http://h:5000/mlflow/#/models/Wine")
    assert (address.kind, address.uri) == (AddressKind.SERVER, "http://h:5000/mlflow/")


# Nothing that could be a part of the rest of an address by chance.
secrets = st.text(st.sampled_from("SECRETxyz0123456789/@:'\"#?&=;% ü"), min_size=6).map(lambda text: f"qQ{text}Qq")
SCHEMES = ["http", "https", "postgresql", "postgresql+psycopg2", "mysql+pymysql", "mssql+pyodbc", "plugin"]


@given(st.sampled_from(SCHEMES), secrets, secrets, st.booleans())
def test_no_secret_is_shown(scheme: str, user: str, password: str, quoted: bool) -> None:
    """Whatever the parser accepts: user, password, and parameters, quoted or as they are."""
    written = (quote(user, safe=""), quote(password, safe="")) if quoted else (user, password)
    query = f"password={quote(password, safe='')}&odbc_connect={quote('PWD=' + password, safe='')}"
    for address in (
        f"{scheme}://{written[0]}:{written[1]}@host.example/db",
        f"{scheme}://{written[1]}@host.example/db",
        f"{scheme}://{written[1]}:@host.example/db",
        f"{scheme}://host.example/db?{query}",
    ):
        try:
            parsed = parse_address(address)
        except UsageError as error:
            _holds_nothing(str(error), user, password)
            continue
        assume(parsed.identity.partition("#")[0].find("host.example") >= 0)
        for shown in (parsed.shown, repr(parsed), parsed.identity, shown_address(address)):
            _holds_nothing(shown, user, password)
        if quoted or "@host" not in address:
            _holds_nothing(redact(f"could not connect to {address}: refused"), user, password)


@given(secrets)
def test_a_password_that_was_opened_is_known_in_any_message(password: str) -> None:
    """SQLAlchemy reads a password with slashes and blanks as it stands, and its drivers repeat it."""
    address = f"postgresql://auditor:{password}@db.example/mlflow"
    try:
        parse_address(address)
    except UsageError:
        return
    _holds_nothing(redact(f"no connection to {address} (retried)"), password)


def _holds_nothing(shown: str, *hidden: str) -> None:
    for secret in hidden:
        for form in (secret, quote(secret), quote(secret, safe="")):
            assert form not in shown


@pytest.mark.parametrize(
    ("told", "schema", "identity"),
    [
        ({"host": "DB.", "port": "5432", "dbname": "m"}, "public", "postgresql://db/m"),
        ({"host": "db", "port": "6432", "dbname": "m"}, "team a&b", "postgresql://db:6432/m#schema=team%20a%26b"),
        ({"dbname": "m"}, "public", "postgresql://localhost/m"),
        ({"host": "/run/other", "dbname": "m"}, "public", "postgresql://%2Frun%2Fother/m"),
        ({"hostaddr": "10.0.0.5", "dbname": "m"}, "public", "postgresql://10.0.0.5/m"),
        ({"host": "db", "hostaddr": "10.0.0.5", "dbname": "m"}, "public", "postgresql://db/m#hostaddr=10.0.0.5"),
        ({"host": "a,b", "port": "1,2", "dbname": "m"}, "public", "postgresql://a,b:1,2/m"),
    ],
)
def test_a_registry_in_postgresql_is_known_by_all_that_selects_it(
    told: dict[str, str], schema: str, identity: str
) -> None:
    assert postgres_identity(told, schema) == identity


@pytest.mark.parametrize(
    ("one", "other", "are_two"),
    [
        ("databricks://a.example/workspace/1", "databricks://a.example/workspace/2", True),
        ("databricks://a.example/workspace/1", "databricks://b.example/workspace/1", False),
        ("databricks://a.example/workspace/1", "databricks://b.example/workspace/unknown", False),
        ("databricks-uc://metastore/aa-1", "databricks-uc://metastore/bb-2", True),
        # Their metastore may be one, and they may not ask.
        ("databricks-uc://a.example/workspace/1", "databricks-uc://b.example/workspace/2", False),
        ("databricks-uc://metastore/aa-1", "databricks-uc://b.example/workspace/2", False),
        ("databricks://a.example/workspace/1", "databricks-uc://metastore/2", True),
        ("databricks://a.example/workspace/1", "databricks-uc://a.example/workspace/1", True),
        ("http://a", "http://b", False),
    ],
)
def test_which_addresses_are_surely_two_registries(one: str, other: str, are_two: bool) -> None:
    assert are_two_registries(one, other) is are_two
    assert are_two_registries(other, one) is are_two
