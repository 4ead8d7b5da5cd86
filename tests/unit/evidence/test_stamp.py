"""A time-stamp's authority counts as it was when it made the stamp, and learns nothing but a digest.

The stamps are OpenSSL's, of certificates whose keys are thrown away.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.loopback import HttpServer, Quiet, serving

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.evidence.stamp import StampDoesNotHold, must_be_signed_by, request_stamp, time_of

_STAMPS = Path(__file__).parents[2] / "golden" / "stamps"
_STATEMENT = (_STAMPS / "statement.txt").read_bytes()


def _stamp(name: str) -> bytes:
    return (_STAMPS / f"{name}.tsr").read_bytes()


def test_an_authority_that_has_expired_since_holds_and_is_named() -> None:
    stamp = _stamp("expired-since")
    valid_until = must_be_signed_by(stamp, _STATEMENT, _STAMPS / "tsa-ca.pem")
    assert time_of(stamp, _STATEMENT) < valid_until < datetime.now(UTC)


@pytest.mark.parametrize(("name", "said"), [("expired-before", "expired on"), ("not-yet", "was not valid before")])
def test_an_authority_that_was_not_valid_when_it_stamped_proves_nothing(name: str, said: str) -> None:
    with pytest.raises(StampDoesNotHold, match=rf"does not prove its time, 2026-11-28: .* {said} 202"):
        must_be_signed_by(_stamp(name), _STATEMENT, _STAMPS / "tsa-ca.pem")


def test_certificates_that_are_there_twice_are_there_once(tmp_path: Path) -> None:
    """As in a file that was put together of an authority's chain and its root."""
    twice = tmp_path / "twice.pem"
    twice.write_bytes((_STAMPS / "tsa-ca.pem").read_bytes() * 2)
    assert must_be_signed_by(_stamp("expired-since"), _STATEMENT, twice)


@contextmanager
def _authority(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str | None]]]:
    """A server that answers like this; its host and port, and the sign-ins that it was sent."""
    signed_in: list[str | None] = []

    class Answering(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            signed_in.append(self.headers.get("Authorization"))
            answer(self)

    server = HttpServer(("127.0.0.1", 0), Answering)
    with serving(server):
        yield f"127.0.0.1:{server.server_port}", signed_in


def _begin(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"0")
    handler.wfile.flush()


@pytest.mark.parametrize(("user", "sent"), [("", None), ("bob:p%40x@", "Basic Ym9iOnBAeA==")])
def test_only_the_address_names_a_sign_in(
    user: str, sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    authority = _authority(lambda handler: handler.send_error(403))
    with authority as (host, signed_in), pytest.raises(CouldNotVerify, match="answered with status 403"):
        request_stamp(_STATEMENT, f"http://{user}{host}/")
    assert signed_in == [sent]


def test_an_answer_that_breaks_off() -> None:
    with _authority(_begin) as (host, _), pytest.raises(CouldNotVerify, match="the answer broke off"):
        request_stamp(_STATEMENT, f"http://{host}")


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        _begin(handler)
        over.wait(20)

    monkeypatch.setattr("registry_audit.evidence.stamp._SECONDS", 0.1)
    with _authority(drip) as (host, _), pytest.raises(CouldNotVerify, match="it took longer than"):
        request_stamp(_STATEMENT, f"http://{host}")
    over.set()


@pytest.mark.parametrize("url", ["tsa.example.com", "ftp://tsa.example.com", "http://", "http://[tsa", "http://tsa:x"])
def test_no_address_of_an_authority(url: str) -> None:
    with pytest.raises(UsageError, match=r"--timestamp-url .*: give an http\(s\) address"):
        request_stamp(_STATEMENT, url)
