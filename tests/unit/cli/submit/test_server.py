"""The Prefect server of `--submit` is asked as Prefect's own client asks it, and one bad answer does not end a run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from support.loopback import HttpServer, Quiet, serving

from registry_audit.cli.doctor_command import _prefect
from registry_audit.cli.submit.server import PrefectServer, ServerSilent
from registry_audit.errors import UsageError
from registry_audit.net.origin import basic_authorization
from registry_audit.verdict import ExitStatus

KEY, PAIR = {"PREFECT_API_KEY": "k"}, {"PREFECT_API_AUTH_STRING": "ann:s"}


@dataclass
class Answers:
    host: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"true"
    signed_in: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}/api"


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """A server, and a ~/.netrc with a sign-in for any host."""
    (tmp_path / "netrc").write_text("default login somebody password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    given = Answers()

    class Answering(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.signed_in.append(self.headers.get("Authorization"))
            self.send_response(given.status if self.path == "/api/health" else 200)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given.body)

    server = HttpServer(("127.0.0.1", 0), Answering)
    with serving(server):
        given.host = f"127.0.0.1:{server.server_port}"
        yield given


def test_no_sign_in_of_netrc_is_sent_even_after_a_redirect(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.status, answers.headers["Location"] = 307, f"http://{answers.host}/elsewhere"
    PrefectServer({"PREFECT_API_URL": answers.url}).must_be_healthy()
    monkeypatch.setenv("PREFECT_API_URL", answers.url)
    assert _prefect().status is ExitStatus.CLEAN
    assert answers.signed_in == [None] * 4


@pytest.mark.parametrize("user", ["", "bob:p%40x@", "bob@", ":p%3Ax@"])
@pytest.mark.parametrize("settings", [{}, KEY, PAIR, KEY | PAIR])
def test_it_signs_in_as_prefects_client_does(answers: Answers, user: str, settings: dict[str, str]) -> None:
    url = f"http://{user}{answers.host}/api"
    PrefectServer({"PREFECT_API_URL": url} | settings).must_be_healthy()
    # `prefect.client.orchestration` puts the pair, else the key, into a header of its client of httpx.
    header = basic_authorization("ann:s") if PAIR.items() <= settings.items() else "Bearer k" if settings else None
    with httpx.Client(base_url=url, headers={"Authorization": header} if header else {}) as client:
        client.get("/health")
    one, other = answers.signed_in
    assert one == other


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Length": "100"}, b"{"),
        ({"Transfer-Encoding": "chunked"}, b"64\r\n{"),
        ({"Content-Encoding": "gzip"}, b"{}"),
    ],
    ids=["short", "chunked", "not packed"],
)
def test_a_body_that_breaks_off_is_a_silence(answers: Answers, headers: dict[str, str], body: bytes) -> None:
    answers.headers, answers.body = headers, body
    with pytest.raises(ServerSilent, match=rf"ask the Prefect server http://{answers.host}/api: the answer broke off"):
        PrefectServer({"PREFECT_API_URL": answers.url}).state("r1")


@pytest.mark.parametrize(
    "url", ["ftp://bob:s3cret@h/api", "nonsense", "http:///api", "http://bob:s3cret@[h/api", "http://a..b/api"]
)
def test_no_address_of_a_server(url: str) -> None:
    with pytest.raises(UsageError, match="PREFECT_API_URL is n") as refused:
        PrefectServer({"PREFECT_API_URL": url})
    assert "s3cret" not in str(refused.value)
