"""Servers and environment of all tests. Each server starts with the first test that wants it."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import warm
from support.auditing import Auditor
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.postgres import postgres_database
from support.s3 import S3Endpoint, s3_server
from support.servers import MlflowServer, mlflow_server, sqlite_store

# How long an example takes says something of the machine, not of the product.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_SIGN_IN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_GLOBAL_URIS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_FOREIGN_PREFIXES = ("MLFLOW_", "AWS_", "DATABRICKS_", "REGISTRY_AUDIT_")
_TEST_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "NETRC": os.devnull,  # it would outrank the credentials of a URI
    "REGISTRY_AUDIT_LEDGER": "none",  # tests of the ledger name theirs
}


@pytest.hookimpl(optionalhook=True)  # environments of the ends of the range have no xdist
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: half of the time a test waits for a server."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "numprocesses", None):  # its workers share what programs are forked from
        warm.start()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In parallel the files that take longest come first, or the last of them is waited for alone.

    Those against a Prefect server take longest, then those against other servers, and unit tests fill what is left.
    In a folder those with most tests come first. Within a file the order stays random.
    """
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: (_turn_of(item.path), -tests[item.path], item.path))


def _turn_of(file: Path) -> int:
    folder = file.relative_to(Path(__file__).parent).parts[0]
    return {"orchestration": 0, "unit": 2}.get(folder, 1)


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the machine's own set-up reaches a test, and a request that fails fails soon."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or whatever is started here would not stop either
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith(_FOREIGN_PREFIXES)]:
        patch.delenv(name)
    for name, value in _TEST_ENVIRONMENT.items():
        patch.setenv(name, value)
    patch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)
    # Tests audit what they wrote a moment ago; what a file's youth means has a test of its own.
    patch.setattr("registry_audit.stores.local._YOUNG_NS", 0)
    patch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path_factory.mktemp("home")))
    # Interrupted audits stay there, and each audit looks at those of all others.
    patch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def no_global_uris(clean_environment: None) -> Iterator[None]:
    """Two servers in one process are kept apart only while nobody sets MLflow's process-wide URIs."""
    yield
    for name in _SIGN_IN:  # a flow puts there what Secret blocks hold, for as long as its process lives
        os.environ.pop(name, None)
    set_in_environment = [name for name in _GLOBAL_URIS if os.environ.pop(name, None)]
    assert not set_in_environment, f"the test or the product set {set_in_environment}"
    for module, attribute in (
        ("mlflow.tracking._tracking_service.utils", "_tracking_uri"),
        ("mlflow.tracking._model_registry.utils", "_registry_uri"),
    ):
        # Only where it was imported: most tests never need MLflow, which takes a second to import.
        if module in sys.modules:
            assert getattr(sys.modules[module], attribute) is None, f"{module}.{attribute} was set"


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Endpoint]:
    """An S3-compatible endpoint; `s3_environment` points the clients of a test at it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture
def s3_environment(s3_endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> S3Endpoint:
    for name, value in s3_endpoint.environment.items():
        monkeypatch.setenv(name, value)
    return s3_endpoint


@pytest.fixture(scope="session")
def mlflow_a(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow-a")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_b(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow-b")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_s3(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: S3Endpoint) -> Iterator[MlflowServer]:
    """A server between the clients and a bucket that only the server has the keys of."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow-s3"), artifacts="s3-proxied", s3=s3_endpoint) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow-postgres"), backend="postgres") as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server with basic authentication; its `uri` is the administrator's."""
    if find_spec("flask_wtf") is None:
        reason = "MLflow's basic-auth app needs Flask-WTF, which is not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with mlflow_server(tmp_path_factory.mktemp("mlflow-auth"), basic_auth=True) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_local(tmp_path_factory: pytest.TempPathFactory) -> MlflowServer:
    """No server: an SQLite database and a directory of artifacts."""
    return sqlite_store(tmp_path_factory.mktemp("mlflow-local"))


@pytest.fixture(scope="session")
def mlflow_s3_direct(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: S3Endpoint) -> MlflowServer:
    """No server: an SQLite database and a bucket. Its clients need `s3_environment`."""
    return sqlite_store(tmp_path_factory.mktemp("mlflow-s3-direct"), artifacts="s3-direct", s3=s3_endpoint)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database."""
    with postgres_database() as url:
        yield url


@pytest.fixture
def proxy_a(mlflow_a: MlflowServer) -> Iterator[FaultyProxy]:
    """A proxy in front of `mlflow_a` that does what the test tells it to."""
    with faulty_proxy(mlflow_a.uri) as proxy:
        yield proxy


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    """`registry-audit audit`: `audit(uri, "--model", name)` in this process, `audit.program(...)` in another.

    Without a ledger, unless the test names one.
    """
    monkeypatch.setenv("REGISTRY_AUDIT_LEDGER", "none")
    auditor = Auditor(tmp_path)
    monkeypatch.chdir(auditor.working_directory)
    return auditor
