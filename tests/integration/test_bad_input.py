"""Whatever a person types or a registry holds: an exit status and a sentence, never a crash and never a false pass."""

import sqlite3
import unicodedata
from pathlib import Path

import pytest
from support.auditing import Audited, Auditor
from support.registry import Registry
from support.servers import MlflowServer

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
PASSES = {"match", "same_storage", "equivalent"}


def _one_line(audited: Audited, *statuses: int) -> str:
    assert audited.exit_status in statuses, (audited.exit_status, audited.stderr)
    assert audited.stdout == ""
    (line,) = audited.stderr.splitlines()
    assert "Traceback" not in line
    assert "internal error" not in line
    return line


def _is_printable(text: str) -> None:
    bad = {char for char in text if char != "\n" and char != "\t" and unicodedata.category(char) in ("Cc", "Cf", "Cs")}
    assert not bad, [hex(ord(char)) for char in bad]


# ---- options


@pytest.mark.parametrize(
    "uri",
    [
        "",
        " ",
        "nonsense",
        "ftp://127.0.0.1/x",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://user:pa:ss@:80",
        "sqlite:///",
        "sqlite:////no/such/mlflow.db",
        "postgresql://nobody@127.0.0.1:1/none",
        "mysql://x",
        "file:///no/such/directory",
        "http://127.0.0.1:1/\x1b[31m",
        "\0",
    ],
)
def test_tracking_uri(audit: Auditor, uri: str) -> None:
    _is_printable(_one_line(audit(uri), USAGE, INCOMPLETE))


def test_no_such_databricks_profile(audit: Auditor) -> None:
    audited = audit.program("databricks://no-such-profile", environment={"DATABRICKS_CONFIG_FILE": "/dev/null"})
    assert "profile" in _one_line(audited, USAGE)


def test_no_tracking_uri(audit: Auditor) -> None:
    """MLflow would quietly make an empty registry of its own here."""
    _one_line(audit(""), USAGE)


def test_no_database_is_made(audit: Auditor, tmp_path: Path) -> None:
    database = tmp_path / "typo.db"
    assert str(database) in _one_line(audit(f"sqlite:///{database}"), USAGE)
    assert not database.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database", b"SQLite format 3\0 and then nothing"],
)
def test_no_database_of_mlflow(audit: Auditor, tmp_path: Path, content: bytes) -> None:
    database = tmp_path / "other.db"
    database.write_bytes(content)
    _one_line(audit(f"sqlite:///{database}"), USAGE, INCOMPLETE)
    assert database.read_bytes() == content, "an auditor writes nothing"


def test_a_database_of_something_else(audit: Auditor, tmp_path: Path) -> None:
    database = tmp_path / "other.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    content = database.read_bytes()
    _one_line(audit(f"sqlite:///{database}"), USAGE, INCOMPLETE)
    assert database.read_bytes() == content, "an auditor writes nothing"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--latest", "0"),
        ("--latest", "x"),
        ("--fail-on", "never"),
        ("--digest", "md5"),
        ("--workers", "0"),
        ("--max-files", "-1"),
        ("--no-such-option",),
        ("argument-too-many",),
        ("--filter", "name LIKE"),
        ("--filter", "no_such_field = 'x'"),
        ("--filter", "name = 'a' OR name = 'b'"),
        ("--model", "there is no such model"),
        ("--audit-id", "../../x"),
    ],
)
def test_options(mlflow_local: MlflowServer, audit: Auditor, arguments: tuple[str, ...]) -> None:
    Registry(mlflow_local).add()
    _one_line(audit(mlflow_local.uri, *arguments), USAGE)


def test_a_glob_that_matches_nothing_is_no_pass(mlflow_local: MlflowServer, audit: Auditor) -> None:
    audited = audit(mlflow_local.uri, "--model", "no-such-*")
    assert (audited.exit_status, audited.rows) == (INCOMPLETE, [])


def test_report_dir_that_cannot_be(mlflow_local: MlflowServer, audit: Auditor, tmp_path: Path) -> None:
    """Said before the work, not after hours of it."""
    (tmp_path / "file").write_text("in the way")
    line = _one_line(audit(mlflow_local.uri, "--report-dir", str(tmp_path / "file" / "below")), USAGE)
    assert "--report-dir" in line


