"""HTTP to a tracking server: signed and configured as MLflow does it, polite, and without its cost per request."""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urlsplit

from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import RequestHistory, Retry

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.memory import Where, arriving
from registry_audit.registry.origin import (
    Origin,
    credentials_for,
    may_carry_credentials,
    origin_of,
    without_credentials,
)
from registry_audit.registry.politeness import REFUSALS, InFlight, Politeness, retry_after_seconds, sent_now

if TYPE_CHECKING:
    from requests import Response
    from requests.adapters import HTTPAdapter

_ADVISED_TRIES = 8  # as often a server may name a time to come back at, whatever MLFLOW_HTTP_REQUEST_MAX_RETRIES
_KEPT_REQUESTS, _KEPT_BYTES = 64, 64 << 20  # over one connection
# Answers that MLflow's own request may better: it follows redirects, and asks MLflow's plugins for a token each time.
_NOT_FINAL = (301, 302, 303, 307, 308, 401, 403)
_MAX_ANSWER_BYTES = 256 << 20  # of a page of the registry, all its tags and descriptions in it
_Chunk = TypeVar("_Chunk", bytes, bytes | memoryview)
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux alone has it, and alone needs it


class PoliteRetry(Retry):
    """MLflow's retries, where an audit is asking: what one request is told, the others towards that host heed too.

    For every other use of MLflow in this process it is the class that it extends.
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> "PoliteRetry":
        if sent_now() is not None and response is not None and _advice(response) is not None:
            told = RequestHistory(method, url, None, response.status, None)
            if len(self.history) < _ADVISED_TRIES:
                return self.new(history=(*self.history, told))
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        flight = sent_now()
        if flight is None:
            super().sleep(response)
            return
        seconds = self.get_backoff_time()
        if response is not None and response.status in REFUSALS:
            advised = _advice(response)
            flight.refused(seconds if advised is None else advised)
            seconds = 0
        flight.wait(seconds)


def _advice(response: BaseHTTPResponse) -> float | None:
    return retry_after_seconds(response.headers.get("Retry-After")) if response.status in REFUSALS else None


class PoliteClient:
    """An MLflow client or store whose every call is one polite request to `host`; its attributes are unchanged."""

    def __init__(self, client: Any, politeness: Politeness, host: str) -> None:
        self._client, self._politeness, self._host = client, politeness, host

    def _credentials(self) -> AbstractContextManager[None]:
        """A service that is reached by a name of its own, as Databricks is, knows its own hosts."""
        is_http = self._host.startswith(("http://", "https://"))
        return credentials_for(origin_of(self._host)) if is_http else contextlib.nullcontext()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name.startswith("_") or not callable(attribute):
            return attribute

        @wraps(attribute)
        def politely(*arguments: Any, **named: Any) -> Any:
            with self._politeness.request(self._host) as flight, self._credentials(), flight.sending():
                return attribute(*arguments, **named)

        return politely


class Answer:
    """An answer whose body is still to come."""

    def __init__(self, raw: Any, flight: InFlight) -> None:
        self._raw, self._flight = raw, flight
        shutdown: Callable[[], object] | None = getattr(raw, "shutdown", None)  # urllib3 from 2.3 on
        if shutdown is not None:
            flight.abort_with(shutdown)

    def chunks(self, where: Where | None = None) -> Iterator[bytes | memoryview]:
        """The body; a chunk is never longer than a mebibyte.

        Args:
            where: see `arriving`.
        """
        # The rare gateway that encodes what was asked for as it is.
        encoded = self._raw.headers.get("Content-Encoding", "identity") != "identity"
        yield from accounted(arriving(self._raw, where, encoded=encoded), self._flight)


def accounted(chunks: Iterator[_Chunk], flight: InFlight) -> Iterator[_Chunk]:
    """The body of an answer, as long as it comes in time.

    Raises: CouldNotVerify: it does not, and was broken off.
    """
    flight.answered()
    try:
        for chunk in chunks:
            flight.read(len(chunk))
            yield chunk
    except Exception:
        flight.must_be_in_time()
        raise
    flight.must_be_in_time()  # a connection that is broken off can look like the end of the body


class Wire:
    """GET requests to one server; safe to share between threads."""

    def __init__(self, host_creds: Any, politeness: Politeness, carries: Origin) -> None:
        """
        Args:
            host_creds: where, and how to sign in: see `Connection.host_creds`.
            carries: the one origin that is sent credentials, wherever a redirect leads.
        """
        self._carries = carries
        self.host_creds = host_creds
        self._politeness = politeness
        self._host = host_of(host_creds.host)
        self._again: _Again | None = None

    @contextlib.contextmanager
    def get(self, endpoint: str, params: dict[str, str] | None = None) -> Iterator[Answer]:
        """A successful answer; redirects are followed as MLflow follows them.

        Raises whatever requests or MLflow raise for all others: to be used within `translated`.
        """
        with self._politeness.request(self._host) as flight:
            with credentials_for(self._carries), flight.sending():
                raw = self._sent(endpoint, params)
            try:
                yield Answer(raw, flight)
            finally:
                raw.close()  # an answer that was read to its end has given its connection back already
                raw.release_conn()

    def _sent(self, endpoint: str, params: dict[str, str] | None) -> Any:
        """MLflow puts the first request together; those that follow differ from it by their path only."""
        if self._again is not None:
            raw = self._again.send(endpoint + (f"?{urlencode(params)}" if params else ""))
            if raw is not None:
                return raw
        from mlflow.utils.rest_utils import http_request

        answer: Response = http_request(
            self.host_creds,
            endpoint,
            "GET",
            raise_on_status=False,
            extra_headers={"Accept-Encoding": "identity"},
            params=params,
            stream=True,
        )
        with contextlib.ExitStack() as refused:
            refused.enter_context(answer)
            answer.raise_for_status()
            refused.pop_all()
        creds = self.host_creds
        if not (answer.history or creds.auth or creds.aws_sigv4 or creds.use_databricks_sdk):
            self._again = _again(answer, creds)
        return answer.raw


class _Again:
    """Sends what was sent before to another path of the same server, over the same kept connections."""

    def __init__(self, pool: Any, answer: "Response", origin: str) -> None:
        self._pool, self._origin, self._request = pool, origin, answer.request
        self._base = urlsplit(origin).path
        self._headers: Mapping[str, str] = answer.request.headers.copy()
        self._adapter: HTTPAdapter = answer.connection

    def send(self, target: str) -> BaseHTTPResponse | None:
        """None for an answer that is not final. Raises what requests raises for all others that are no success."""
        from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
        from requests import ConnectionError as RequestError

        try:
            raw: BaseHTTPResponse = self._pool.urlopen(
                "GET",
                self._base + target,
                headers=self._headers,
                retries=self._adapter.max_retries,
                timeout=MLFLOW_HTTP_REQUEST_TIMEOUT.get(),
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise RequestError(error) from error
        if raw.status in _NOT_FINAL:
            raw.close()
            raw.release_conn()
            return None
        if raw.status >= 400:
            request = self._request.copy()
            request.url = self._origin + target
            with self._adapter.build_response(request, raw) as answer:
                answer.raise_for_status()
        return raw


def _again(answer: "Response", host_creds: Any) -> _Again | None:
    """None where there is a proxy between, which wants its requests otherwise."""
    from requests import Session
    from requests.utils import select_proxy

    with Session() as session:  # what the environment says of proxies and certificates
        settings: Any = session.merge_environment_settings(
            answer.url, {}, True, host_creds.verify, host_creds.client_cert_path
        )
    proxies = settings["proxies"]
    if select_proxy(answer.url, proxies):
        return None
    pool = answer.connection.get_connection_with_tls_context(
        answer.request, settings["verify"], proxies, settings["cert"]
    )
    return _Again(pool, answer, host_creds.host.rstrip("/"))


def host_of(uri: str) -> str:
    """What is one server to `Politeness`."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


