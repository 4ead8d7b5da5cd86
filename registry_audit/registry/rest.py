"""Requests to a service that answers in JSON, and to the signed URLs that it hands out: polite and bounded.

Databricks and Unity Catalog are asked here and not through their SDK or MLflow's stores: those wait for minutes where
nothing answers, and their tries can be neither counted nor stopped. Signing in stays with the SDK.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.transport import Answer, host_of

Query = Mapping[str, str | int | None]

_CONNECT_SECONDS = 5.0
_MAX_ANSWER_BYTES = 128 << 20
_MAX_ERROR_BYTES = 1 << 16
_MAX_EMPTY_PAGES = 1_000
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_WRONG_REQUEST = frozenset(
    {"INVALID_PARAMETER_VALUE", "INVALID_ARGUMENT", "BAD_REQUEST", "MALFORMED_REQUEST", "FEATURE_DISABLED"}
)


class Denied(CouldNotVerify):
    """The service knows who asks, and says no."""


class NoSuchRoute(CouldNotVerify):
    """The service does not offer what was asked for. Nothing is said of the thing itself."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no success."""

    status: int
    code: str  # of the service's own JSON; empty where something else answered
    message: str
    host: str


Explain = Callable[[Refusal, str], AuditError | None]


class Rest:
    """One service under one sign-in; safe to share between threads."""

    def __init__(
        self,
        host: str,
        sign: Callable[[], Mapping[str, str]],
        politeness: Politeness,
        explain: Explain = lambda refusal, doing: None,
    ) -> None:
        """
        Args:
            host: scheme, host and port, and a path where the service lies below one.
            sign: the headers that sign a request in, fresh for each.
            explain: what this service's refusals mean, where it is more than their status says.
        """
        self.host = host.rstrip("/")
        self.politeness = politeness
        self._sign, self._explain = sign, explain

    def get(self, path: str, query: Query | None = None, *, doing: str, tries: int | None = None) -> dict[str, Any]:
        """The JSON object of an answer.

        Args:
            path: percent-encoded.
            doing: completes "could not ...".
            tries: fewer than usual, where somebody waits for the first sign of life.

        Raises:
            NotFound: the service itself says so.
            UsageError: it refuses the credentials, or calls the request invalid.
            Denied, NoSuchRoute, Transient, CouldNotVerify: nothing is known.
        """
        return self.get_with_headers(path, query, doing=doing, tries=tries)[0]

    def get_with_headers(
        self, path: str, query: Query | None = None, *, doing: str, tries: int | None = None
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        with self._answered("GET", path, doing, query=query, tries=tries) as (answer, headers):
            return _object(answer, doing), headers

    def ask(self, path: str, body: Mapping[str, Any], query: Query | None = None, *, doing: str) -> dict[str, Any]:
        """As `get`, for a question that the service wants as a POST. Nothing that writes may be sent this way."""
        with self._answered("POST", path, doing, query=query, body=body) as (answer, _):
            return _object(answer, doing)

    def page(
        self, path: str, query: Query, key: str, token: str | None, *, doing: str
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The entries of the page that a token names, and the next token. An empty page is not always the last one.

        Raises:
            CouldNotVerify: besides the reasons of `get`, when the pages do not end.
        """
        for _ in range(_MAX_EMPTY_PAGES):
            page = self.get(path, {**query, "page_token": token}, doing=doing)
            entries, following = entries_of(page, key, doing), page.get("next_page_token") or None
            if following is None or (isinstance(following, str) and following != token and entries):
                return entries, following
            if not isinstance(following, str) or following == token:
                break
            token = following
        raise CouldNotVerify(f"could not {doing}: the pages of the answer lead in a circle")

    def pages(self, path: str, query: Query, key: str, *, doing: str) -> Iterator[dict[str, Any]]:
        """The entries of every page. Raises: as `page`."""
        token, seen = None, set[str | None]()
        while token not in seen:
            seen.add(token)
            entries, token = self.page(path, query, key, token, doing=doing)
            yield from entries
            if token is None:
                return
        raise CouldNotVerify(f"could not {doing}: the pages of the answer lead in a circle")

    @contextlib.contextmanager
    def content(self, path: str, *, doing: str) -> Iterator[tuple[Answer, Mapping[str, str]]]:
        """A body that is still to come, and its headers. Raises: as `get`."""
        with self._answered("GET", path, doing) as answered:
            yield answered

    @contextlib.contextmanager
    def signed(self, url: Any, headers: Mapping[str, str], *, doing: str) -> Iterator[tuple[Answer, Mapping[str, str]]]:
        """A body from a URL that the service handed out: whoever has it needs no credentials, and gets none.

        Raises:
            Denied: the URL is not valid, or not any more.
        """
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", urlsplit(self.host).scheme}:
            raise CouldNotVerify(f"could not {doing}: the service names no https address for it")
        with _sent(self.politeness, "GET", url, "", headers, doing) as (response, flight):
            if response.status_code != 200:
                raise _signed_refused(response.status_code, url, doing)
            yield Answer(response.raw, flight), response.headers

    @contextlib.contextmanager
    def _answered(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        tries: int | None = None,
    ) -> Iterator[tuple[Answer, Mapping[str, str]]]:
        sent: dict[str, Any] = {
            "params": {k: v for k, v in (query or {}).items() if v is not None},
            "max_retries": tries,
        }
        if body is not None:
            sent["json"] = body
        with _sent(self.politeness, method, self.host, path, self._signed_in(doing), doing, **sent) as (
            response,
            flight,
        ):
            answer = Answer(response.raw, flight)
            if response.status_code != 200:
                raise self._refused(_refusal(response, answer, self.host), doing)
            yield answer, response.headers

    def _signed_in(self, doing: str) -> dict[str, str]:
        try:
            return {str(name): str(value) for name, value in self._sign().items()}
        except Exception as error:
            reason = printable(redact(str(error)))[:300]
            raise UsageError(f"could not {doing}: {host_of(self.host)} could not be signed in to: {reason}") from error

    def _refused(self, refusal: Refusal, doing: str) -> AuditError:
        return self._explain(refusal, doing) or explained(refusal, doing)


def explained(refusal: Refusal, doing: str) -> AuditError:
    """What an answer means that is no success. A status without the service's own JSON is nobody's word."""
    status, code = refusal.status, refusal.code
    said = f" ({code}: {refusal.message})" if refusal.message else f" ({code or status})"
    if status == 429 or status >= 500:
        return Transient(f"could not {doing}: {refusal.host} answered {status}{said if code else ''}")
    if status == 401 or code == "UNAUTHENTICATED":
        return UsageError(f"could not {doing}: {refusal.host} refuses the credentials{said}")
    if status == 403 or code == "PERMISSION_DENIED":
        return Denied(f"could not {doing}: permission denied{said}")
    if code in _MISSING:
        return NotFound(f"could not {doing}: not found{said}")
    if code in _WRONG_REQUEST:
        return UsageError(f"could not {doing}: {refusal.message or code}")
    if status in (404, 405, 501):
        return NoSuchRoute(f"could not {doing}: {refusal.host} does not offer it{said}")
    return CouldNotVerify(f"could not {doing}: {refusal.host} answered {status}{said if code else ''}")


def entries_of(answer: Mapping[str, Any], key: str, doing: str) -> list[dict[str, Any]]:
    """A list of objects, which is left out where it is empty."""
    entries = answer.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CouldNotVerify(f"could not {doing}: the answer is not what the service's protocol says")
    return entries


@contextlib.contextmanager
def _sent(
    politeness: Politeness,
    method: str,
    host: str,
    path: str,
    headers: Mapping[str, str],
    doing: str,
    *,
    max_retries: int | None = None,
    **more: Any,
) -> Iterator[tuple[Any, Any]]:
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
    from mlflow.utils.rest_utils import MlflowHostCreds, http_request

    with politeness.request(host_of(host)) as flight:
        try:
            with flight.sending():
                response = http_request(
                    MlflowHostCreds(host),
                    path,
                    method,
                    max_retries=max_retries,
                    raise_on_status=False,
                    timeout=(_CONNECT_SECONDS, MLFLOW_HTTP_REQUEST_TIMEOUT.get()),
                    extra_headers={**headers, "Accept-Encoding": "identity"},
                    stream=True,
                    allow_redirects=False,
                    auth=_as_it_is,
                    **more,
                )
        except Exception as error:
            politeness.pause(0)  # whether it is the audit that was stopped
            reason = type(error.__cause__ or error.__context__ or error).__name__
            raise Transient(f"could not {doing}: {host_of(host)} does not answer ({reason})") from error
        with response:
            yield response, flight


def _as_it_is(request: Any) -> Any:
    """So that requests looks for no other credentials: a netrc file would outrank those of the profile."""
    return request


def _object(answer: Answer, doing: str) -> dict[str, Any]:
    body = _body(answer, _MAX_ANSWER_BYTES, doing)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Transient(f"could not {doing}: the answer is no JSON object: is it a login page?")
    return found


def _body(answer: Answer, at_most: int, doing: str) -> bytes:
    body = bytearray()
    try:
        for chunk in answer.chunks():
            body += chunk
            if len(body) > at_most:
                raise CouldNotVerify(f"could not {doing}: the answer is longer than {at_most} bytes")
    except AuditError:
        raise
    except Exception as error:
        raise Transient(f"could not {doing}: the answer broke off ({type(error).__name__})") from error
    return bytes(body)


def _refusal(response: Any, answer: Answer, host: str) -> Refusal:
    code = message = ""
    with contextlib.suppress(AuditError, ValueError, RecursionError):
        said = json.loads(_body(answer, _MAX_ERROR_BYTES, "read an error"))
        if isinstance(said, dict):
            code = printable(str(said.get("error_code") or ""))[:80]
            message = printable(redact(str(said.get("message") or "").strip().partition("\n")[0]))[:300]
    return Refusal(response.status_code, code, message, host_of(host))


def _signed_refused(status: int, url: str, doing: str) -> AuditError:
    if status == 429 or status >= 500:
        return Transient(f"could not {doing}: {host_of(url)} answered {status}")
    if status in (400, 401, 403):
        return Denied(f"could not {doing}: {host_of(url)} does not accept the signed URL ({status})")
    return CouldNotVerify(f"could not {doing}: {host_of(url)} answered {status} to the signed URL")
