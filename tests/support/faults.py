"""What a network, a load balancer or a hostile server can do to an answer. For `FaultyProxy.fault`."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from support.faulty_proxy import Exchange, Fault, Response

# Names no model may bring with it: path escapes, other files, no name at all, none that a file system could hold.
HOSTILE_NAMES: Mapping[str, str] = {
    "parent": "../x",
    "parent-inside": "data/../../x",
    "encoded-parent": "%2e%2e/x",
    "absolute": "/etc/hostname",
    "file-uri": "file:///etc/hostname",
    "double-slash": "a//b",
    "dot": ".",
    "empty": "",
    "nul": "a\0b",
    "newline": "a\nb",
    "backslash": "..\\x",
    "very-long": "n" * 5_000,
}

_LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form></form></body></html>"


def reset(*, after_bytes: int | None = None) -> Fault:
    """The connection is reset: before any answer, or after the head and `after_bytes` bytes of the body."""

    def fault(exchange: Exchange) -> None:
        if after_bytes is not None:
            response = exchange.forward()
            exchange.send_head(response, ("Content-Length", str(len(response.body))))
            exchange.write(response.body[:after_bytes])
        exchange.reset()

    return fault


def truncated(framing: Literal["original", "corrected", "chunked", "chunked-unfinished"]) -> Fault:
    """A 200 with only the first half of the body.

    original: the length of the whole body is promised, the connection ends early. corrected: the length fits the
    half, so HTTP sees nothing wrong. chunked: nor here, no length at all. chunked-unfinished: the last chunk is
    missing.
    """

    def fault(exchange: Exchange) -> None:
        whole = exchange.forward()
        half = replace(whole, body=whole.body[: len(whole.body) // 2])
        match framing:
            case "original":
                exchange.send_head(half, ("Content-Length", str(len(whole.body))))
                exchange.write(half.body)
                exchange.close()
            case "corrected":
                exchange.send(replace(half, framing="length"))
            case "chunked":
                exchange.send(replace(half, framing="chunked"))
            case "chunked-unfinished":
                exchange.send_head(half, ("Transfer-Encoding", "chunked"))
                exchange.send_chunk(half.body)
                exchange.close()

    return fault


def status(
    code: int, *, retry_after_seconds: int | str | None = None, headers: Mapping[str, str] | None = None
) -> Fault:
    """An error answer as a gateway before MLflow gives it, in HTML; the server never sees the request."""
    more = dict(headers or {}) | ({} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)})
    body = f"<html><head><title>{code}</title></head><body>made to fail with {code}</body></html>".encode()
    return _answer(Response(code, body, (("Content-Type", "text/html"), *more.items())))


def mlflow_error(code: int, error_code: str) -> Fault:
    """An error answer as MLflow itself gives it."""
    body = json.dumps({"error_code": error_code, "message": f"made to fail with {error_code}"}).encode()
    return _answer(Response(code, body))


def login_page() -> Fault:
    """200 and an HTML page: what a single sign-on gateway says to a client without a session."""
    return _answer(Response(200, _LOGIN_PAGE, (("Content-Type", "text/html; charset=utf-8"),)))


def other_json() -> Fault:
    """200 and JSON that is not the service's: what some gateways say when they are asked too often."""
    return _answer(Response(200, b'{"message": "slow down"}'))


def slow(*, seconds: float | None = None, release: threading.Event | None = None) -> Fault:
    """The right answer, but only after `seconds`, or when `release` is set; at the latest when the proxy ends."""

    def fault(exchange: Exchange) -> None:
        response = exchange.forward()
        if release is None:
            exchange.proxy.closing.wait(seconds)
        else:
            while not release.wait(0.02) and not exchange.proxy.closing.is_set():
                pass
        exchange.send(response)

    return fault


def wrong_bytes() -> Fault:
    """The right length, framing and status; one bit in the middle is not the server's."""

    def fault(exchange: Exchange) -> None:
        response = exchange.forward()
        body = bytearray(response.body)
        assert body, f"{exchange.target} has no bytes to get wrong"
        body[len(body) // 2] ^= 0x01
        exchange.send(replace(response, body=bytes(body)))

    return fault


def empty_listing(body: str = '{"files": []}') -> Fault:
    """The directory is there, says the server, and empty. MLflow itself says so of one that is gone."""
    return _answer(Response(200, body.encode()))


def without_entry(name: str) -> Fault:
    """A listing that leaves out the entry `name` where it would have it."""
    return _listing(lambda entries: [entry for entry in entries if entry["path"].rpartition("/")[2] != name])


def with_entries(*paths: str, size_bytes: int = 5, is_dir: bool = False) -> Fault:
    """A listing with more entries than the directory has."""
    added = [{"path": path, "is_dir": is_dir, "file_size": str(size_bytes)} for path in paths]
    return _listing(lambda entries: entries + added)


def duplicate_entries() -> Fault:
    """A listing that has every entry twice."""
    return _listing(lambda entries: entries + entries)


def resized_entries(size_bytes: int) -> Fault:
    """A listing whose files all claim the size `size_bytes`."""
    return _listing(lambda entries: [e if e["is_dir"] else e | {"file_size": str(size_bytes)} for e in entries])


def endless_nesting() -> Fault:
    """Every directory holds one more."""
    return _answer(Response(200, b'{"files": [{"path": "deeper", "is_dir": true}]}'))


def _answer(response: Response) -> Fault:
    return lambda exchange: exchange.send(response)


def _listing(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Fault:
    def fault(exchange: Exchange) -> None:
        response = exchange.forward()
        if response.status != 200:
            exchange.send(response)
            return
        entries = json.loads(response.body).get("files", [])
        exchange.send(replace(response, body=json.dumps({"files": change(entries)}).encode()))

    return fault
