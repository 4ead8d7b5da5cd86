"""One request is one try, its body comes whole or is an error, and no stranger hears who asks."""

import gzip
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

import psutil
import pytest
from support.loopback import HttpServer, Quiet, serving
from support.strangers import self_signed, stranger

from registry_audit.errors import CouldNotVerify, Refused, Stopped, Transient, UsageError
from registry_audit.net.http import HttpSession
from registry_audit.net.origin import NOBODY, Origin, origin_of
from registry_audit.net.rest import Rest
from registry_audit.net.retry import tries
from registry_audit.net.throttle import Throttle

CONTENT = secrets.token_bytes(3 << 20)
PACKED = gzip.compress(CONTENT, mtime=0)
SIGNED = {"Authorization": "Bearer secret", "X-Plugin": "secret", "Cookie": "secret", "Accept": "a/b"}


class Answers(Quiet, BaseHTTPRequestHandler):
    """/body/LENGTH/GIVEN: promises so many bytes (or, with '-', does not say) and gives so many.

    /packed: an object that is stored with gzip, and says so. /json/TEXT: that text.

    /to/STATUS?URL: redirects there. /status/CODES: answers each of them once, then 200. Everything else: `{}`.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with server.lock:
            server.seen.append((self.command, self.path, dict(self.headers)))
            asked = sum(path == self.path for _, path, _ in server.seen)
        first, _, rest = self.path.strip("/").partition("/")
        if first == "to":
            code, _, url = rest.partition("?")
            self._answer(int(code), b"moved", {"Location": unquote(url)})
        elif first == "status":
            codes = [code for code in rest.split(",") if code]
            self._answer(int(codes[asked - 1]) if asked <= len(codes) else 200, b"{}", {"Retry-After": "0"})
        elif first == "body":
            length, given = rest.split("/")
            body = CONTENT[: int(given)]
            if length == "-":
                self._answer(200, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), {"Transfer-Encoding": "chunked"})
            else:
                self._answer(200, body, {"Content-Length": length})
                self.close_connection = int(length) != len(body)
        elif first == "json":
            self._answer(200, unquote(rest).encode(), {})
        elif first == "packed":
            self._answer(200, PACKED, {"Content-Encoding": "gzip"})
        elif first == "page":
            self._answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html; charset=utf-8"})
        elif first == "hang":
            server.hanging.set()
            server.over.wait(20)
            self.close_connection = True
        else:
            self._answer(200, b"{}", {})

    do_POST = do_GET  # noqa: N815 - as the base class calls it

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not {"Content-Length", "Transfer-Encoding"} & headers.keys():
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Site(HttpServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.seen, self.lock = list[tuple[str, str, dict[str, str]]](), threading.Lock()
        self.hanging, self.over = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def servers() -> Iterator[tuple[Site, Site]]:
    one, other = Site(), Site()
    with serving(one), serving(other):
        yield one, other
        for server in (one, other):
            server.over.set()


@pytest.fixture
def http() -> HttpSession:
    return HttpSession(Throttle())


def get(http: HttpSession, url: str, trusted: Origin | None = None, **more: Any) -> tuple[int, bytes]:
    trusted = origin_of(url) if trusted is None else trusted
    with http.request("GET", url, headers=SIGNED, trusted=trusted, doing="ask", **more) as answer:
        return answer.status, b"".join(answer.chunks())


def test_what_is_kept_is_closed_at_the_end_and_opened_anew_for_who_asks_again(
    http: HttpSession, servers: tuple[Site, Site]
) -> None:
    port = origin_of(servers[0].url).port

    def to_server() -> list[str]:
        return [one.status for one in psutil.Process().net_connections() if one.raddr and one.raddr.port == port]

    for _ in range(2):
        get(http, f"{servers[0].url}/x")
        assert to_server() == [psutil.CONN_ESTABLISHED]
        http.close()
        assert to_server() == []


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("said", [True, False], ids=["length", "chunked"])
def test_a_body_comes_whole(http: HttpSession, servers: tuple[Site, Site], size: int, said: bool) -> None:
    for _ in range(3):
        assert get(http, f"{servers[0].url}/body/{size if said else '-'}/{size}") == (200, CONTENT[:size])


@pytest.mark.parametrize("given", [0, 1, 1 << 20, (1 << 20) + 1])
def test_a_body_that_ends_early_is_an_error(http: HttpSession, servers: tuple[Site, Site], given: int) -> None:
    with pytest.raises(Exception, match=r"(?i)incomplete"):
        get(http, f"{servers[0].url}/body/{(1 << 20) + 2}/{given}")
    assert get(http, f"{servers[0].url}/body/7/7") == (200, CONTENT[:7])


def test_the_encoding_of_an_object_is_a_part_of_it(http: HttpSession, servers: tuple[Site, Site]) -> None:
    """A gateway may encode an answer; a bucket says how what it keeps is encoded."""
    assert get(http, f"{servers[0].url}/packed") == (200, CONTENT)
    assert get(http, f"{servers[0].url}/packed", as_stored=True) == (200, PACKED)
    rest = Rest(servers[1].url, lambda *_: SIGNED, http)
    with rest.signed(f"{servers[0].url}/packed", {}, doing="read") as answer:
        assert b"".join(answer.chunks()) == PACKED


@pytest.mark.parametrize(
    "said",
    ['{"a": [1], "a": []}', '{"a": {"source": "x", "run_id": "r", "source": "x"}}', '{"a": [{"b": 1, "\\u0062": 2}]}'],
)
def test_an_answer_that_says_one_thing_twice_is_not_believed(
    http: HttpSession, servers: tuple[Site, Site], said: str
) -> None:
    """MLflow's own client takes the second, others the first: what one of them audits is not what the other loads."""
    rest = Rest(servers[0].url, lambda *_: {}, http)
    with pytest.raises(CouldNotVerify, match="twice of one thing"):
        rest.get(f"/json/{quote(said)}", doing="ask")
    once = {"a": {"b": 1}, "b": 1}
    assert rest.get(f"/json/{quote(json.dumps(once))}", doing="ask") == once


