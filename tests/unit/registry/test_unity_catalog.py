"""The open-source server is signed in to as its address says, or else as the environment does."""

from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from support.loopback import HttpServer, Quiet, serving

from registry_audit.errors import UsageError
from registry_audit.net.http import HttpSession
from registry_audit.net.throttle import Throttle
from registry_audit.registry.connection import Server, connect
from registry_audit.registry.unity_catalog import OpenSource


class Answers(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.signed_in.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")


class Refuses(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()


@pytest.mark.parametrize(
    ("user", "environment", "own", "by_itself", "sent"),
    [
        ("", None, {}, False, None),
        ("", "t0ken", {}, False, "Bearer t0ken"),
        ("ann:p%40ss@", None, {}, False, "Basic YW5uOnBAc3M="),
        ("ann:p%40ss@", "t0ken", {}, False, "Basic YW5uOnBAc3M="),
        ("", "t0ken", {}, True, None),
        ("ann:p%40ss@", "t0ken", {}, True, "Basic YW5uOnBAc3M="),
        ("", "t0ken", {"token_env": "OWN_TOKEN"}, False, "Bearer own"),
        ("", "t0ken", {"token_env": "OWN_TOKEN"}, True, "Bearer own"),
        ("", "t0ken", {"username_env": "OWN_USER", "password_env": "OWN_PASSWORD"}, True, "Basic YW5uOnBAc3M="),
        ("ann:p%40ss@", "t0ken", {"token_env": "OWN_TOKEN"}, True, "Basic YW5uOnBAc3M="),
    ],
)
def test_who_signs_in(
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    environment: str | None,
    own: dict[str, str],
    by_itself: bool,
    sent: str | None,
) -> None:
    monkeypatch.delenv("MLFLOW_UC_OSS_TOKEN", raising=False)
    if environment is not None:
        monkeypatch.setenv("MLFLOW_UC_OSS_TOKEN", environment)
    for name, value in {"OWN_TOKEN": "own", "OWN_USER": "ann", "OWN_PASSWORD": "p@ss"}.items():
        monkeypatch.setenv(name, value)
    server: Any = HttpServer(("127.0.0.1", 0), Answers)
    server.signed_in = []
    with serving(server):
        uri = f"uc:http://{user}127.0.0.1:{server.server_port}"
        connection = connect(Server("http://127.0.0.1:1", uri, registry_by_itself=by_itself, **own))
        assert list(connection.registry.search_registered_models()) == []
    assert (server.signed_in, "ss" in connection.registry_address.shown) == ([sent], False)
    assert connection.identity == f"uc:http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({}, "set MLFLOW_UC_OSS_TOKEN"),
        ({"by_itself": True}, "where its address is configured"),
        ({"token": "own"}, "where its address is configured"),
    ],
)
def test_a_refusal_names_the_credentials_that_are_used(settings: dict[str, Any], way_out: str) -> None:
    server = HttpServer(("127.0.0.1", 0), Refuses)
    with serving(server), pytest.raises(UsageError, match=way_out):
        http = HttpSession(Throttle(max_requests=1))
        OpenSource(f"http://127.0.0.1:{server.server_port}", "uc:", http, **settings).search_registered_models()
