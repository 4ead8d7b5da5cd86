"""Requests JSON and files of a service, and the signed URLs that it hands out: bounded and retried.

MLflow servers, Databricks and Unity Catalog are asked here and not through MLflow's own client or an SDK: those wait
for minutes if nothing answers, and their tries can be neither counted nor stopped. They still do the sign-in.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Refused, Transient, UsageError
from registry_audit.net.http import Answer, HttpSession, Tls
from registry_audit.net.origin import NOBODY, host_of, origin_of, urlsplit
from registry_audit.net.retry import retried
from registry_audit.net.throttle import REFUSALS, retry_after_seconds
from registry_audit.printable import printable
from registry_audit.redact import redact

Query = Mapping[str, str | int | list[str] | None]
Sign = Callable[[str, str, bytes | None], Mapping[str, str]]  # method, URL, body -> headers

FIRST_ANSWER_SECONDS = 10.0  # for the first request to a service, which may never answer
_MAX_ERROR_BYTES = 1 << 16
_MAX_EMPTY_PAGES = 1_000
_TRANSIENT_STATUS = frozenset({408, 425, 500, 502, 503, 504})
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_WRONG_REQUEST = frozenset(
    {"INVALID_PARAMETER_VALUE", "INVALID_ARGUMENT", "BAD_REQUEST", "MALFORMED_REQUEST", "FEATURE_DISABLED"}
)


class Denied(CouldNotVerify):
    """The service knows the sender, and denies the request."""


class SignedOnly(Denied):
    """The service gives out this file only by a signed URL."""


# Lists of MLflow whose entries are judged one by one: an entry with a value of a wrong type becomes a row that says so.
_JUDGED_ONE_BY_ONE = frozenset({"model_versions", "registered_models"})
_BESIDE_A_LIST = ("next_page_token", "prev_page_token", "root_uri")
_NOT_ITS_PROTOCOL = "the answer is not what the service's protocol says"


class NoSuchRoute(CouldNotVerify):
    """The service does not offer the route that was asked for. This says nothing about the object itself."""


class SwitchedOff(CouldNotVerify):
    """The service was started without the feature that is asked for, and says so to every such request."""


class OtherAnswer(CouldNotVerify):
    """The service answers another request than the one it was sent."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Describes a response that reports no success."""

    status: int
    code: str  # error code in the service's own JSON; empty if something else answered
    message: str
    host: str
    retry_after: float | None = None  # seconds, if the response names them
    signed_only: bool = False  # MLflow from 3.18 on: the bytes are behind a signed URL
    text: str = ""  # the beginning of the body, if it is no JSON


Explain = Callable[[Refusal, str], AuditError | None]