# ---- names and texts of the registry

NAMES = (
    "with space",
    "quote'",
    'double"quote',
    "both'\"quotes",
    "per%20cent",
    "hash#tag",
    "question?mark",
    "ümlaut-é-中文-🙂",
    "e\u0301-decomposed",
    "at@sign",
    "semi;colon, comma",
    "back\\slash",
    "<img src=x onerror=alert(1)>",
    "=HYPERLINK(1)",
    "$(id)`id`",
    "-leading-dash",
    "rtl-\u202egnp.exe",
    "zero\u200bwidth",
    "esc-\x1b[31mred",
    "bell-\a",
    "x" * 200,
)


def test_model_names(mlflow_a: MlflowServer, audit: Auditor) -> None:
    registry = Registry(mlflow_a)
    logged = registry.log_run_model(seed=1)
    for name in NAMES:
        registry.client.create_registered_model(name)
        version = registry.client.create_model_version(name, logged.source, logged.run_id, description=f"about {name}")
        registry.separate_copy(name, str(version.version))
    audited = audit(mlflow_a.uri, *(text for name in NAMES for text in ("--model", _literally(name))))
    assert {row["name"]: row["verdict"] for row in audited.rows} == dict.fromkeys(NAMES, "match")
    assert audited.exit_status == CLEAN
    _is_printable(audited.stdout)
    html = (audited.report_dir / "audit.html").read_text(encoding="utf-8")
    assert "<img src=x onerror" not in html
    for name in NAMES:
        registry.client.delete_registered_model(name)


