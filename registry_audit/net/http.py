"""Sends HTTP requests, each once: over kept connections, throttled, and cancelled when the audit is stopped.

Connections come from urllib3; proxies, certificates and `NO_PROXY` follow the environment as in `requests`. Nothing is
retried here (see `net.retry`), and other origins are sent nothing that identifies the sender (see `net.origin`).
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from requests import PreparedRequest, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from requests.utils import select_proxy
from urllib3 import Timeout
from urllib3 import exceptions as urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager
from urllib3.response import BaseHTTPResponse
from urllib3.util import create_urllib3_context, parse_url

from registry_audit.errors import AuditError, CouldNotVerify, Transient, UsageError
from registry_audit.net.origin import (
    Origin,
    host_of,
    is_host_name,
    may_carry_credentials,
    origin_of,
    trusted_after,
    urljoin,
    urlsplit,
    without_credentials,
)
from registry_audit.net.retry import FIRST_PAUSE_SECONDS
from registry_audit.net.throttle import REFUSALS, Permit, Throttle, retry_after_seconds, sent_now
from registry_audit.printable import printable
from registry_audit.redact import redact

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0  # between two arrivals, unless MLFLOW_HTTP_REQUEST_TIMEOUT says otherwise
_READ_SECONDS_AT_MOST = 86_400.0  # no socket takes a number of any size
_CHUNK_BYTES = 1 << 20
_MAX_ANSWER_BYTES = 128 << 20
_POOL_SIZE = 64  # further connections are closed after use, not kept
_KEPT_REQUESTS, _KEPT_BYTES = 64, 64 << 20  # the most over one connection
_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # exists only on Linux, and is needed only there
_WRAPPED_AT_MOST = 10
# OpenSSL's X509_V_ERR_..., from PATHLEN_INVALID_FOR_NON_CA to EC_KEY_EXPLICIT_PARAMS
_ASKED_BY_RFC_5280 = range(80, 95)
_NOT_SENT = (
    "a token, a name or a password in the environment holds a character that no HTTP header can carry, for instance a "
    "line break at its end"
)
_NO_PROXY_URL = (
    "the proxy that the environment names for it (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is no URL, or no host that can "
    "be looked up"
)
NOTHING_LISTENS = "nothing listens there; is the port right, and does the server run?"


@dataclass(frozen=True, slots=True)
class Tls:
    """Says how to verify a server's certificate, and which client certificate to show."""

    verify: bool | str = True  # True: as the environment says; or a file or directory of certificates
    client_cert: str | tuple[str, str] | None = None  # a file, or a certificate and its key
    # Whether a certificate must meet every requirement of RFC 5280. Python before 3.13 never checks; boto3 never does.
    strict: bool = True


class Answer:
    """Holds a response: status and headers, and a body that is still to be read."""

    def __init__(self, raw: BaseHTTPResponse, permit: Permit, *, as_stored: bool = False) -> None:
        """
        Args:
            as_stored: whether an encoding is a part of the content, as with objects of a bucket.
        """
        self._raw, self._permit, self._as_stored = raw, permit, as_stored
        self.status, self.headers = raw.status, raw.headers
        self.moved_to = ""  # the host that answered, if a redirect led to one that is sent no credentials
        shutdown = getattr(raw, "shutdown", None)  # urllib3 from 2.3 on
        if shutdown is not None:
            permit.abort_with(shutdown)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body, in pieces of at most a mebibyte.

        Raises:
            CouldNotVerify: the body does not arrive in time, and was cancelled.
            urllib3.exceptions.HTTPError: the connection broke.
        """
        # Some rare gateways encode a body although it was requested unencoded.
        encoded = not self._as_stored and self.headers.get("Content-Encoding", "identity") != "identity"
        yield from _accounted(self._raw.stream(_CHUNK_BYTES, decode_content=encoded), self._permit)

    def body(self, doing: str, at_most: int | None = None) -> bytes:
        """Return the whole body.

        Args:
            at_most: bytes; by default more than any listing has.

        Raises:
            CouldNotVerify: the body is longer.
            Transient: the body broke off.
        """
        found, at_most = bytearray(), at_most or _MAX_ANSWER_BYTES
        try:
            for chunk in self.chunks():
                found += chunk
                if len(found) > at_most:
                    raise CouldNotVerify(f"could not {doing}: the answer is longer than {at_most} bytes")
        except AuditError:
            raise
        except Exception as error:
            raise Transient(f"could not {doing}: the answer broke off ({type(error).__name__})") from error
        return bytes(found)


def _accounted(chunks: Iterator[bytes], permit: Permit) -> Iterator[bytes]:
    permit.answered()
    try:
        for chunk in chunks:
            permit.read(len(chunk))
            yield chunk
    except Exception:
        permit.must_be_in_time()
        raise
    permit.must_be_in_time()  # a cancelled connection can look like the end of the body


class Bounded:
    """Limits the length of a body that a library reads whole, and how slowly it may arrive."""

    def __init__(self, raw: Any, permit: Permit) -> None:
        self._raw, self._permit = raw, permit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, size: int = 1 << 16, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yield the body. Raises: CouldNotVerify: it is longer or slower than any listing."""
        count = 0
        for chunk in _accounted(self._raw.stream(size, decode_content=decode_content), self._permit):
            count += len(chunk)
            if count > _MAX_ANSWER_BYTES:
                self._raw.close()
                raise CouldNotVerify(f"the answer is longer than {_MAX_ANSWER_BYTES} bytes")
            yield chunk


