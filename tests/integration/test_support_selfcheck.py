"""The instruments of the integration tests, tested themselves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from mlflow import MlflowClient
from mlflow.models import Model
from support import damage, faults, warm
from support.artifacts import read_files
from support.faulty_proxy import API, DOWNLOADS, LISTINGS, FaultyProxy
from support.models import write_model
from support.processes import ServerFailed, server_process, wait_until
from support.registry import Registered, Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

TIMEOUT_SECONDS = 10
STORES = (
    "mlflow_local",
    "mlflow_a",
    pytest.param("mlflow_s3_direct", marks=pytest.mark.slow),
    pytest.param("mlflow_s3", marks=pytest.mark.slow),
    pytest.param("mlflow_postgres", marks=(pytest.mark.postgres, pytest.mark.slow)),
    pytest.param("mlflow_auth", marks=pytest.mark.slow),
)


@pytest.fixture
def server(request: pytest.FixtureRequest, s3_environment: S3Endpoint) -> MlflowServer:
    store: MlflowServer = request.getfixturevalue(request.param)
    return store


# ---- servers and registries


@pytest.mark.parametrize("server", STORES, indirect=True)
def test_a_separate_copy_is_separate(server: MlflowServer) -> None:
    registry = Registry(server)
    version = registry.add(seed=1, separate=True)
    assert registry.root_storage(version.name, version.version) == version.reg_location != version.run_location
    assert registry.client.get_model_version(version.name, version.version).source == version.run_location
    with server.artifacts.edit(version.reg_location) as directory:
        damage.flip_byte(directory)
    run_model, reg_model = (server.artifacts.files(place) for place in (version.run_location, version.reg_location))
    assert list(run_model) == list(reg_model)
    assert [path for path in run_model if run_model[path] != reg_model[path]] == [damage.TOP_FILE]


@pytest.mark.parametrize("server", STORES, indirect=True)
def test_a_logged_model_is_registered_by_its_id(server: MlflowServer) -> None:
    registry = Registry(server)
    logged = registry.log_logged_model(seed=2)
    version = registry.add(logged=logged)
    entity = registry.client.get_model_version(version.name, version.version)
    assert entity.source == f"models:/{logged.model_id}"
    assert registry.root_storage(version.name, version.version) == logged.location
    assert yaml.safe_load(server.artifacts.files(logged.location)["MLmodel"])["model_id"] == logged.model_id


def test_two_servers_have_nothing_in_common(mlflow_a: MlflowServer, mlflow_b: MlflowServer) -> None:
    version = Registry(mlflow_a).add()
    assert not MlflowClient(mlflow_b.uri, mlflow_b.uri).search_registered_models(f"name = '{version.name}'")
    assert mlflow_a.artifacts.files(version.run_location)
    assert not mlflow_b.artifacts.files(version.run_location)


def test_basic_auth_denies(mlflow_auth: MlflowServer) -> None:
    version = Registry(mlflow_auth).add()
    mlflow_auth.add_user("reader", "reader password/1")
    route = f"/api/2.0/mlflow/registered-models/get?name={version.name}"
    reader = mlflow_auth.uri_as("reader", "reader password/1")
    assert requests.get(f"http://{mlflow_auth.host}{route}", timeout=TIMEOUT_SECONDS).status_code == 401
    assert requests.get(reader + route, timeout=TIMEOUT_SECONDS).status_code == 200
    mlflow_auth.deny("registered_model", version.name, "reader")
    assert requests.get(reader + route, timeout=TIMEOUT_SECONDS).status_code == 403


def test_a_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such option; exit 7"]
    environment = {"PATH": "/usr/bin:/bin"}
    started = server_process(
        command, log=tmp_path / "log", ready=lambda: False, environment=environment, directory=tmp_path
    )
    with pytest.raises(ServerFailed, match=r"status 7\n(?s:.*)no such option"), started:
        pass


def test_a_server_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also when that one is killed and can tidy nothing up."""
    pid_file = tmp_path / "pid"
    program = (
        "import os, pathlib, signal\n"
        "from support.processes import server_process\n"
        f"directory = pathlib.Path({str(tmp_path)!r})\n"
        "command = ['sh', '-c', 'echo $$ > pid; exec sleep 1000']\n"
        "settings = {'log': directory / 'log', 'environment': os.environ, 'directory': directory}\n"
        "with server_process(command, ready=(directory / 'pid').exists, **settings):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(damage.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, env=environment)
    assert done.returncode == -signal.SIGKILL
    status = Path(f"/proc/{int(pid_file.read_text())}/stat")
    wait_until(
        lambda: not status.exists() or status.read_text().split()[2] == "Z", timeout_seconds=10, what="it runs on"
    )


def test_a_server_that_was_forked_does_so_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import os, pathlib, signal, sys\n"
        "from support.processes import server_process\n"
        f"directory = pathlib.Path({str(tmp_path)!r})\n"
        "command = [sys.executable, '-m', 'moto.server', '-p', '0']\n"
        "ready = lambda: 'Running on' in (directory / 'log').read_text()\n"
        "settings = {'log': directory / 'log', 'environment': os.environ, 'directory': directory}\n"
        "with server_process(command, ready=ready, **settings) as server:\n"
        "    (directory / 'pid').write_text(str(server.pid))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    warm.shared_directory()  # that of this run
    tests = str(Path(damage.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {tests!r})\n{program}"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    pid = int(pid_file.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_seconds=10, what="it runs on")


# ---- programs that are forked

_SAYS_WHAT_IT_IS = """
import json, os, signal, sys
print(json.dumps([
    os.getcwd(), dict(os.environ), sys.argv, sys.path[0], __name__, sys.stdin.read(), os.getsid(0) == os.getpid(),
    [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
    sys.stdout.encoding, sys.stdout.line_buffering, sys.stderr.line_buffering,
]))
print("on stderr", file=sys.stderr)
raise SystemExit(7)
"""


@pytest.mark.parametrize("session", [False, True])
def test_a_forked_program_is_like_one_from_cold(tmp_path: Path, session: bool) -> None:
    command = [sys.executable, "-c", _SAYS_WHAT_IT_IS, "an argument"]
    own = {"cwd": tmp_path, "env": os.environ | {"OF_ITS_OWN": "x"}, "start_new_session": session}
    said = []
    for start in (warm.Popen, subprocess.Popen):
        imported = {"imported": warm.PROGRAMS} if start is warm.Popen else {}
        pipe = subprocess.PIPE
        process = start(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **imported, **own)
        stdout, stderr = process.communicate("its input", timeout=120)
        said.append((json.loads(stdout), stderr, process.returncode))
    assert said[0] == said[1]
    assert said[0][2] == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_forked_program_ends_with_its_signal(number: signal.Signals) -> None:
    code = "import time; print('it runs', flush=True); time.sleep(1000)"
    with warm.Popen([sys.executable, "-c", code], imported=warm.PROGRAMS, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "it runs\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=60) == -number


def test_a_forked_program_is_waited_for_where_many_files_are_open() -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(1_100):
            stack.enter_context(open(os.devnull))  # noqa: PTH123 - only its number counts
        done = warm.run([sys.executable, "-c", "1"], imported=warm.PROGRAMS, timeout=120)
    assert done.returncode == 0


def test_a_forked_program_that_raises_says_so() -> None:
    done = warm.run(
        [sys.executable, "-c", "1 / 0"], imported=warm.PROGRAMS, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, "ZeroDivisionError" in done.stderr) == (1, True)


# ---- models


def test_models_are_what_mlflow_writes(tmp_path: Path) -> None:
    directory = write_model(tmp_path / "model", seed=3, run_id="r" * 32, files={"data/extra.bin": b"12345"})
    model = Model.load(directory)
    environment = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
    sizes = {path: len(data) for path, data in read_files(directory).items() if path not in environment}
    assert model.run_id == "r" * 32
    assert model.model_size_bytes == sum(sizes.values())
    assert set(sizes) == {"model.pkl", "data/vocabulary.txt", "data/nested/weights.bin", "data/extra.bin"}


def test_models_depend_on_their_seed_alone(tmp_path: Path) -> None:
    one, again, other = (
        read_files(write_model(tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == again
    assert {path for path in one if one[path] != other[path]} >= {"MLmodel", damage.TOP_FILE, damage.NESTED_FILE}


@pytest.mark.parametrize("kind", damage.ALL, ids=lambda kind: kind.__name__)
def test_every_damage_changes_the_model(kind: damage.Damage, tmp_path: Path) -> None:
    directory = write_model(tmp_path / "model", seed=4)
    before = damage.snapshot(directory)
    path = kind(directory)
    after = damage.snapshot(directory)
    assert path in before.keys() | after.keys()
    assert before.get(path) != after.get(path) or path == "."


def test_a_damage_that_changes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_model(tmp_path / "model", seed=5)
    monkeypatch.setattr(damage, "_flip", lambda path: None)
    with pytest.raises(AssertionError, match="flip_byte changed nothing"):
        damage.flip_byte(directory)


# ---- the proxy


@pytest.fixture(scope="module")
def version(mlflow_a: MlflowServer) -> Registered:
    return Registry(mlflow_a).add(seed=6)


@pytest.fixture
def route(version: Registered) -> str:
    return "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def _listing(client: requests.Session, proxy: FaultyProxy, route: str, version: Registered) -> list[str]:
    path = version.run_location.removeprefix("mlflow-artifacts:/")
    answer = client.get(proxy.uri + route, params={"path": path}, timeout=TIMEOUT_SECONDS)
    answer.raise_for_status()
    return [entry["path"] for entry in answer.json().get("files", [])]


def _download(client: requests.Session, proxy: FaultyProxy, route: str, version: Registered) -> requests.Response:
    path = version.run_location.removeprefix("mlflow-artifacts:")
    return client.get(f"{proxy.uri}{route}{path}/{damage.TOP_FILE}", timeout=TIMEOUT_SECONDS)


@pytest.fixture
def content(mlflow_a: MlflowServer, version: Registered) -> bytes:
    return mlflow_a.artifacts.files(version.run_location)[damage.TOP_FILE]


def test_the_proxy_passes_everything_on(
    proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered, content: bytes
) -> None:
    through = MlflowClient(proxy_a.uri, proxy_a.uri)
    assert through.get_model_version(version.name, version.version).source == version.run_location
    assert damage.TOP_FILE in _listing(client, proxy_a, route, version)
    assert _download(client, proxy_a, route, version).content == content
    head = client.head(f"{proxy_a.uri}/health", timeout=TIMEOUT_SECONDS)
    assert head.content == b""
    assert [request.method for request in proxy_a.requests][-3:] == ["GET", "GET", "HEAD"]
    assert not any(request.faulty for request in proxy_a.requests)


@pytest.mark.parametrize("after_bytes", [None, 100])
def test_reset(
    proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered, after_bytes: int | None
) -> None:
    rule = proxy_a.fault(faults.reset(after_bytes=after_bytes), path=DOWNLOADS, times=1)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError), match="reset by peer"):
        _download(client, proxy_a, route, version)
    assert _download(client, proxy_a, route, version).ok, "only once"
    assert rule.hits == 1


@pytest.mark.parametrize("framing", ["corrected", "chunked"])
def test_truncated_without_a_trace(
    proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered, content: bytes, framing: str
) -> None:
    proxy_a.fault(faults.truncated(framing), path=DOWNLOADS)
    answer = _download(client, proxy_a, route, version)
    assert answer.status_code == 200
    assert answer.content == content[: len(content) // 2]
    assert ("Content-Length" in answer.headers) == (framing == "corrected")


@pytest.mark.parametrize("framing", ["original", "chunked-unfinished"])
def test_truncated_visibly(
    proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered, framing: str
) -> None:
    proxy_a.fault(faults.truncated(framing), path=DOWNLOADS)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match=r"IncompleteRead|ended prematurely"):
        _download(client, proxy_a, route, version)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_status(proxy_a: FaultyProxy, client: requests.Session, code: int) -> None:
    rule = proxy_a.fault(faults.status(code, retry_after_seconds=1), path=API, method="GET|POST", times=1)
    target = f"{proxy_a.uri}/api/2.0/mlflow/registered-models/search"
    assert client.put(target, timeout=TIMEOUT_SECONDS).status_code == 405, "another method"
    answer = client.get(target, timeout=TIMEOUT_SECONDS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (code, "1")
    assert client.get(target, timeout=TIMEOUT_SECONDS).status_code == 200
    assert (rule.hits, [request.faulty for request in proxy_a.requests]) == (1, [False, True, False])


def test_login_page(proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered) -> None:
    proxy_a.fault(faults.login_page())
    answer = _download(client, proxy_a, route, version)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_slow_until_released(
    proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered, content: bytes
) -> None:
    release = threading.Event()
    proxy_a.fault(faults.slow(release=release), path=DOWNLOADS)
    path = version.run_location.removeprefix("mlflow-artifacts:")
    with pytest.raises(requests.ReadTimeout):
        client.get(f"{proxy_a.uri}{route}{path}/{damage.TOP_FILE}", timeout=0.2)
    release.set()
    assert _download(client, proxy_a, route, version).content == content


def test_wrong_bytes(
    proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered, content: bytes
) -> None:
    proxy_a.fault(faults.wrong_bytes(), path=DOWNLOADS)
    answer = _download(client, proxy_a, route, version).content
    assert len(answer) == len(content)
    assert sum(one != other for one, other in zip(answer, content, strict=True)) == 1


def test_listings(proxy_a: FaultyProxy, client: requests.Session, route: str, version: Registered) -> None:
    true_names = _listing(client, proxy_a, route, version)
    hostile = list(faults.HOSTILE_NAMES.values())
    for fault, expected in (
        (faults.empty_listing(), []),
        (faults.empty_listing("{}"), []),
        (faults.without_entry("MLmodel"), [name for name in true_names if name != "MLmodel"]),
        (faults.with_entries(*hostile), true_names + hostile),
        (faults.duplicate_entries(), true_names * 2),
        (faults.resized_entries(1), true_names),
        (faults.endless_nesting(), ["deeper"]),
    ):
        proxy_a.clear()
        rule = proxy_a.fault(fault, path=LISTINGS)
        assert _listing(client, proxy_a, route, version) == expected
        assert rule.hits == 1
