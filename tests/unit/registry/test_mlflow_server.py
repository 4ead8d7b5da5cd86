"""A workspace is asked for only where there are workspaces; a wrong address says what to write in its place."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from support.loopback import HttpServer, Quiet, serving

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.net.http import HttpSession
from registry_audit.net.origin import NOBODY
from registry_audit.net.throttle import Throttle
from registry_audit.refs import Number
from registry_audit.registry.connection import Connection, Server, unasked_workspaces
from registry_audit.registry.mlflow_api import Registry
from registry_audit.registry.mlflow_server import MlflowServer
from registry_audit.registry.queries import ask_alias, ask_version
from registry_audit.registry.versions import find_version


class Answers(Quiet, BaseHTTPRequestHandler):
    """A server that says of itself what the test lets it say; every other answer is an empty one."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path.partition("?")[0], self.headers.get("X-MLFLOW-WORKSPACE")))
        is_info = self.path.endswith(server.answers_info_at)
        unknown = server.is_elsewhere or (is_info and server.info is None)
        self.send_response(404 if unknown else 500 if is_info and "error_code" in server.info else 200)
        self.end_headers()
        self.wfile.write(json.dumps(server.info if is_info and server.info is not None else {}).encode())


@pytest.fixture
def server() -> Iterator[Any]:
    server: Any = HttpServer(("127.0.0.1", 0), Answers)
    server.asked, server.info, server.is_elsewhere, server.answers_info_at = [], None, False, "/server-info"
    with serving(server):
        yield server


def registry(server: Any, workspace: str | None) -> Registry:
    http = HttpSession(Throttle(max_requests=1))
    return Registry(MlflowServer(f"http://127.0.0.1:{server.server_port}", http, workspace=workspace))


DISABLED = {"error_code": "FEATURE_DISABLED", "message": "workspaces are not enabled"}  # MLflow 3.10


@pytest.mark.parametrize("info", [None, {}, {"workspaces_enabled": False}, {"workspaces_enabled": "true"}, DISABLED])
def test_a_server_without_workspaces_is_asked_nothing_for_one(server: Any, info: Any) -> None:
    server.info = info
    with pytest.raises(UsageError, match="workspace 'team' cannot be used"):
        registry(server, "team").get_model_version_download_uri("Wine", "1")
    assert [path for path, _ in server.asked] == ["/api/3.0/mlflow/server-info"]


def test_every_question_names_the_workspace(server: Any) -> None:
    server.info = {"workspaces_enabled": True}
    asked = registry(server, "team")
    for _ in range(2):
        asked.get_model_version_download_uri("Wine", "1")
    assert len(server.asked) == 3
    assert {workspace for _, workspace in server.asked} == {"team"}


def test_without_a_workspace_nobody_is_asked_for_one(server: Any) -> None:
    registry(server, None).get_model_version_download_uri("Wine", "1")
    assert [workspace for _, workspace in server.asked] == [None]