def test_half_a_character_is_of_its_row_alone(http: HttpSession, servers: tuple[Site, Site]) -> None:
    """The text becomes an object, which makes the row doubtful. Anywhere else the whole answer is not believed."""
    rest = Rest(servers[0].url, lambda *_: {}, http)
    rows = [{"name": "healthy", "source": "s"}, {"name": "x", "source": "\ud800", "tags": [{"key": "\udfff"}]}]
    for key in ("model_versions", "registered_models"):
        got = rest.get(f"/json/{quote(json.dumps({key: rows}))}", doing="list")
        assert got == {key: [rows[0], {"name": "x", "source": {}, "tags": [{"key": {}}]}]}
    for whole in ({"artifact_uri": "\ud800"}, {"files": rows}, {"model_versions": [], "next_page_token": "\ud800"}):
        with pytest.raises(CouldNotVerify, match="half a character"):
            rest.get(f"/json/{quote(json.dumps(whole))}", doing="ask")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_stranger_says_nothing_of_us(
    http: HttpSession, servers: tuple[Site, Site], status: int
) -> None:
    ours, theirs = servers
    assert get(http, f"{ours.url}/to/{status}?{theirs.url}/x") == (200, b"{}")
    assert get(http, f"{ours.url}/to/{status}?/x") == (200, b"{}")
    assert get(http, f"{ours.url}/to/{status}?{theirs.url}/to/{status}?{ours.url}/back")[0] == 200
    for _, path, headers in theirs.seen:
        assert "secret" not in json.dumps(headers), path
    assert all(headers["Authorization"] == "Bearer secret" for _, _, headers in ours.seen)