class Rest:
    """Sends requests to one service under one sign-in; safe to share between threads."""

    def __init__(
        self,
        host: str,
        sign: Sign,
        http: HttpSession,
        *,
        explain: Explain = lambda refusal, doing: None,
        redirects: bool = False,
        tls: Tls = Tls(),  # noqa: B008 - frozen
    ) -> None:
        """
        Args:
            host: scheme, host and port, and a path if the service lies below one; without a user's name.
            sign: returns the headers that sign a request in, fresh for each.
            explain: interprets this service's refusals, if they mean more than their status says; else returns None.
            redirects: whether they are followed; credentials stay with the host.
        """
        self.host, self.http = host.rstrip("/"), http
        self._sign, self._explain, self._redirects, self._tls = sign, explain, redirects, tls
        self._trusted = origin_of(host)
        self.answers_with_files = True  # until the service gives out files by signed URLs only
        self._switched_off = ""  # the reason why nothing more is asked

    def get(self, path: str, query: Query | None = None, *, doing: str) -> dict[str, Any]:
        """Return the JSON object of a response.

        Args:
            path: percent-encoded.
            doing: completes "could not ...".

        Raises:
            NotFound: the service itself says so.
            UsageError: the service refuses the credentials, or calls the request invalid.
            Denied, NoSuchRoute, Transient, CouldNotVerify: nothing is known.
        """
        return self._asked("GET", path, query, None, doing)[0]

    def first_answer(self, path: str, *, doing: str) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Ask as `get` does, and return the headers too. A person waits for it, so it takes seconds at most."""
        tried = list[None]()

        def ask() -> tuple[dict[str, Any], Mapping[str, str]]:
            tried.append(None)
            try:
                return self._asked_once("GET", path, None, None, doing, FIRST_ANSWER_SECONDS)
            except Transient as error:
                error.given_up = len(tried) > 1 and not isinstance(error, Refused)
                raise

        return retried(ask, pause=self.http.throttle.pause)

    def ask(self, path: str, body: Mapping[str, Any], query: Query | None = None, *, doing: str) -> dict[str, Any]:
        """Ask as `get` does, with a POST if the service requires it. Never use it for a request that writes."""
        return self._asked("POST", path, query, body, doing)[0]

    def page(
        self, path: str, query: Query, key: str, token: str | None, *, doing: str
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return the entries of the page that a token names, and the next token.

        Empty pages are skipped, because an empty page is not always the last one.

        Raises:
            CouldNotVerify: for the reasons of `get`, or if the pages do not end.
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
        """Yield the entries of every page. Raises: as `page`."""
        token, seen = None, set[str | None]()
        while token not in seen:
            seen.add(token)
            entries, token = self.page(path, query, key, token, doing=doing)
            yield from entries
            if token is None:
                return
        raise CouldNotVerify(f"could not {doing}: the pages of the answer lead in a circle")

    @contextlib.contextmanager
    def content(
        self, path: str, query: Query | None = None, *, doing: str, answer_seconds: float | None = None
    ) -> Iterator[Answer]:
        """Yield a response whose body is still to be read, with one try. Raises: as `get`."""
        with self._answered("GET", path, query, None, doing, answer_seconds) as answer:
            yield answer

    @contextlib.contextmanager
    def signed(self, url: Any, headers: Mapping[str, str], *, doing: str) -> Iterator[Answer]:
        """Yield the response to a URL that the service handed out. The URL needs no credentials, and none are sent.

        Args:
            headers: those that the service says belong to the URL.

        Raises:
            Denied: the URL is not valid, or not any more.
        """
        if not isinstance(url, str) or _origin(url).scheme not in {"https", urlsplit(self.host).scheme}:
            raise CouldNotVerify(f"could not {doing}: the service names no https address for it")
        with self.http.request(
            "GET", url, headers=headers, trusted=_origin(url), doing=doing, redirects=False, as_stored=True
        ) as answer:
            if answer.status != 200:
                raise _signed_refused(answer, url, doing)
            yield answer

    def _asked(
        self, method: str, path: str, query: Query | None, body: Mapping[str, Any] | None, doing: str
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        return retried(lambda: self._asked_once(method, path, query, body, doing), pause=self.http.throttle.pause)

    def _asked_once(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Mapping[str, Any] | None,
        doing: str,
        answer_seconds: float | None = None,
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        with self._answered(method, path, query, body, doing, answer_seconds) as answer:
            return _object(answer, doing, host_of(self.host)), answer.headers

    @contextlib.contextmanager
    def _answered(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Mapping[str, Any] | None,
        doing: str,
        answer_seconds: float | None = None,
    ) -> Iterator[Answer]:
        if self._switched_off:
            raise SwitchedOff(f"could not {doing}: {self._switched_off}")
        wanted = urlencode({key: value for key, value in (query or {}).items() if value is not None}, doseq=True)
        url = f"{self.host}{path}" + (f"?{wanted}" if wanted else "")
        content = None if body is None else json.dumps(body).encode()
        for is_last in (False, True):
            headers = self._signed_in(method, url, content, doing)
            with self.http.request(
                method,
                url,
                headers=headers | ({} if content is None else {"Content-Type": "application/json"}),
                trusted=self._trusted,
                doing=doing,
                tls=self._tls,
                body=content,
                redirects=self._redirects,
                answer_seconds=answer_seconds,
            ) as answer:
                # A token may be renewed while the request that carries the old one is under way.
                if answer.status == 401 and not is_last and self._signed_in(method, url, content, doing) != headers:
                    continue
                if answer.moved_to and _wants_sign_in(answer):
                    both = f"{host_of(self.host)} redirects to {printable(answer.moved_to)}"
                    raise UsageError(
                        f"could not {doing}: {both}, which wants a sign-in and is told none: if that is the server, "
                        "give its address; else give credentials that the first one accepts"
                    )
                if answer.status != 200:
                    raise self._refused(_refusal(answer, self.host), doing)
                yield answer
                return

    def _signed_in(self, method: str, url: str, body: bytes | None, doing: str) -> dict[str, str]:
        try:
            return {str(name): str(value) for name, value in self._sign(method, url, body).items()}
        except AuditError:
            raise
        except Exception as error:
            reason = printable(redact(str(error)))[:300]
            raise UsageError(f"could not {doing}: {host_of(self.host)} could not be signed in to: {reason}") from error

    def _refused(self, refusal: Refusal, doing: str) -> AuditError:
        error = self._explain(refusal, doing) or explained(refusal, doing)
        if isinstance(error, SwitchedOff):
            self._switched_off = error.message.removeprefix(f"could not {doing}: ")
        return error


def _wants_sign_in(answer: Answer) -> bool:
    """Say whether a response asks for a sign-in: a refusal, or an HTML page in place of JSON or a file."""
    is_page = str(answer.headers.get("Content-Type") or "").strip().lower().startswith("text/html")
    return answer.status in (401, 403) or (answer.status == 200 and is_page)


def explained(refusal: Refusal, doing: str) -> AuditError:
    """Return the error for an unsuccessful response. Without the service's own JSON its status proves nothing."""
    status, code = refusal.status, refusal.code
    said = f" ({code}: {refusal.message})" if refusal.message else f" ({code or status})"
    answered = f"could not {doing}: {refusal.host} answered {status}{said if code else ''}"
    if refusal.signed_only:
        return SignedOnly(answered)
    if status in REFUSALS:
        return Refused(answered, refusal.retry_after)
    if status in _TRANSIENT_STATUS:
        return Transient(answered)
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
    return CouldNotVerify(answered)


