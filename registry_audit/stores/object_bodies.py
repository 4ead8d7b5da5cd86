"""Reads objects through obstore, guarded: one call is one request, and the answer is the object asked for.

Without these guards obstore retries silently, waits three minutes for a server that hangs, accepts the answer of a
server that ignored a condition, and panics at a wrong endpoint.

obstore also follows up to ten redirects to other hosts, and cannot be told not to. The first foreign host then gets a
session token in a header and a signature in the Referer; the second one gets the Authorization header (reqwest 0.13).
So obstore gets credentials only if it can reach no other host (`may_hold_credentials`). Everything else is read by
`registry_audit.stores.signed_bodies`.
"""

import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from requests import Session
from requests.utils import get_environ_proxies, select_proxy

from registry_audit.errors import AuditError, BodyEndedEarly, CouldNotVerify, NotFound, Refused, UsageError
from registry_audit.net.http import BoundedAdapter
from registry_audit.net.origin import is_host_name, unsigned, urlsplit
from registry_audit.net.throttle import REFUSALS
from registry_audit.printable import printable
from registry_audit.redact import redact, redact_endpoint
from registry_audit.registry.translate import is_foreign

_Session = TypeVar("_Session", bound=Session)
RETRIES: Mapping[str, Any] = {"max_retries": 0}
_CLIENT_OPTIONS: Mapping[str, Any] = {
    "connect_timeout": "10s",
    "read_timeout": "60s",  # between two arrivals
    "timeout": "7days",  # for a whole request, its body included
}

# Nobody can listen on this port. A proxy for every host but one ends every redirect to another host.
_NO_PROXY_AT_ALL = "http://127.0.0.1:0"
# The clouds' own hosts. A redirect from one of them to another port or to a subdomain stays within the cloud.
_CLOUD_HOST = re.compile(
    r"(.+\.)?s3([.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?|storage\.googleapis\.com"
    r"|[a-z0-9-]+(\.[a-z0-9-]+)?\.blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)"
)

# The size of a chunk, and of an object that is read as one: a slow body is noticed only when no chunk arrives.
CHUNK_BYTES = 256 << 10

_NOT_CARRIED = re.compile(r"[\x00-\x1f\x7f]")
_STATUS = re.compile(r"\b(?:status code|status): (\d{3})\b")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_ARCHIVED = ("InvalidObjectState", "BlobArchived")  # the words of S3 and of Azure
# Errors of obstore after which another request may succeed.
_PASSING = re.compile(r"kind: (Timeout|Connect|Interrupted|Request|Decode|Unknown)\b")
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


def fenced_session(session: _Session) -> _Session:
    """Return a session for a store's SDK: its answers are bounded, and it sends no credentials but the SDK's own."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, BoundedAdapter())
    session.auth = unsigned
    return session


def client_options(
    endpoint: str,
    *,
    verify: bool = True,
    ca_bundle: str | None = None,
    headers: Mapping[str, str] | None = None,
    fenced: bool = False,
) -> dict[str, Any]:
    """Return the client options for every store that is given to `Bodies`.

    Args:
        endpoint: URL of the store.
        verify: whether its certificate is checked.
        ca_bundle: a file of certificates to trust in addition to the system's.
        fenced: whether every other host is unreachable, whatever redirects there.

    Raises:
        UsageError: the file cannot be read.
    """
    options: dict[str, Any] = {**_CLIENT_OPTIONS, "allow_http": endpoint.startswith("http://")}
    if not verify:
        options["allow_invalid_certificates"] = True
    if ca_bundle:
        try:
            with open(ca_bundle, encoding="utf-8") as file:  # noqa: PTH123 - the name may be anything
                options["root_certificate"] = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the certificates in {printable(ca_bundle)} cannot be read: {error}") from error
    if fenced:
        options |= {"proxy_url": _NO_PROXY_AT_ALL, "proxy_excludes": urlsplit(endpoint).hostname}
    if headers:
        options["default_headers"] = dict(headers)
    return options


def may_hold_credentials(endpoint: str) -> bool:
    """Say whether obstore may send credentials in the Authorization header to this endpoint, with `fenced` options.

    It may if the endpoint is a cloud's own host, over TLS, without a proxy in between.
    """
    parts = urlsplit(endpoint)
    is_cloud = parts.scheme == "https" and _CLOUD_HOST.fullmatch(parts.hostname or "") is not None
    return is_cloud and not select_proxy(endpoint, get_environ_proxies(endpoint))


def must_be_endpoint(url: str | None, said_by: str) -> None:
    """Check a server's URL: a wrong one ends obstore's thread, and boto3 asks elsewhere. Raises: UsageError."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and is_host_name(parts.hostname or "") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", url):
        shown = printable(redact_endpoint(url))
        raise UsageError(
            f"{said_by} is '{shown}': it must be a URL that begins with http:// or https:// and a host, or not be set"
        )


