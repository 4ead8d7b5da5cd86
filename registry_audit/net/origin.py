"""Decides which credentials a request may carry: those of the server they were given for, and no others.

An origin is scheme, host and port. A location that a registrant chose, a redirect, a proxy on another host, another
port, or http instead of https is another origin, and a request there carries no credentials. There is one exception: a
server that redirects from its own http to its own https, both on their default ports.
"""

import ipaddress
import socket
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib import parse

_Request = TypeVar("_Request")

_PORTS = {"http": 80, "https": 443}
# The only headers that are sent to another origin. Others may identify the auditor: Authorization, Cookie, headers of
# plugins.
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "range"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Identifies one server. Law: two origins are equal exactly if scheme, host and port are."""

    scheme: str
    host: str  # in normal form: see `normal_host`
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None or self.port == _PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


NOBODY = Origin("", "", None)  # the trusted origin of a request that may carry no credentials, wherever it goes


def origin_of(uri: str) -> Origin:
    """Return the origin of a URI. Raises: ValueError: it is no URI."""
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    return Origin(scheme, normal_host(parts.hostname or "").strip("[]"), parts.port or _PORTS.get(scheme))


def normal_host(host: str) -> str:
    """Return a host in one spelling: lower case, no trailing dot, ASCII, IP addresses in their usual form."""
    plain = host.lower().removesuffix(".")
    if not plain.isascii():
        return _in_ascii(plain)
    if plain.replace(".", "").isdigit():
        try:
            return socket.inet_ntoa(socket.inet_aton(plain))  # 127.1 is 127.0.0.1
        except OSError:
            return plain
    try:
        return f"[{ipaddress.ip_address(plain.strip('[]'))}]" if ":" in plain else plain
    except ValueError:
        return plain


def _in_ascii(host: str) -> str:
    """Encode a host as urllib3 does, label by label; unchanged if urllib3 would refuse it."""
    import idna

    try:
        labels = (label if label.isascii() else idna.encode(label, strict=True).decode() for label in host.split("."))
        return ".".join(labels)
    except idna.IDNAError:
        return host


def is_host_name(host: str) -> bool:
    """Say whether a resolver can be asked for a host. Asked for any other one, Python raises UnicodeError."""
    name = normal_host(host)
    return ":" in name or (name.isascii() and all(0 < len(label) < 64 for label in name.split(".")))


def is_one_machine(one: Origin, other: Origin) -> bool:
    """Say whether two origins are one port of this machine, under two of its names."""
    return one == other or (
        _is_loopback(one.host) and _is_loopback(other.host) and replace(one, host=other.host) == other
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_carry_credentials(url: str, trusted: Origin) -> bool:
    """Say whether a request to this URL may identify the sender."""
    try:
        return trusted != NOBODY and origin_of(url) == trusted
    except ValueError:
        return False


def trusted_after(trusted: Origin, url: str, location: str) -> Origin:
    """Return the origin to trust after a redirect from `url` to `location`.

    It stays the same, unless the trusted host itself redirected from its http to its https. Requests and MLflow's own
    client make the same exception (`requests.Session.should_strip_auth`).
    """
    if trusted != replace(trusted, scheme="http", port=_PORTS["http"]) or not may_carry_credentials(url, trusted):
        return trusted
    with_tls = replace(trusted, scheme="https", port=_PORTS["https"])
    return with_tls if may_carry_credentials(location, with_tls) else trusted


def without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    """Return only the headers that do not identify the sender."""
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS}


def unsigned(request: _Request) -> _Request:
    """Leave a request as it is. A session of `requests` with this `auth` takes no sign-in from ~/.netrc.

    Its entry `default` is for any host, and would replace even the Authorization header of a request.
    """
    return request


def basic_authorization(pair: str) -> str:
    """Return the header's value for a user and a password, given as `user:password`. Source: RFC 7617."""
    return f"Basic {b64encode(pair.encode()).decode()}"


def host_of(uri: str) -> str:
    """Return the key of a server for a `Throttle`: scheme, host and port, without a user's name."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


_MAX_CHARACTERS = 8_192  # of an address that is not ASCII; MLflow keeps 500
TOO_LONG = "longer than any address"


# Parsing of untrusted addresses. The standard library normalises the characters of a host in one step that cannot be
# interrupted and takes time in the square of the length: one megabyte blocks the process for minutes.


def urlsplit(uri: str, *, allow_fragments: bool = True) -> parse.SplitResult:
    """Split a URI as the standard library does. Raises: ValueError: not a URI, or one that takes too long to parse."""
    _must_be_short(uri)
    return parse.urlsplit(uri, allow_fragments=allow_fragments)


def urlparse(uri: str) -> parse.ParseResult:
    """Parse a URI as the standard library does. Raises: ValueError: not a URI, or one that takes too long to parse."""
    _must_be_short(uri)
    return parse.urlparse(uri)


def without_user(uri: str) -> tuple[str, tuple[str, str] | None]:
    """Return a server's address without its user and password, and those two decoded, or None if it has none."""
    parts = urlsplit(uri)
    address = parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    user = parse.unquote(parts.username or ""), parse.unquote(parts.password or "")
    return address, user if any(user) else None


def urljoin(base: str, uri: str) -> str:
    """Resolve a URI against the base. Raises: ValueError: not a URI, or one that takes too long to parse."""
    _must_be_short(uri)
    return parse.urljoin(base, uri)


def _must_be_short(uri: str) -> None:
    if len(uri) > _MAX_CHARACTERS and not uri.isascii():
        raise ValueError(TOO_LONG)