@pytest.mark.parametrize(
    ("status", "asked"), [(301, "POST"), (302, "POST"), (303, "GET"), (307, "POST"), (308, "POST")]
)
def test_a_question_that_is_sent_to_another_address_of_the_server_stays_that_question(
    http: HttpSession, servers: tuple[Site, Site], status: int, asked: str
) -> None:
    """And no stranger is told what was asked, unless the server insists."""
    methods = []
    for to in servers:
        url = f"{servers[0].url}/to/{status}?{to.url}/x"
        with http.request("POST", url, headers=SIGNED, trusted=origin_of(url), doing="ask", body=b"{}") as answer:
            assert answer.status == 200
        methods.append(to.seen[-1][0])
    assert methods == [asked, "POST" if status in (307, 308) else "GET"]


@pytest.mark.parametrize("page", ["page", "status/401,401,401,401", "status/403,403,403,403"])
def test_a_redirect_to_a_sign_in_names_both_addresses(http: HttpSession, servers: tuple[Site, Site], page: str) -> None:
    ours, theirs = servers
    asked = Rest(ours.url, lambda *_: SIGNED, http, redirects=True)
    both = f"could not ask: {ours.url} redirects to {theirs.url}, which wants a sign-in and is told none: "
    with pytest.raises(UsageError, match=both):
        asked.get(f"/to/302?{theirs.url}/{page}", doing="ask")
    with pytest.raises(UsageError, match=both), asked.content(f"/to/302?{theirs.url}/{page}", doing="ask"):
        pass
    with asked.content(f"/to/302?{ours.url}/page", doing="ask") as answer:  # a file of the server's own
        assert answer.body("ask") == b"<html>Sign in</html>"


def test_a_page_in_the_place_of_an_answer_names_who_sent_it(
    http: HttpSession, servers: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ours = servers[0].url
    with pytest.raises(Transient, match=f"the answer of {ours} is not a JSON object: is it a login page.* Then give"):
        Rest(ours, lambda *_: SIGNED, http).get("/page", doing="ask")


def test_nobody_is_trusted_where_no_credentials_were_given(http: HttpSession, servers: tuple[Site, Site]) -> None:
    get(http, f"{servers[0].url}/x", NOBODY)
    ((_, _, headers),) = servers[0].seen
    assert "secret" not in json.dumps(headers)


def test_a_redirect_is_followed_only_where_it_may_be(http: HttpSession, servers: tuple[Site, Site]) -> None:
    url = f"{servers[0].url}/to/302?{servers[1].url}/x"
    assert get(http, url, redirects=False)[0] == 302
    assert servers[1].seen == []


def test_redirects_end(http: HttpSession, servers: tuple[Site, Site]) -> None:
    url = f"{servers[0].url}/to/302?/to/302?/to/302?/to/302?/to/302?/to/302?/to/302?/x"
    with pytest.raises(CouldNotVerify, match="redirects without end"):
        get(http, url)


@pytest.mark.parametrize("location", ["http://[::1", "//[", "http://a]b/"])
def test_a_redirect_to_what_is_no_address(http: HttpSession, servers: tuple[Site, Site], location: str) -> None:
    with pytest.raises(CouldNotVerify, match=r"could not ask: .* (redirects to no address|is no host)"):
        get(http, f"{servers[0].url}/to/302?{quote(location, safe='')}")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "http://127.0.0.1:1/", "http://[broken/"])
def test_what_cannot_be_asked_says_so(http: HttpSession, url: str) -> None:
    with pytest.raises(CouldNotVerify, match="could not ask"):
        get(http, url, NOBODY)


@pytest.mark.parametrize("token", ["s3cr3t!\n", "a\r\nX: s3cr3t", "s3cr3t\u20ac"])
def test_a_header_that_cannot_be_sent_is_not_shown(http: HttpSession, servers: tuple[Site, Site], token: str) -> None:
    headers, trusted = {"Authorization": f"Bearer {token}"}, origin_of(servers[0].url)
    asked = http.request("GET", servers[0].url, headers=headers, trusted=trusted, doing="ask")
    with pytest.raises(UsageError, match="no HTTP header can carry") as raised, asked:
        pass
    assert "s3cr3t" not in str(raised.value)
    assert servers[0].seen == []


NO_HOSTS = ("a..b", f"{'x' * 64}.example", "é..b", ".a")