def carries(key: str) -> bool:
    """Say whether obstore requests exactly this key."""
    return not _NOT_CARRIED.search(key) and not any(part in ("", ".", "..") for part in key.split("/"))


class Bodies:
    """Reads the objects of one bucket; safe to share between threads."""

    def __init__(self, store: Any, *, by_generation: bool = False) -> None:
        """
        Args:
            store: obstore's, made with `RETRIES` and `client_options`.
            by_generation: whether an object is identified by its generation instead of its ETag.
        """
        self._store, self._by_generation = store, by_generation

    def chunks(self, key: str, etag: str, size: int) -> Generator[Any, None, None]:
        """Yield the content, in buffers of some hundred kibibytes.

        Args:
            key: one that obstore `carries`.
            etag: ETag or generation that the object must have; "" if the store gives none.
            size: bytes that the object must have.

        Raises:
            ObjectChanged: the object is another one by now.
            BodyEndedEarly: the request failed, or the response broke off; another try may succeed.
            AuditError: the object cannot be read.
        """
        import obstore

        _must_not_be_forked()
        tag, doing = etag.strip('"'), f"read '{printable(key)}'"
        with translated_bodies(doing):
            condition: Any = {"version": tag} if self._by_generation else {"if_match": f'"{tag}"'}
            try:
                result = obstore.get(self._store, key, options=condition if tag else {})
            except FileNotFoundError:
                if self._by_generation:
                    raise ObjectChanged() from None
                raise
            meta = result.meta
            # Checked even if the server ignored the condition.
            given = meta["version"] if self._by_generation else meta["e_tag"]
            if tag and (given or "").strip('"') != tag:
                raise ObjectChanged()
            if meta["size"] != size:
                raise ObjectChanged()
            got = 0
            for chunk in (result.bytes(),) if size <= CHUNK_BYTES else result.stream(min_chunk_size=CHUNK_BYTES):
                got += len(chunk)
                yield chunk
            if got != size:
                raise BodyEndedEarly(f"could not {doing}: {got} bytes of {size} came")


class ObjectChanged(CouldNotVerify):
    """The object is no longer the one that was listed."""

    def __init__(self) -> None:
        super().__init__("the object changed")

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


@contextmanager
def translated_bodies(doing: str) -> Iterator[None]:
    """Translate obstore's errors to this library's; `doing` completes "could not ..."."""
    try:
        yield
    except (AuditError, GeneratorExit):
        raise
    except BaseException as error:
        if not is_foreign(error):
            raise
        raise _explained(error, doing) from None


def _explained(error: BaseException, doing: str) -> AuditError:
    from obstore import exceptions

    text = str(error)
    first = printable(redact((text.strip() or type(error).__name__).splitlines()[0]))[:400]
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    if isinstance(error, exceptions.PreconditionError):
        return ObjectChanged()
    if isinstance(error, FileNotFoundError):
        status = 404
    if isinstance(error, exceptions.UnauthenticatedError):
        status = 401
    if isinstance(error, exceptions.PermissionDeniedError):
        status = 403
    if status is not None:
        return error_of_status(status, doing, code=code_in(text))
    if kind := _PASSING.search(text):
        return BodyEndedEarly(f"could not {doing}: the connection failed or broke off ({kind[1]})")
    return CouldNotVerify(f"could not {doing}: {first}")


def code_in(answer: str) -> str:
    """Return the error code in a store's response; empty if it has none."""
    return found[1] if (found := _CODE.search(answer)) else ""


def error_of_status(status: int, doing: str, *, retry_after: float | None = None, code: str = "") -> AuditError:
    """Return the error for a status other than 200.

    Args:
        doing: completes "could not ...".
        retry_after: seconds, if the response names them.
        code: the store's own error code.
    """
    said = f"{status} {code}".rstrip()
    if code in _ARCHIVED:
        return CouldNotVerify(f"could not {doing}: it was moved to an archive tier ({said}); restore it there first")
    match status:
        case 401:
            return UsageError(f"could not {doing}: the store refuses the credentials ({said})")
        case 403:
            return CouldNotVerify(f"could not {doing}: permission denied ({said})")
        case 404:
            return NotFound(f"could not {doing}: not found ({said})")
        case 412:
            return ObjectChanged()
        case _ if status in REFUSALS:
            return Refused(f"could not {doing}: the store answered {said}", retry_after)
        case _ if status in _TRANSIENT_STATUS:
            return BodyEndedEarly(f"could not {doing}: the store answered {said}")
        case _:
            return CouldNotVerify(f"could not {doing}: the store answered {said}")


_first_used_by: list[int] = []


def _must_not_be_forked() -> None:
    """Raise CouldNotVerify in a fork of a process that used obstore: there it would hang forever."""
    if not _first_used_by:
        _first_used_by.append(os.getpid())
    if _first_used_by[0] != os.getpid():
        raise CouldNotVerify("this process was forked from one that read objects: start it with spawn or forkserver")