class _Breakable:
    """A connection on which even the wait for an answer's first byte can be broken off, and that is not kept waiting.

    An MLflow server sends an answer's head, and holds its body back until the head was acknowledged: Linux takes 40 ms
    over that, on a kept connection, unless it is told each time not to.

    Nor is it kept for ever. A server of several processes has each connection answered by one of them; of those that
    come together one process may get all, and would go on answering alone. A new one goes to a process that has time
    for it.
    """

    _answered = _bytes = 0

    @property
    def is_connected(self) -> bool:
        """Whether the pool may use it again."""
        is_worn = self._answered >= _KEPT_REQUESTS or self._bytes >= _KEPT_BYTES
        return not is_worn and super().is_connected  # type: ignore[misc]

    def connect(self) -> None:
        self._answered = self._bytes = 0
        super().connect()  # type: ignore[misc]

    def getresponse(self) -> Any:
        self._answered += 1
        flight, sock = sent_now(), getattr(self, "sock", None)
        # What carries TLS within TLS, to an https proxy, is no socket: it can be neither told nor broken off.
        if isinstance(sock, socket.socket):
            if flight is not None:
                flight.abort_with(partial(sock.shutdown, socket.SHUT_RDWR))
            if _QUICK_ACK is not None:
                sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        response = super().getresponse()  # type: ignore[misc]
        self._bytes += getattr(response, "length_remaining", None) or 0
        return response


class _Bounded:
    """The body of an answer that MLflow reads whole: neither without end, nor a byte now and then."""

    def __init__(self, raw: Any, flight: InFlight) -> None:
        self._raw, self._flight = raw, flight

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, size: int, decode_content: bool | None = None) -> Iterator[bytes]:
        """Raises: CouldNotVerify: it is longer or slower than anything that a registry says."""
        count = 0
        for chunk in accounted(self._raw.stream(size, decode_content=decode_content), self._flight):
            count += len(chunk)
            if count > _MAX_ANSWER_BYTES:
                self._raw.close()
                raise CouldNotVerify(f"the answer is longer than {_MAX_ANSWER_BYTES} bytes")
            yield chunk


def breakable(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """The same pool, of connections that can be broken off when an audit is stopped."""
    connection = type("BreakableConnection", (_Breakable, pool.ConnectionCls), {})
    return type("BreakablePool", (pool,), {"ConnectionCls": connection})


def make_mlflow_polite() -> None:
    """Let MLflow's own requests heed `Politeness`, in this process; without an audit nothing changes."""
    from mlflow.utils import request_utils as module

    request_utils: Any = module
    if request_utils.Retry is PoliteRetry:
        return
    pools = {"http": breakable(HTTPConnectionPool), "https": breakable(HTTPSConnectionPool)}

    class Adapter(module.TCPKeepAliveHTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
            super().init_poolmanager(*arguments, **named)  # type: ignore[no-untyped-call]
            self.poolmanager.pool_classes_by_scheme = pools

        def send(self, request: Any, *arguments: Any, **named: Any) -> Any:
            if not may_carry_credentials(request.url):
                request, named = without_credentials(request), named | {"cert": None}
            answer, flight = super().send(request, *arguments, **named), sent_now()
            if flight is not None and not named.get("stream"):
                answer.raw = _Bounded(answer.raw, flight)
            return answer

    request_utils.Retry, request_utils.TCPKeepAliveHTTPAdapter = PoliteRetry, Adapter
    request_utils._cached_get_request_session.cache_clear()