class BoundedAdapter(HTTPAdapter):
    """Bounds the responses in the sessions of object stores' SDKs (see `Bounded`), and follows no redirect.

    The SDKs' libraries follow redirects to any host, with a signature made for it or the credentials of ~/.netrc.
    """

    def send(self, *arguments: Any, **named: Any) -> Any:
        answer, permit = super().send(*arguments, **named), sent_now()
        if answer.status_code in REDIRECTS:
            answer.close()
            raise CouldNotVerify(f"{host_of(answer.url)} redirects the request, and credentials go no further")
        if permit is not None and not named.get("stream"):
            answer.raw = Bounded(answer.raw, permit)
        return answer


class Connections:
    """Keeps connections to any number of servers; safe to share between threads."""

    def __init__(self) -> None:
        self._adapters = {strict: _Adapter(strict=strict) for strict in (True, False)}
        self._routes: dict[tuple[Origin, Tls], Route] = {}

    def route(self, url: str, tls: Tls = Tls()) -> "Route":
        """Return the kept route to a server. It is slow to find proxies and certificates in the environment.

        Raises:
            ValueError: the URL is not a server's.
        """
        key = origin_of(url), tls
        if (known := self._routes.get(key)) is not None:
            return known
        if key[0].scheme not in ("http", "https") or not key[0].host:
            raise ValueError(f"'{printable(redact(url))[:200]}' is no http address")
        if not is_host_name(key[0].host):
            raise ValueError(f"{host_of(url)} is no host that can be looked up")
        with Session() as session:
            settings: Any = session.merge_environment_settings(url, {}, None, tls.verify, tls.client_cert)
        adapter, proxies, request = self._adapters[tls.strict], settings["proxies"], PreparedRequest()
        request.url = f"{url.partition('://')[0]}://{urlsplit(url).netloc.rpartition('@')[2]}/"
        proxy = select_proxy(url, proxies) or ""
        try:
            pool: Any = adapter.get_connection_with_tls_context(request, settings["verify"], proxies, settings["cert"])
            if proxy and not is_host_name(parse_url(proxy).host or ""):
                raise urllib3.LocationValueError("no host")
        except (RequestException, urllib3.HTTPError):  # the text may hold a part of the proxy's password
            raise ValueError(_NO_PROXY_URL if proxy else f"{host_of(url)} is no host") from None
        through_http_proxy = proxy.lower().startswith("http") and key[0].scheme == "http"
        headers = adapter.proxy_headers(proxy) if through_http_proxy else {}
        whole = request.url.removesuffix("/") if through_http_proxy else ""
        return self._routes.setdefault(key, Route(host_of(url), pool, whole, headers))

    def close(self) -> None:
        """Close the kept connections. Later requests open new ones."""
        self._routes = {}
        for adapter in self._adapters.values():
            adapter.close()