@pytest.mark.parametrize("alias", [None, "champion"])
def test_an_address_without_the_path_of_mlflow_is_not_taken_for_an_old_server(server: Any, alias: str | None) -> None:
    server.is_elsewhere = True
    connection = Connection(Server(f"http://127.0.0.1:{server.server_port}"))
    with pytest.raises(CouldNotVerify, match="is the address whole, as http://HOST/PATH") as refused:
        ask_version(connection, "Wine", "1", "it") if alias is None else ask_alias(connection, "Wine", alias, "it")
    assert "MLflow 2.3" not in refused.value.message


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        (
            "htp://localhost:5000",
            "MLflow reads no registry at htp:; did you mean 'http'? An address begins with http://",
        ),
        ("s3://bucket/mlflow", "MLflow reads no registry at s3:. An address begins with http://"),
        ("mlflow.example", "or write http:// before the name of a server"),
        ("//mlflow.example:5000", "or write http:// before the name of a server"),
        (__file__, f"is a file: for an SQLite database write sqlite:///{__file__}"),
    ],
)
def test_what_is_no_address_of_a_registry_says_what_to_write(uri: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        Connection(Server(uri))
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ({"workspaces": [{"name": "team-b"}, {"name": "default"}, {"name": "team-a"}]}, ["team-a", "team-b"]),
        ({}, []),
        ({"workspaces": "nonsense"}, []),
        (DISABLED, []),
        (None, []),
    ],
)
def test_workspaces_that_nobody_named_are_told_of(
    server: Any, answer: Any, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.info, server.answers_info_at = answer, "/workspaces"
    connection = Connection(Server(f"http://127.0.0.1:{server.server_port}"))
    assert unasked_workspaces(connection) == names
    monkeypatch.setenv("MLFLOW_WORKSPACE", "default")
    assert unasked_workspaces(connection) == []
    assert len(server.asked) == 1


def test_a_port_that_never_answers_is_left_after_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.registry.mlflow_server.FIRST_ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connection = Connection(Server(f"http://127.0.0.1:{mute.getsockname()[1]}"))
        began = time.monotonic()
        with pytest.raises(Transient, match=r"it does not answer in time; is it the port of an MLflow server\?"):
            find_version(connection, "Wine", Number("1"))
    assert time.monotonic() - began < 30


def test_a_port_that_hangs_up_is_asked_whether_it_is_the_right_one() -> None:
    """Another protocol's, such as that of a database."""

    class HangsUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = Connection(Server(f"http://127.0.0.1:{server.server_address[1]}"))
        with pytest.raises(Transient, match=r"could not reach .*; is it the port of an MLflow server\?"):
            find_version(connection, "Wine", Number("1"))
        server.shutdown()


@pytest.mark.parametrize("ask", ["get_model_version_download_uri", "get_model_version"])
def test_an_unknown_workspace_is_no_unknown_version(started_without: Any, ask: str) -> None:
    started_without.says = json.dumps(
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Workspace 'team' not found"}
    )
    started_without.status = 404
    server = MlflowServer(
        f"http://127.0.0.1:{started_without.server_port}", HttpSession(Throttle(max_requests=1)), workspace="team"
    )
    server._knows_workspaces = True
    with pytest.raises(UsageError, match="the server has no workspace 'team': look at MLFLOW_WORKSPACE"):
        getattr(Registry(server), ask)("Wine", "1")


class StartedWithout(Quiet, BaseHTTPRequestHandler):
    """MLflow's answer to what its options leave out."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        self.send_response(200 if self.path == "/version" else server.status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(server.says.encode())


@pytest.fixture
def started_without() -> Iterator[Any]:
    server: Any = HttpServer(("127.0.0.1", 0), StartedWithout)
    server.asked, server.status = [], 503
    with serving(server):
        yield server


def test_an_artifact_server_is_no_tracking_server(started_without: Any) -> None:
    started_without.says = (
        "Endpoint: /api/2.0/mlflow/model-versions/get disabled due to the mlflow server running in `--artifacts-only` "
        "mode. To enable tracking server functionality, run `mlflow server` without `--artifacts-only`"
    )
    connection = Connection(Server(f"http://127.0.0.1:{started_without.server_port}"))
    with pytest.raises(UsageError, match="runs with --artifacts-only and has no registry: give the address"):
        find_version(connection, "Wine", Number("1"))
    assert len([path for path in started_without.asked if "model-versions" in path]) == 1


@pytest.mark.parametrize("how", ["with `--no-serve-artifacts`", "without `--serve-artifacts`"], ids=["2.0", "1.30"])
@pytest.mark.parametrize("is_the_trackings", [True, False])
def test_a_server_that_serves_no_artifacts_is_asked_once(
    started_without: Any, is_the_trackings: bool, how: str
) -> None:
    """And not as one that is overloaded, with a pause before each of thousands of requests."""
    started_without.says = (
        f"Endpoint: /api/2.0/mlflow-artifacts/artifacts disabled due to the mlflow server running {how}. To enable "
        "artifacts server functionality, run `mlflow server` with `--serve-artifacts`"
    )
    address = f"http://127.0.0.1:{started_without.server_port}"
    proxy = Connection(Server(address if is_the_trackings else "http://127.0.0.1:1")).proxy(address)
    for number in range(20):
        with pytest.raises(CouldNotVerify, match=rf"could not list {number}: .*: start it with --serve-artifacts"):
            proxy.get("/api/2.0/mlflow-artifacts/artifacts", doing=f"list {number}")
    assert len(started_without.asked) == 1


def test_what_cannot_be_reached_is_named() -> None:
    """It may be another address than the tracking server's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    http = HttpSession(Throttle(max_requests=1))
    with (
        pytest.raises(Transient, match=f"{address}: nothing listens there"),
        http.request("GET", address, headers={}, trusted=NOBODY, doing="find version 1"),
    ):
        pass