@pytest.mark.parametrize("host", NO_HOSTS)
def test_a_host_that_no_resolver_can_be_asked_for_is_named(http: HttpSession, host: str) -> None:
    with pytest.raises(CouldNotVerify, match=f"{host} is no host that can be looked up"):
        get(http, f"http://{host}/x")


@pytest.mark.parametrize("scheme", ["http://", "https://", "socks5://", ""])
@pytest.mark.parametrize("host", NO_HOSTS)
def test_a_proxy_that_no_resolver_can_be_asked_for_is_what_is_wrong(
    http: HttpSession, scheme: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"{scheme}{host}:9")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(CouldNotVerify, match="the proxy that the environment names"):
        get(http, "http://h.example/x")


@pytest.mark.parametrize("proxy", ["http://alice:s3/cr3t@127.0.0.1:9", "http://alice:s3cr3t@[bad", "alice:s3#cr3t@h"])
def test_nothing_is_shown_of_a_proxy_that_is_no_url(
    http: HttpSession, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(CouldNotVerify, match="the proxy that the environment names") as raised:
        get(http, "http://models.invalid/")
    assert "s3" not in str(raised.value)
    assert "alice" not in str(raised.value)


def rest(http: HttpSession, server: Site) -> Rest:
    return Rest(server.url, lambda *_: {}, http)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("no_pauses")
def test_a_question_is_tried_again_as_often_as_said_and_no_oftener(
    http: HttpSession, servers: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    for retries in ("0", "1", "3", "nonsense"):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
        servers[0].seen.clear()
        with pytest.raises(Transient, match="500"):
            rest(http, servers[0]).get(f"/status/{','.join(['500'] * 99)}", doing="ask")
        assert len(servers[0].seen) == tries()
        assert rest(http, servers[0]).get(f"/status/{','.join(['502'] * (tries() - 1))}", doing="ask") == {}


@pytest.mark.parametrize(
    "number", ["0", "000", "100000000000", "9" * 5_000, "-1", "1e9", ""], ids=lambda text: text[:12]
)
def test_a_number_of_any_size_in_the_environment_is_no_obstacle(
    http: HttpSession, servers: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", number)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", number)
    assert rest(http, servers[0]).get("/status/200", doing="ask") == {}
    assert tries() >= 1


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_names_a_time_is_asked_more_often(
    http: HttpSession, servers: tuple[Site, Site], status: int
) -> None:
    assert rest(http, servers[0]).get(f"/status/{','.join([str(status)] * 7)}", doing="ask") == {}
    servers[0].seen.clear()
    with pytest.raises(Refused, match=str(status)):
        rest(http, servers[0]).get(f"/status/{','.join([str(status)] * 99)}", doing="ask")
    assert len(servers[0].seen) == 8


def test_stopping_ends_the_wait_for_an_answer(http: HttpSession, servers: tuple[Site, Site]) -> None:
    ended = list[BaseException]()

    def ask() -> None:
        try:
            get(http, f"{servers[0].url}/hang")
        except BaseException as error:
            ended.append(error)

    thread = Thread(target=ask)
    thread.start()
    assert servers[0].hanging.wait(10)
    began = time.monotonic()
    http.throttle.stop()
    thread.join(30)
    assert time.monotonic() - began < 30
    assert [type(error) for error in ended] == [Stopped]


def test_a_server_without_tls_is_told_from_one_that_is_down(http: HttpSession, servers: tuple[Site, Site]) -> None:
    """No other try would change it, so that it is no passing trouble."""
    with pytest.raises(CouldNotVerify, match="does not use TLS: should the address begin with http://") as refused:
        get(http, servers[0].url.replace("http:", "https:"))
    assert not isinstance(refused.value, Transient)


def test_a_certificate_that_nobody_trusts_is_said(http: HttpSession, tmp_path: Path) -> None:
    with (
        stranger(certificate=self_signed(tmp_path)) as server,
        pytest.raises(CouldNotVerify, match=r"certificate that is not trusted .*REQUESTS_CA_BUNDLE") as refused,
    ):
        get(http, server.url)
    assert not isinstance(refused.value, Transient)