@dataclass(frozen=True, slots=True)
class Route:
    """Leads to one server: directly, or through a proxy."""

    host: str
    pool: HTTPConnectionPool
    before_target: str  # the server's URL if a proxy for plain http needs it
    headers: Mapping[str, str]  # for the proxy

    @contextlib.contextmanager
    def answer(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        doing: str,
        permit: Permit,
        body: bytes | None = None,
        answer_seconds: float | None = None,
        as_stored: bool = False,
    ) -> Iterator["Answer"]:
        """Send one request and yield its response, whatever the status; no redirect is followed.

        Args:
            target: path and query.
            as_stored: whether the body is an object of a bucket, and an encoding a part of its content.

        Raises:
            UsageError: a header cannot be sent.
            AuditError: as `HttpSession.request`.
        """
        try:
            with permit.sending():
                raw = self.pool.urlopen(
                    method,
                    self.before_target + target,
                    body=body,
                    headers={"Accept-Encoding": "identity", "Accept": "*/*", **headers, **self.headers},
                    retries=False,
                    timeout=Timeout(connect=_CONNECT_SECONDS, read=_read_seconds(answer_seconds)),
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                )
        except AuditError:
            raise
        except urllib3.LocationValueError as error:
            raise CouldNotVerify(f"could not {doing}: {self.host} is no host that can be looked up") from error
        except ValueError as error:  # the text repeats the header, and so the token in it
            raise UsageError(f"could not {doing}: {_NOT_SENT}") from error
        except (urllib3.HTTPError, OSError) as error:
            permit.must_be_in_time()
            if (no_tls := _tls_problem(error)) is not None:  # another try would end the same way
                raise CouldNotVerify(f"could not {doing}: {self.host} {no_tls}") from error
            ended = isinstance(error, urllib3.ProtocolError)
            how = "closed the connection without an answer" if ended else f"does not answer ({type(error).__name__})"
            why = unreachable(error)
            if why is None:
                why = f"{self.host} {how}"
            elif self.host not in doing:
                why = f"{self.host}: {why}"
            raise Transient(f"could not {doing}: {why}") from error
        try:
            yield Answer(raw, permit, as_stored=as_stored)
        finally:
            raw.close()  # a response that was read to its end has returned its connection already
            raw.release_conn()


