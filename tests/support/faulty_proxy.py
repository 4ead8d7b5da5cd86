"""A reverse proxy between a client and an MLflow server that misbehaves when told to.

    with faulty_proxy(server.uri) as proxy:
        rule = proxy.fault(faults.truncated("original"), path=DOWNLOADS, times=1)
        ...  # the client uses proxy.uri
        assert rule.hits == 1

Without a matching rule it passes requests and answers on unchanged.
"""

import http.client
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

from support.loopback import Quiet

# Regular expressions for `path`; they are searched in the request's target, query included.
LISTINGS = r"/mlflow-artifacts/artifacts(\?|$)"
DOWNLOADS = r"/mlflow-artifacts/artifacts/."
API = r"/api/\d\.\d/mlflow/"

_UPSTREAM_SECONDS = 60
# Of one connection only; the proxy writes its own.
_HOP_BY_HOP = ("connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding")
# The client's own framing is kept out of the way: a compressed answer could not be damaged byte by byte.
# A client's date may be signed.
_NOT_FORWARDED = (*(name for name in _HOP_BY_HOP if name != "date"), "accept-encoding")

Framing = Literal["length", "chunked"]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str  # path and query, still encoded
    headers: Mapping[str, str]
    body: bytes
    faulty: bool  # a rule dealt with it
    connection: int = 0  # the client's port: equal for requests that share a connection


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    framing: Framing = "length"


Fault = Callable[["Exchange"], None]


@dataclass(slots=True)
class Rule:
    fault: Fault
    path: re.Pattern[str]
    method: re.Pattern[str]
    times: int | None  # None: always
    hits: int = 0

    def takes(self, method: str, target: str) -> bool:
        left = self.times is None or self.hits < self.times
        return left and bool(self.method.fullmatch(method)) and bool(self.path.search(target))


@dataclass(slots=True)
class FaultyProxy:
    uri: str
    upstream: tuple[str, int]
    requests: list[Request] = field(default_factory=list)  # in the order of their arrival
    errors: list[BaseException] = field(default_factory=list)  # the proxy's own; there should be none
    closing: threading.Event = field(default_factory=threading.Event)
    in_flight: int = 0
    most_in_flight: int = 0  # at any one moment, from the request's arrival to the answer's last byte
    _rules: list[Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, fault: Fault, *, path: str = "", method: str = ".*", times: int | None = None) -> Rule:
        """Answer the next `times` matching requests (None: all of them) with `fault`; the oldest rule goes first."""
        rule = Rule(fault, re.compile(path), re.compile(method), times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget the rules and the recorded requests."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()
            self.most_in_flight = self.in_flight

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            with self._lock:
                self.in_flight -= 1

    def take(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, connection: int = 0
    ) -> Fault | None:
        """Record a request and count it against the rule that it falls under, if any."""
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(method, target)), None)
            if rule:
                rule.hits += 1
            self.requests.append(Request(method, target, headers, body, rule is not None, connection))
            return rule.fault if rule else None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the means to answer it, rightly or wrongly."""

    proxy: FaultyProxy
    handler: BaseHTTPRequestHandler
    body: bytes

    @property
    def target(self) -> str:
        return self.handler.path

    def forward(self) -> Response:
        """What the server answers."""
        connection = http.client.HTTPConnection(*self.proxy.upstream, timeout=_UPSTREAM_SECONDS)
        headers = {name: value for name, value in self.handler.headers.items() if name.lower() not in _NOT_FORWARDED}
        try:
            connection.request(self.handler.command, self.target, body=self.body or None, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP)
        return Response(answer.status, body, kept, "chunked" if answer.chunked else "length")

    def send(self, response: Response) -> None:
        """A whole and well-framed answer."""
        if response.framing == "chunked":
            self.send_head(response, ("Transfer-Encoding", "chunked"))
            self.send_chunk(response.body)
            self.write(b"0\r\n\r\n")
        else:
            self.send_head(response, ("Content-Length", str(len(response.body))))
            self.write(response.body)

    def send_head(self, response: Response, *more: tuple[str, str]) -> None:
        self.handler.send_response(response.status)
        for name, value in (*response.headers, *more):
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def send_chunk(self, body: bytes) -> None:
        if body:  # an empty one would mean the end
            self.write(b"%x\r\n%b\r\n" % (len(body), body))

    def write(self, body: bytes) -> None:
        if self.handler.command != "HEAD":
            self.handler.wfile.write(body)

    def close(self) -> None:
        """End the connection in good order after this answer, whatever was promised."""
        self.handler.close_connection = True

    def reset(self) -> None:
        """End the connection the hard way: the client sees "connection reset by peer"."""
        self.handler.close_connection = True
        connection: socket.socket = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())


class _Handler(Quiet, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; together with delayed ACKs that costs 40 ms
    server: "_Server"

    def handle_any(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.send_error(411)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        port = self.client_address[1]
        fault = self.server.proxy.take(self.command, self.path, dict(self.headers.items()), body, port)
        exchange = Exchange(self.server.proxy, self, body)
        with self.server.proxy.under_way():
            if fault:
                fault(exchange)
            else:
                exchange.send(exchange.forward())

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  # names of the base class


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for them, so nothing of one test runs into the next
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy: FaultyProxy
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # a client that gave up is no error here
            self.proxy.errors.append(error)

    def end_connections(self) -> None:
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # ended meanwhile


@contextmanager
def faulty_proxy(upstream_uri: str) -> Iterator[FaultyProxy]:
    """A proxy in front of the server at `upstream_uri`, whose credentials, if any, it does not pass on."""
    upstream = urlsplit(upstream_uri)
    assert upstream.hostname and upstream.port, upstream_uri
    server = _Server()
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}", (upstream.hostname, upstream.port))
    server.proxy = proxy
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="faulty-proxy")
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        thread.join()
        server.end_connections()
        server.server_close()
    assert not proxy.errors, proxy.errors