def entries_of(answer: Mapping[str, Any], key: str, doing: str) -> list[dict[str, Any]]:
    """Return the objects of the list that is the answer. An empty list may be left out."""
    must_be_about(answer, key, doing)
    return list_of_objects(answer, key, doing)


def list_of_objects(entry: Mapping[str, Any], key: str, doing: str) -> list[dict[str, Any]]:
    """Return the objects of a list in an object. An empty list may be left out."""
    entries = entry.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CouldNotVerify(f"could not {doing}: {_NOT_ITS_PROTOCOL}")
    return entries


def must_be_about(answer: Mapping[str, Any], key: str, doing: str) -> None:
    """Refuse an answer that leaves out the list `key` and has other fields instead.

    What a gateway says in place of the service (`{"message": "slow down"}`) must not be read as an empty list.
    """
    if key not in answer and any(name not in _BESIDE_A_LIST for name in answer):
        raise CouldNotVerify(f"could not {doing}: {_NOT_ITS_PROTOCOL}")


def _object(answer: Answer, doing: str, host: str) -> dict[str, Any]:
    body = answer.body(doing)
    try:
        found = json.loads(body, object_pairs_hook=_each_key_once)
    except _KeyTwice as error:
        raise CouldNotVerify(
            f"could not {doing}: the answer says '{printable(str(error))[:80]}' twice of one thing, and readers differ "
            "in which of the two they take"
        ) from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Transient(
            f"could not {doing}: the answer of {host} is not a JSON object: is it a login page? Then give credentials, "
            "or the address of the server behind it"
        )
    if b"\\ud" in body.lower() and not _is_text(json.dumps(found, ensure_ascii=False)):
        found |= {key: _without_halves(found[key]) for key in _JUDGED_ONE_BY_ONE & found.keys()}
        if not _is_text(json.dumps(found, ensure_ascii=False)):
            raise CouldNotVerify(f"could not {doing}: the answer holds half a character")
    return found


def _without_halves(value: Any) -> Any:
    """Replace each text with half a character by an object, which nobody takes for a text."""
    match value:
        case str():
            return value if _is_text(value) else {}
        case list():
            return [_without_halves(part) for part in value]
        case dict():
            return {printable(key): _without_halves(part) for key, part in value.items()}
        case _:
            return value


class _KeyTwice(Exception):
    """A JSON object has a key twice; the text of the error is the key."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _KeyTwice(next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1))
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(answer: Answer, host: str) -> Refusal:
    code, message, signed_only, text = "", "", False, ""
    with contextlib.suppress(AuditError, ValueError, RecursionError):
        body = answer.body("read an error", _MAX_ERROR_BYTES)
        text = body[:300].decode("utf-8", "replace")
        said, text = json.loads(body), ""
        if isinstance(said, dict):
            code = printable(str(said.get("error_code") or ""))[:80]
            message = printable(redact(str(said.get("message") or "").strip().partition("\n")[0]))[:300]
            signed_only = said.get("artifacts_presigned_only") is True
    advised = retry_after_seconds(answer.headers.get("Retry-After"))
    return Refusal(answer.status, code, message, host_of(host), advised, signed_only, text)


def _origin(url: str) -> Any:
    try:
        return origin_of(url)
    except ValueError:
        return NOBODY


def _signed_refused(answer: Answer, url: str, doing: str) -> AuditError:
    status = answer.status
    if status in REFUSALS:
        advised = retry_after_seconds(answer.headers.get("Retry-After"))
        return Refused(f"could not {doing}: {host_of(url)} answered {status}", advised)
    if status >= 500:
        return Transient(f"could not {doing}: {host_of(url)} answered {status}")
    if status in (400, 401, 403):
        return Denied(f"could not {doing}: {host_of(url)} does not accept the signed URL ({status})")
    return CouldNotVerify(f"could not {doing}: {host_of(url)} answered {status} to the signed URL")