class HttpSession:
    """Sends requests to any number of servers; safe to share between threads."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self._connections = Connections()

    def close(self) -> None:
        """Close the connections that are kept, not those that are in use. Later requests open new ones."""
        self._connections.close()

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        trusted: Origin,
        doing: str,
        tls: Tls = Tls(),
        body: bytes | None = None,
        redirects: bool = True,
        answer_seconds: float | None = None,
        as_stored: bool = False,
    ) -> Iterator[Answer]:
        """Send a request and yield its response, whatever the status.

        A thread must leave a response before its next request.

        Args:
            headers: sent to the trusted origin as they are; other origins get only those that do not identify the
                sender.
            trusted: the one origin that is sent credentials, wherever a redirect leads; see `trusted_after`.
            doing: completes "could not ...".
            redirects: whether they are followed.
            answer_seconds: the longest wait between two arrivals, if MLFLOW_HTTP_REQUEST_TIMEOUT does not say less.
            as_stored: whether the body is an object of a bucket, and an encoding a part of its content.

        Raises:
            Transient: no response came.
            CouldNotVerify: the address is not valid, or its redirects do not end.
            Stopped: the audit is being stopped.
        """
        with self.throttle.permit(_host(url, doing)) as permit:
            for followed in range(_REDIRECTS + 1):
                sent, shown = headers, tls
                if not may_carry_credentials(url, trusted):
                    sent, shown = without_credentials(headers), Tls(tls.verify)
                try:
                    route, target = self._connections.route(url, shown), _target(url)
                except ValueError as error:
                    raise CouldNotVerify(f"could not {doing}: {_first_line(error)}") from error
                asked = route.answer(
                    method,
                    target,
                    headers=sent,
                    doing=doing,
                    permit=permit,
                    body=body,
                    answer_seconds=answer_seconds,
                    as_stored=as_stored,
                )
                with asked as answer:
                    location = answer.headers.get("Location") if redirects and answer.status in REDIRECTS else None
                    if location is None:
                        if followed and not may_carry_credentials(url, trusted):
                            answer.moved_to = host_of(url)
                        if answer.status in REFUSALS:
                            advised = retry_after_seconds(answer.headers.get("Retry-After"))
                            permit.refused(FIRST_PAUSE_SECONDS if advised is None else advised)
                        yield answer
                        return
                try:
                    location = urljoin(url, location)
                except ValueError as error:
                    raise CouldNotVerify(f"could not {doing}: {host_of(url)} redirects to no address") from error
                url, trusted = location, trusted_after(trusted, url, location)
                # Browsers then repeat a POST with GET. A server that only moved to https means the same request.
                is_same = answer.status in (301, 302) and may_carry_credentials(url, trusted)
                if answer.status not in (307, 308) and method != "GET" and not is_same:
                    method, body = "GET", None
            raise CouldNotVerify(f"could not {doing}: {host_of(url)} redirects without end")


def unreachable(error: BaseException | None) -> str | None:
    """Say in plain words why no connection was made; None for every other error.

    Libraries wrap urllib3's error in errors of their own, so the causes are searched too.
    """
    for _ in range(_WRAPPED_AT_MOST):
        if error is None:
            return None
        reason = getattr(error.args[0], "reason", None) if error.args else None
        match reason if isinstance(reason, Exception) else error:
            case urllib3.NameResolutionError():
                return "there is no host of that name"
            case urllib3.NewConnectionError():
                return NOTHING_LISTENS
            case urllib3.ConnectTimeoutError() | urllib3.ReadTimeoutError():
                return "it does not answer in time"
            case urllib3.SSLError() as failed:
                return f"TLS failed: {printable(redact(_first_line(failed)))[:200]}"
            case _:
                pass
        error = error.__cause__ or error.__context__
    return None


def _tls_problem(error: BaseException) -> str | None:
    """Say what is wrong with the address or with the trust in the server if TLS is impossible; None for all else."""
    for _ in range(_WRAPPED_AT_MOST):
        match error:
            case ssl.SSLCertVerificationError():
                said = printable(error.verify_message)[:200]
                if error.verify_code in _ASKED_BY_RFC_5280:
                    return (
                        f"shows a certificate that is not as RFC 5280 wants it ({said}): Python 3.13 and newer refuse "
                        "it; have it issued anew, or run the audit with Python 3.12"
                    )
                return f"shows a certificate that is not trusted ({said}); REQUESTS_CA_BUNDLE names the trusted ones"
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "HTTP_REQUEST"):
                return "does not use TLS: should the address begin with http:// and not https://?"
            case _:
                inside = error.args[0] if error.args and isinstance(error.args[0], Exception) else None
                following = inside or error.__cause__ or error.__context__
                if following is None:
                    return None
                error = following
    return None


class _KeptConnection:
    """Lets a connection be cancelled while it waits for the first byte, and acknowledge without delay.

    An MLflow server sends the head of an answer, and holds its body back until the head was acknowledged. On a kept
    connection Linux delays this by 40 ms, unless it is told not to each time.

    A connection is used for a limited number of requests and bytes. In a server with several processes one process
    serves each connection, and may get all of them if they are opened together; it would go on answering alone. A new
    connection goes to a process that is idle.
    """

    _answered = _bytes = 0

    @property
    def is_connected(self) -> bool:
        """Say whether the pool may use the connection again."""
        is_worn = self._answered >= _KEPT_REQUESTS or self._bytes >= _KEPT_BYTES
        return not is_worn and super().is_connected  # type: ignore[misc]

    def connect(self) -> None:
        self._answered = self._bytes = 0
        super().connect()  # type: ignore[misc]

    def getresponse(self) -> Any:
        self._answered += 1
        permit, sock = sent_now(), getattr(self, "sock", None)
        # TLS within TLS, to an https proxy, is carried by no socket: it can be neither configured nor cancelled.
        if isinstance(sock, socket.socket):
            if permit is not None:
                permit.asked(sock.gettimeout() or 0)
                permit.abort_with(partial(sock.shutdown, socket.SHUT_RDWR))
            if _QUICK_ACK is not None:
                sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        response = super().getresponse()  # type: ignore[misc]
        self._bytes += getattr(response, "length_remaining", None) or 0
        return response


def _pool(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    connection = type(f"Kept{pool.ConnectionCls.__name__}", (_KeptConnection, pool.ConnectionCls), {})
    return type(f"Kept{pool.__name__}", (pool,), {"ConnectionCls": connection})


_POOLS = {"http": _pool(HTTPConnectionPool), "https": _pool(HTTPSConnectionPool)}


class _Adapter(HTTPAdapter):
    """Handles proxies and certificates as `requests` does, with this module's own connections."""

    def __init__(self, *, strict: bool) -> None:
        """See `Tls`."""
        self._strict = strict
        super().__init__(pool_maxsize=_POOL_SIZE)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: bool | str, cert: str | tuple[str, str] | None = None
    ) -> tuple[Any, Any]:
        host, trust = super().build_connection_pool_key_attributes(request, verify, cert)
        if verify and not self._strict:
            context = create_urllib3_context()
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if verify is True:
                context.load_default_certs()
            trust["ssl_context"] = context
        return host, trust

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named | {"socket_options": _socket_options()})
        _of_our_kind(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **named: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **named)
        if not proxy.lower().startswith("socks"):
            _of_our_kind(manager)
        return manager


def _of_our_kind(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = _POOLS


def _socket_options() -> list[tuple[int, int, int]]:
    """Return socket options by which a silently lost peer is noticed."""
    return [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


def _host(url: str, doing: str) -> str:
    try:
        return host_of(url)
    except ValueError as error:
        raise CouldNotVerify(f"could not {doing}: its address cannot be read") from error


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _read_seconds(at_most: float | None) -> float:
    text = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "")
    said = min(float(text), _READ_SECONDS_AT_MOST) if text.isascii() and text.isdecimal() else 0
    said = said or _READ_SECONDS
    return said if at_most is None else min(said, at_most)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