def _literally(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


FILE_NAMES = (
    "with space.txt",
    "ümlaut-中文-🙂.txt",
    "plus+and&semi;colon:.txt",
    "back\\slash.txt",
    "quote'\".txt",
    "[glob]*.txt",
    ".hidden",
    "-rf",
    "~",
    "n" * 255,
    "/".join(["d"] * 25) + "/deep.txt",
)
# The proxy or MLflow's client would deliver another file for these, with a 200.
NOT_PROXIED = ("q?x.txt", "pct%41.txt", "double%2520.txt", "new\nline.txt", "esc\x1b[31m.txt", "hash#x.txt")


@pytest.mark.parametrize(
    ("store", "verdict", "exit_status"), [("mlflow_local", "match", CLEAN), ("mlflow_a", "unverifiable", INCOMPLETE)]
)
def test_file_names(request: pytest.FixtureRequest, audit: Auditor, store: str, verdict: str, exit_status: int) -> None:
    server: MlflowServer = request.getfixturevalue(store)
    registry, model = Registry(server), Registry.new_name()
    names = {registry.add(model, separate=True): name for name in (*FILE_NAMES, *NOT_PROXIED)}
    for version, name in names.items():
        for location in (version.run_location, version.reg_location):
            with server.artifacts.edit(location) as directory:
                for path in (name, name.replace("%41", "A").partition("?")[0]):
                    (directory / path).parent.mkdir(parents=True, exist_ok=True)
                    (directory / path).write_text("the same on both sides")
    audited = audit(server.uri, "--model", model)
    found = {row["version"]: row["verdict"] for row in audited.rows}
    expected = {each.version: verdict if name in NOT_PROXIED else "match" for each, name in names.items()}
    assert (found, audited.exit_status) == (expected, exit_status)
    _is_printable(audited.stdout)


def test_file_name_that_is_no_text(mlflow_local: MlflowServer, audit: Auditor) -> None:
    """A POSIX name need not be UTF-8; the report must be."""
    version = Registry(mlflow_local).add(separate=True)
    for location in (version.run_location, version.reg_location):
        directory = bytes(mlflow_local.artifacts.path(location))
        Path((directory + b"/latin-\xe9.txt").decode("utf-8", "surrogateescape")).write_text("x")
    audited = audit(mlflow_local.uri, "--model", version.name)
    assert audited.exit_status in (CLEAN, FINDINGS, INCOMPLETE)
    assert "internal error" not in audited.stderr
    assert audited.row["verdict"] in ("match", "unverifiable")


# ---- sources and rows


LOCATIONS = (
    "",
    "/",
    "/etc",
    "/etc/passwd",
    "../../etc",
    "file:///etc",
    "file://other-host/share",
    "mlflow-artifacts:/",
    "mlflow-artifacts:/../../../../etc",
    "mlflow-artifacts:/%2e%2e/%2e%2e/etc",
    "mlflow-artifacts:/nothing/here",
    "mlflow-artifacts://other-host:1/x",
    "http://127.0.0.1:1/x",
    "runs:/",
    "runs:/not-a-run/model",
    "models:/",
    "models:/x",
    "models:/no-such-model/1",
    "models:/no-such-model@alias",
    "models:/m-00000000000000000000000000000000",
    "s3://",
    "dbfs:/x",
    "abfss://c@a.dfs.core.windows.net/x",
    "hdfs://nowhere:1/x",
    "unknown+scheme://x",
    "::::",
    "\x1b[31m",
    "x" * 400,
)


@pytest.mark.timeout(300)
def test_locations(mlflow_a: MlflowServer, audit: Auditor) -> None:
    """Some lead to the whole machine or the whole server, of which 200 directories tell enough."""
    registry, model = Registry(mlflow_a), Registry.new_name()
    home = registry.add(seed=2).run_location
    pairs = [pair for uri in LOCATIONS for pair in ((uri, home), (home, uri), (uri, uri))]
    registry.insert_versions(model, [*pairs, (home, home)])
    audited = audit(mlflow_a.uri, "--model", model, "--max-directories", "200")
    assert audited.exit_status in (FINDINGS, INCOMPLETE), audited.stdout
    found = {int(row["version"]): row["verdict"] for row in audited.rows}
    assert sorted(found) == list(range(1, len(pairs) + 2))
    assert found.pop(len(pairs) + 1) in PASSES
    # Where no download URI is told the server serves the source: nothing is wrong.
    assert {pairs[number - 1] for number, verdict in found.items() if verdict in PASSES} == {(home, "")}
    _is_printable(audited.stdout + audited.stderr)
    registry.client.delete_registered_model(model)  # other tests look at all models of this server


def test_location_that_leads_to_itself(mlflow_a: MlflowServer, audit: Auditor) -> None:
    registry = Registry(mlflow_a)
    version = registry.add()
    circle = f"models:/{version.name}/{version.version}"
    registry.change_row(version.name, version.version, source=circle, storage_location=circle)
    audited = audit(mlflow_a.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")


# ---- MLmodel

_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\xff\xfe\x00",
        b"[]",
        b"7",
        b"flavors:",
        b"flavors: []",
        b"flavors: {}",
        b"a: b: c",
        b"flavors: !!python/object/apply:os.system ['touch /tmp/registry-audit-was-here']",
        b"[" * 1_000,
        f"{_BOMB}flavors: *i\n".encode(),
        b"flavors: &x {x: *x}",
        b"flavors: {python_function: {model_path: gone.pkl}}",
    ],
    ids=lambda content: repr(content[:24]),
)
@pytest.mark.timeout(60)
def test_mlmodel(mlflow_local: MlflowServer, audit: Auditor, content: bytes) -> None:
    registry = Registry(mlflow_local)
    version = registry.add(separate=True)
    for location in (version.run_location, version.reg_location):
        (mlflow_local.artifacts.path(location) / "MLmodel").write_bytes(content)
    audited = audit(mlflow_local.uri, "--model", version.name)
    assert audited.exit_status == FINDINGS
    assert audited.rules == ({"RA007"} if content else {"RA003"}), "an empty MLmodel is none"
    assert not Path("/tmp/registry-audit-was-here").exists()


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? "], ids=repr)
def test_mlmodel_without_bottom(mlflow_local: MlflowServer, audit: Auditor, opening: bytes) -> None:
    """In a process of its own, which it must not take down with it."""
    registry = Registry(mlflow_local)
    version = registry.add()
    (mlflow_local.artifacts.path(version.run_location) / "MLmodel").write_bytes(opening * 200_000)
    audited = audit.program(mlflow_local.uri, "--model", version.name)
    assert (audited.exit_status, audited.rules) == (FINDINGS, {"RA007"})
