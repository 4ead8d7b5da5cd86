"""The open-source server is signed in to as its address says, or else as the environment does."""

from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from support.loopback import HttpServer, Quiet, serving

from registry_audit.net.http import HttpSession
from registry_audit.net.throttle import Throttle
from registry_audit.registry.address import parse_address
from registry_audit.registry.databricks_clients import databricks_of


class Answers(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.signed_in.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.mark.parametrize(
    ("user", "token", "sent"),
    [
        ("", None, None),
        ("", "t0ken", "Bearer t0ken"),
        ("ann:p%40ss@", None, "Basic YW5uOnBAc3M="),
        ("ann:p%40ss@", "t0ken", "Basic YW5uOnBAc3M="),
    ],
)
def test_who_signs_in(monkeypatch: pytest.MonkeyPatch, user: str, token: str | None, sent: str | None) -> None:
    monkeypatch.delenv("MLFLOW_UC_OSS_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("MLFLOW_UC_OSS_TOKEN", token)
    server: Any = HttpServer(("127.0.0.1", 0), Answers)
    server.signed_in = []
    with serving(server):
        address = parse_address(f"uc:http://{user}127.0.0.1:{server.server_port}")
        tracking, http = parse_address("http://127.0.0.1:1"), HttpSession(Throttle(max_requests=1))
        registry = databricks_of(tracking, address, http, None).registry
        assert registry is not None
        assert list(registry.search_registered_models()) == []
    assert (server.signed_in, "ss" in address.shown) == ([sent], False)
    assert address.identity == f"uc:http://127.0.0.1:{server.server_port}"
