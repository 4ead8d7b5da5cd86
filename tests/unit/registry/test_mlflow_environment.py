"""What MLflow's own client makes of an environment, and what we make of it without importing MLflow, are the same."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow import environment_variables
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.tracking.request_header.registry import resolve_request_headers
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.uri import append_to_uri_path

from registry_audit.errors import UsageError
from registry_audit.registry import mlflow_environment, resolve, runs

_TEXTS = ("USERNAME", "PASSWORD", "TOKEN", "AUTH", "CLIENT_CERT_PATH", "SERVER_CERT_PATH")
_FLAGS = ("AWS_SIGV4", "INSECURE_TLS")
_PARTS = (
    "username",
    "password",
    "token",
    "aws_sigv4",
    "auth",
    "ignore_tls_verification",
    "client_cert_path",
    "server_cert_path",
    "verify",
)
_ENVIRONMENTS = st.fixed_dictionaries(
    {},
    optional={
        **{f"MLFLOW_TRACKING_{name}": st.sampled_from(("", "a", "b c")) for name in _TEXTS},
        **{f"MLFLOW_TRACKING_{name}": st.sampled_from(("", "true", "FALSE", "1", "0", "yes")) for name in _FLAGS},
    },
)
_FILES = st.sampled_from(
    (
        None,
        "",
        "[other]\nmlflow_tracking_username = x\n",
        "[mlflow]\nmlflow_tracking_username = alice\n",
        "[mlflow]\nmlflow_tracking_username = alice\nMLFLOW_TRACKING_PASSWORD = pass\n",
        "[mlflow]\nmlflow_tracking_password = 100%%\nother = 100%\n",
        "[mlflow]\nmlflow_tracking_password = 100%\n",
        "mlflow_tracking_password = secret\n",
        "[mlflow]\nmlflow_tracking_username = a\nmlflow_tracking_username = b\n",
    )
)


@given(environment=_ENVIRONMENTS, file=_FILES)
def test_signing_in_and_trust_are_those_of_mlflow(
    environment: dict[str, str], file: str | None, tmp_home: Path
) -> None:
    credentials = tmp_home / ".mlflow" / "credentials"
    credentials.unlink(missing_ok=True)
    if file is not None:
        credentials.parent.mkdir(exist_ok=True)
        credentials.write_text(file, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_home))
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            theirs: Any = get_default_host_creds("http://127.0.0.1")
        except Exception:
            with pytest.raises(UsageError) as refused:
                mlflow_environment.default_host_creds()
            assert "100%" not in str(refused.value) and "secret" not in str(refused.value)
            return
        ours = mlflow_environment.default_host_creds()
    assert {part: getattr(ours, part) for part in _PARTS} == {part: getattr(theirs, part) for part in _PARTS}


@pytest.fixture(scope="module")
def tmp_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_the_headers_are_those_of_mlflow_with_and_without_it() -> None:
    """An older MLflow may leave the second one out, which no server asks for."""
    code = (
        "import sys\n"
        "from registry_audit.registry.mlflow_environment import request_headers\n"
        "print(sorted(request_headers().items()), 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    alone = {"User-Agent": f"mlflow-python-client/{mlflow.__version__}", "X-MLflow-Client-Version": mlflow.__version__}
    assert done.stdout.strip() == f"{sorted(alone.items())} False"
    assert resolve_request_headers().items() <= alone.items()
    assert mlflow_environment.request_headers() == resolve_request_headers()


def test_a_plugin_s_headers_are_asked_for_of_mlflow(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin-1.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n", encoding="utf-8")
    (plugin / "entry_points.txt").write_text(
        "[mlflow.request_header_provider]\nx = plugin:Provider\n", encoding="utf-8"
    )
    (tmp_path / "plugin.py").write_text(
        "class Provider:\n"
        "    def in_context(self): return True\n"
        "    def request_headers(self): return {'X-Plugin': 'yes'}\n",
        encoding="utf-8",
    )
    code = (
        "from registry_audit.registry.mlflow_environment import request_headers; print(request_headers()['X-Plugin'])"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert done.stdout == "yes\n"


def test_the_version_is_that_of_mlflow() -> None:
    assert mlflow_environment.mlflow_version() == mlflow.__version__


@pytest.mark.parametrize(
    ("value", "found"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)]
)
def test_a_flag(value: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mlflow_environment.flag("MLFLOW_S3_IGNORE_TLS")
    monkeypatch.setenv("MLFLOW_S3_IGNORE_TLS", value)
    assert mlflow_environment.flag("MLFLOW_S3_IGNORE_TLS") is found


_WORDS = st.text("ab1._-=:%/?# ", max_size=6)


@example(location="file:/a", path="b")
@example(location="file:///a/..", path="../b")
@example(location="s3://b/.", path="./c")
@given(
    location=st.builds(
        "{}{}{}".format, st.sampled_from(("", "s3://bucket", "mlflow-artifacts:", "file://")), _WORDS, _WORDS
    ),
    path=_WORDS,
)
def test_what_is_put_together_without_mlflow_is_what_mlflow_puts_together(location: str, path: str) -> None:
    if runs._PLAIN_LOCATION.fullmatch(location) and runs._PLAIN_PATH.fullmatch(path):
        assert runs._below(location, path) == append_to_uri_path(location, path)


@pytest.mark.parametrize(
    "location", ["/a/b", "s3://b/1/x", "mlflow-artifacts:/1/x/artifacts", "http://h:1/a", "file:///a"]
)
def test_locations_of_every_day_are_put_together_without_mlflow(location: str) -> None:
    assert runs._below(location, "model") == f"{location}/model" == append_to_uri_path(location, "model")


@given(st.builds("runs:/{}{}".format, _WORDS, _WORDS))
def test_what_is_taken_apart_without_mlflow_is_what_mlflow_takes_apart(uri: str) -> None:
    if plain := resolve._PLAIN_RUNS.fullmatch(uri):
        assert RunsArtifactRepository.parse_runs_uri(uri) == plain.groups()


_OF_SOME_RELEASES = ("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", "MLFLOW_S3_EXPECTED_BUCKET_OWNER")


@pytest.mark.skipif(
    not all(hasattr(environment_variables, name) for name in _OF_SOME_RELEASES), reason="this MLflow is an older one"
)
def test_this_mlflow_knows_the_variables_that_older_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(_OF_SOME_RELEASES, ("true", "123"), strict=True):
        monkeypatch.setenv(name, value)
    assert mlflow_environment.asks_unity_catalog_natively()
    assert mlflow_environment.expected_bucket_owner() == "123"


def test_an_older_one_does_not_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _OF_SOME_RELEASES:
        monkeypatch.setenv(name, "true")
        monkeypatch.delattr(environment_variables, name, raising=False)
    assert not mlflow_environment.asks_unity_catalog_natively()
    assert mlflow_environment.expected_bucket_owner() is None


def test_a_file_store_is_opened_as_this_mlflow_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "MLFLOW_ALLOW_FILE_STORE"
    monkeypatch.delenv(name, raising=False)
    if hasattr(environment_variables, name):
        assert not mlflow_environment.file_stores_are_allowed()
        monkeypatch.setenv(name, "true")
        assert mlflow_environment.file_stores_are_allowed()
        monkeypatch.setenv(name, "false")
    monkeypatch.delattr(environment_variables, name, raising=False)  # as before it came
    assert mlflow_environment.file_stores_are_allowed()


_SEVERAL_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from registry_audit.registry import mlflow_environment, resolve, runs, translate

def headers():
    while "mlflow" not in sys.modules:
        pass
    assert mlflow_environment.request_headers()["User-Agent"]

def error():
    while "mlflow" not in sys.modules:
        pass
    try:
        with translate.translated("read it"):
            raise ValueError("as it is")
    except Exception as found:
        assert "as it is" in str(found), found

ways = [
    headers,
    error,
    lambda: resolve._split_runs("runs:/" + "0" * 32 + "/a%41"),
    lambda: runs._below("s3://bucket/a b?c", "model"),
]
barrier = Barrier(4 * len(ways))

def at_once(way):
    barrier.wait()
    way()

with ThreadPoolExecutor(barrier.parties) as pool:
    list(pool.map(at_once, ways * 4))
"""


def test_threads_that_need_mlflow_at_the_same_moment_all_get_the_whole_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SEVERAL_AT_ONCE], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


_WAITING = ("importing_mlflow()", "_IMPORTING")


def test_every_import_of_mlflow_waits_for_those_of_other_threads() -> None:
    product = Path(__file__).parents[3] / "registry_audit"
    found, alone = 0, list[str]()
    for file in sorted(product.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        waiting = {
            line
            for node in ast.walk(tree)
            if (isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr) in _WAITING)
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            for line in range(node.lineno, node.end_lineno + 1)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names = {node.module or ""}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            if any(name.partition(".")[0] == "mlflow" for name in names):
                found += 1
                if node.lineno not in waiting:
                    alone.append(f"{file.relative_to(product)}:{node.lineno}")
    assert found > 15
    assert [place for place in alone if not place.startswith("demo/")] == []
