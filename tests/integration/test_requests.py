"""How files and answers come from a real MLflow server: few requests, several at once, and politely."""

import hashlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
from mlflow.tracking.request_header.registry import _request_header_provider_registry
from support import faults
from support.auditing import Auditor
from support.faulty_proxy import API, DOWNLOADS, LISTINGS, FaultyProxy
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.audit.options import AuditOptions
from registry_audit.audit.pipeline import audit_version
from registry_audit.audit.reading import read_all
from registry_audit.audit.session import Session
from registry_audit.errors import Stopped
from registry_audit.net.transfers import FILES_AT_ONCE
from registry_audit.registry.connection import Server, connect
from registry_audit.registry.storage import Surroundings, storage_identity
from registry_audit.registry.versions import list_versions
from registry_audit.stores.base import Store
from registry_audit.stores.proxy import ProxyStore

LARGE = 9 * 2**20 + 321
FILES = {f"many/{part}/{n}": f"{part}{n}".encode() * n for part in "abcdefgh" for n in range(12)}
MANY = FILES | {"large.bin": bytes(range(256)) * (LARGE // 256), "it's a (name) ü+&;=,@.txt": b"x"}


@pytest.fixture(scope="module")
def many(mlflow_a: MlflowServer) -> Registered:
    registry = Registry(mlflow_a)
    return registry.add(logged=registry.log_run_model(seed=5, files=MANY))


@pytest.fixture
def session(proxy_a: FaultyProxy) -> Iterator[Session]:
    session = Session(Server(proxy_a.uri))
    yield session
    session.stop()


def open_proxy(session: Session, location: str) -> ProxyStore:
    connection = session.connection
    identity = storage_identity(location, Surroundings(connection.tracking_uri))
    return ProxyStore(connection.proxy(identity.endpoint), connection.transfers, identity)


def read(session: Session, store: Store, algorithm: str = "sha256") -> Any:
    return read_all(store, store.listing(session.limits), algorithm, pulse=session.pulse)


def test_one_request_a_file_over_connections_that_are_kept(
    session: Session, proxy_a: FaultyProxy, many: Registered
) -> None:
    reading = read(session, open_proxy(session, many.run_location))
    assert reading.problems == ()
    digests = {entry.path: entry.digest for entry in reading.entries}
    assert {path: digests[path] for path in MANY} == {
        path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in MANY.items()
    }
    downloads = [request for request in proxy_a.requests if re.search(DOWNLOADS, request.target)]
    listings = [request for request in proxy_a.requests if re.search(LISTINGS, request.target)]
    assert len(downloads) == len(reading.entries)
    assert len(listings) == 1 + len({"data", "data/nested", "many", *(path.rpartition("/")[0] for path in FILES)})
    assert len(proxy_a.requests) == len(downloads) + len(listings)
    assert len({request.connection for request in proxy_a.requests}) <= FILES_AT_ONCE + 1


def test_no_connection_is_kept_for_ever(session: Session, proxy_a: FaultyProxy, many: Registered) -> None:
    """Else one process of a server could have all of them, and answer for all the others."""
    location = open_proxy(session, many.run_location)
    for _ in range(150):
        location.root_listing()
    counts = Counter(request.connection for request in proxy_a.requests)
    assert sorted(counts.values()) == [22, 64, 64]


def test_nor_is_one_that_has_carried_much(
    session: Session, proxy_a: FaultyProxy, many: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.net.http._KEPT_BYTES", LARGE // 2)
    store = open_proxy(session, many.run_location)
    (large,) = (file for file in store.listing(session.limits).files if file.path == "large.bin")
    proxy_a.clear()
    for _ in range(3):
        assert sum(map(len, store.read(large))) == large.size
    assert len({request.connection for request in proxy_a.requests}) == len(proxy_a.requests) == 3


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux delays acknowledgements for so long")
def test_no_request_waits_for_an_acknowledgement(
    session: Session, proxy_a: FaultyProxy, many: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel forgets the option with every exchange, also on a kept connection; MLflow's own calls are included."""
    told, tell = [], socket.socket.setsockopt

    def note(sock: socket.socket, *option: Any) -> None:
        if option[:2] == (socket.IPPROTO_TCP, socket.TCP_QUICKACK):
            told.append(option)
        tell(sock, *option)

    monkeypatch.setattr(socket.socket, "setsockopt", note)
    read(session, open_proxy(session, many.run_location))
    session.connection.registry.get_model_version_download_uri(many.name, "1")
    assert len({request.connection for request in proxy_a.requests}) < len(proxy_a.requests)
    assert told == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * len(proxy_a.requests)


def test_the_largest_file_is_begun_first(session: Session, proxy_a: FaultyProxy, many: Registered) -> None:
    store = open_proxy(session, many.run_location)
    listing = store.listing(session.limits)
    begun, asked = threading.Event(), list[str]()

    def wait(exchange: Any) -> None:
        asked.append(exchange.target)
        if exchange.target.endswith("/large.bin"):
            begun.set()
        # Only as many requests as there are threads can be held here: a file that is begun late never comes.
        assert begun.wait(20)
        exchange.send(exchange.forward())

    path = many.run_location.partition(":")[2].lstrip("/")
    proxy_a.fault(wait, path=f"/{re.escape(path)}/")
    assert read_all(store, listing, "sha256", pulse=session.pulse).problems == ()
    assert len(asked) == len(listing.files) > FILES_AT_ONCE + 1


def test_files_and_directories_are_asked_for_together(session: Session, proxy_a: FaultyProxy, many: Registered) -> None:
    for path in (r"path=.*%2Fmany%2F.", rf"{DOWNLOADS}.*/many/"):
        together = threading.Barrier(4)

        def wait(exchange: Any, together: threading.Barrier = together) -> None:
            together.wait(20)
            exchange.send(exchange.forward())

        proxy_a.fault(wait, path=path, times=4)
    assert read(session, open_proxy(session, many.run_location)).problems == ()


def test_credentials_are_sent_with_every_request(proxy_a: FaultyProxy, many: Registered) -> None:
    session = Session(Server(proxy_a.uri.replace("://", "://alice:s3cret@")))
    read(session, open_proxy(session, many.run_location))
    assert {request.headers.get("Authorization") for request in proxy_a.requests} == {"Basic YWxpY2U6czNjcmV0"}
    session.stop()


class RenewedToken(RequestHeaderProvider):
    """Such plugins sign in to servers behind an identity provider, whose tokens hold for some minutes."""

    current = 0

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return {"X-Token": str(RenewedToken.current)}


def test_a_token_that_mlflow_renews_is_renewed(
    session: Session, proxy_a: FaultyProxy, many: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_request_header_provider_registry, "_registry", [RenewedToken()])
    store = open_proxy(session, many.run_location)
    store.root_listing()

    def expired(exchange: Any) -> None:
        RenewedToken.current += 1
        let_in(exchange)

    def let_in(exchange: Any) -> None:
        held = exchange.handler.headers["X-Token"] == str(RenewedToken.current)
        exchange.send(exchange.forward()) if held else faults.status(401)(exchange)

    proxy_a.fault(expired, path=LISTINGS, times=1)
    proxy_a.fault(let_in)
    assert read(session, store).problems == ()
    tokens = [request.headers["X-Token"] for request in proxy_a.requests]
    assert set(tokens) == {str(RenewedToken.current - 1), str(RenewedToken.current)}
    assert tokens.count(str(RenewedToken.current - 1)) < 2 + FILES_AT_ONCE


def test_a_redirect_is_followed(session: Session, proxy_a: FaultyProxy, many: Registered) -> None:
    def elsewhere(exchange: Any) -> None:
        faults.status(307, headers={"Location": exchange.target + "?elsewhere"})(exchange)

    rule = proxy_a.fault(elsewhere, path="/large.bin$", times=1)
    assert read(session, open_proxy(session, many.run_location)).problems == ()
    assert rule.hits == 1


def test_no_more_requests_at_once_than_asked_for(proxy_a: FaultyProxy, many: Registered, audit: Auditor) -> None:
    proxy_a.fault(faults.slow(seconds=0.01))
    audited = audit(proxy_a.uri, "--model", many.name, "--max-requests", "2")
    assert audited.exit_status == 0
    assert proxy_a.most_in_flight == 2


def test_no_more_bytes_in_a_second_than_asked_for(proxy_a: FaultyProxy, many: Registered, audit: Auditor) -> None:
    started = time.monotonic()
    audited = audit(proxy_a.uri, "--model", many.name, "--max-bytes-per-second", "4000000")
    assert audited.exit_status == 0
    assert time.monotonic() - started > LARGE / 4_000_000


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_time_to_come_back_at_is_kept_by_all(
    proxy_a: FaultyProxy, many: Registered, audit: Auditor, code: int, form: str
) -> None:
    told, arrivals = list[float](), list[float]()

    def later(exchange: Any) -> None:
        told.append(time.monotonic())
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        faults.status(code, retry_after_seconds=2 if form == "seconds" else at)(exchange)

    def note(exchange: Any) -> None:
        arrivals.append(time.monotonic())
        exchange.send(exchange.forward())

    proxy_a.fault(later, path="/large.bin$", times=1)
    proxy_a.fault(note)
    audited = audit(proxy_a.uri, "--model", many.name)
    assert (audited.exit_status, audited.row["verdict"]) == (0, "same_storage")
    assert [at for at in arrivals if told[0] + 0.5 < at < told[0] + 1.9] == []
    assert [at for at in arrivals if at > told[0] + 1.9]


@pytest.mark.parametrize("header", ["soon", "1e3", "-5", "99999999999999999999"])
def test_a_time_that_makes_no_sense(
    proxy_a: FaultyProxy, many: Registered, audit: Auditor, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.net.throttle.MAX_PAUSE_SECONDS", 0.2)
    for path in (API, LISTINGS, "/large.bin$"):
        proxy_a.fault(faults.status(429, retry_after_seconds=header), path=path, times=1)
    assert audit(proxy_a.uri, "--model", many.name).exit_status == 0


def test_a_server_that_names_a_time_is_asked_more_often_than_one_that_fails(
    proxy_a: FaultyProxy, many: Registered, audit: Auditor
) -> None:
    rule = proxy_a.fault(faults.status(503, retry_after_seconds=0), path="/large.bin$", times=7)
    assert audit(proxy_a.uri, "--model", many.name).exit_status == 0
    assert rule.hits == 7


def test_one_that_never_lets_us_in_is_left_at_last(proxy_a: FaultyProxy, many: Registered, audit: Auditor) -> None:
    rule = proxy_a.fault(faults.status(429, retry_after_seconds=0), path="/large.bin$")
    audited = audit(proxy_a.uri, "--model", many.name)
    assert (audited.exit_status, audited.rules) == (3, {"RA009"})
    assert rule.hits < 40, "twice: once more at the end of the audit"


def test_without_an_audit_mlflow_is_what_it_was(proxy_a: FaultyProxy, mlflow_a: MlflowServer) -> None:
    from mlflow import MlflowClient

    connect(Server(proxy_a.uri)).transfers.stop()
    rule = proxy_a.fault(faults.status(503), path=API, times=2)
    MlflowClient(proxy_a.uri, proxy_a.uri).search_registered_models(max_results=1)
    assert rule.hits == 2


@pytest.mark.parametrize("when", ["before the answer", "in the body", "told to come back later"])
def test_stopping_ends_what_is_under_way_and_its_threads(proxy_a: FaultyProxy, many: Registered, when: str) -> None:
    options = AuditOptions(tracking_uri=proxy_a.uri)
    session = Session(options.server, throttle=options.throttle())
    (version,) = (v for v in list_versions(session.connection, f"name = '{many.name}'").versions)
    hanging = threading.Event()

    def hang(exchange: Any) -> None:
        if when == "told to come back later":
            faults.status(429, retry_after_seconds=200)(exchange)
            hanging.set()
            return
        response = exchange.forward()
        if when == "in the body":
            exchange.send_head(response, ("Content-Length", str(len(response.body))))
            exchange.write(response.body[: len(response.body) // 2])
        hanging.set()
        exchange.proxy.closing.wait(60)
        exchange.close()

    proxy_a.fault(hang, path=r"/large.bin$|/many/")
    before = set(threading.enumerate())
    ended: list[BaseException] = []

    def work() -> None:
        try:
            audit_version(session, version)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert hanging.wait(20)
    started = time.monotonic()
    session.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert time.monotonic() - started < 30
    assert [type(error) for error in ended] == [Stopped]
    while any(left := [t for t in threading.enumerate() if t.name.startswith(("read-", "digest")) and t not in before]):
        assert time.monotonic() - started < 45, left
        time.sleep(0.01)
