"""Which credentials a request may carry: those of the server they were given for, and no other.

An origin is scheme, host and port. A location that a registrant chose, a redirect, a proxy on another host, another
port, or http in place of https is another origin; a request there is stripped of all that identifies the auditor,
whoever put it together: MLflow's own clients, its plugins, `~/.netrc` or a cookie jar.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
# A request to a stranger says this much. All else may identify the auditor: Authorization, Cookie, headers of plugins.
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "connection", "host", "range", "user-agent"})


@dataclass(frozen=True, slots=True)
class Origin:
    """One server. Law: equal exactly where scheme, host and port are."""

    scheme: str
    host: str  # lower case
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None or self.port == _PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


NOBODY = Origin("", "", None)  # of a request that may carry nothing, wherever it goes


def origin_of(uri: str) -> Origin:
    """Raises: ValueError: it is no URI."""
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    return Origin(scheme, (parts.hostname or "").lower().rstrip("."), parts.port or _PORTS.get(scheme))


@contextlib.contextmanager
def credentials_for(origin: Origin) -> Iterator[None]:
    """While the body runs, what this thread sends carries credentials to this origin only."""
    token = _allowed.set(origin)
    try:
        yield
    finally:
        _allowed.reset(token)


def may_carry_credentials(url: str | None) -> bool:
    """Whether a request to this URL may; outside of an audit all may."""
    allowed = _allowed.get()
    if allowed is None:
        return True
    try:
        return allowed is not NOBODY and origin_of(url or "") == allowed
    except ValueError:
        return False


def without_credentials(request: Any) -> Any:
    """A copy of a prepared request of `requests` that says nothing of who sends it."""
    stripped = request.copy()
    for name in [name for name in stripped.headers if name.lower() not in _HARMLESS]:
        del stripped.headers[name]
    return stripped


_allowed: ContextVar[Origin | None] = ContextVar("allowed", default=None)
