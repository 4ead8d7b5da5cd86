"""Objects of a real S3-compatible endpoint: whole, in ranges, changed in between, refused, cut short."""

import base64
import contextlib
import dataclasses
import gzip
import hashlib
import re
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from support import faults
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.s3 import S3Endpoint

from registry_audit.audit.copies import Reading
from registry_audit.audit.reading import read_all, read_pair
from registry_audit.errors import Stopped
from registry_audit.model.limits import Limits
from registry_audit.model.listing import Listing
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.transfers import RANGES_AT_ONCE, Transfers
from registry_audit.stores.ranges import RANGE_BYTES
from registry_audit.stores.s3 import S3Store
from registry_audit.stores.s3_again import Again
from registry_audit.stores.s3_page import timestamp

LARGE = 3 * RANGE_BYTES + 12_345


@dataclass(frozen=True, slots=True)
class Bucket:
    client: Any
    name: str
    files: dict[str, bytes]

    def put(self, path: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"models/a/{path}", Body=content)

    def store(self, politeness: Politeness | None = None) -> tuple[S3Store, Listing]:
        store = S3Store(StorageIdentity("s3", "", self.name, "models/a"), Transfers(politeness))
        return store, store.listing(Limits())


@pytest.fixture
def proxy(s3_environment: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What stands between the clients and the endpoint."""
    with faulty_proxy(s3_environment.url) as proxy:
        for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, proxy.uri)
        yield proxy


@pytest.fixture(autouse=True)
def slow_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that ranges pay."""
    monkeypatch.setattr("registry_audit.stores.s3._FAST_BYTES_PER_SECOND", float("inf"))
    monkeypatch.setattr("registry_audit.stores.s3._BUSY", float("inf"))


@pytest.fixture(params=["by botocore", "again"])
def bucket(
    request: pytest.FixtureRequest, proxy: FaultyProxy, s3_endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    """botocore asks, or what it asked before is sent again: both must bear all that may come."""
    client = s3_endpoint.client()
    name = f"bucket-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    files = {"MLmodel": b"flavors: {}", "empty": b"", "data/weights": secrets.token_bytes(LARGE)}
    bucket = Bucket(client, name, files | {f"data/{n}": bytes([n]) * n for n in range(1, 40)})
    for path, content in bucket.files.items():
        bucket.put(path, content)
    if request.param == "by botocore":
        monkeypatch.setattr(Again, "of", lambda *_: None)
    store, listing = bucket.store()
    assert list(store.read(listing.files[0])) == [b"flavors: {}"]
    proxy.requests.clear()
    return bucket


def read(store: S3Store, listing: Listing, algorithm: str = "sha256") -> Reading:
    return read_all(store, listing, algorithm, pulse=lambda count: None)


def problems(reading: Reading) -> list[tuple[str, str | None]]:
    return [(problem.rule, problem.path) for problem in reading.problems]


def digests(bucket: Bucket) -> dict[str, str]:
    return {path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in bucket.files.items()}


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T15:41:35.123Z",
        "2026-11-24T15:41:35Z",
        "2026-11-24T15:41:35+02:00",
        "2026-11-24T15:41:35",
        "Tue, 24 Nov 2026 15:41:35 GMT",
        "Tue, 24 Nov 2026 15:41:35 +0200",
        "2026-11-24 15:41:35 UTC",
        "1796000000",
        1796000000,
        1796000000.5,
    ],
)
def test_a_time_is_read_as_botocore_reads_it(text: Any) -> None:
    """It is part of what a fingerprint is made of: another way to write it would have everything read again."""
    assert str(timestamp(text)) == str(parse_timestamp(text))


def test_what_is_no_time() -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        timestamp("yesterday")


def test_every_object_is_read_whole_and_a_large_one_in_ranges(bucket: Bucket, proxy: FaultyProxy) -> None:
    reading = read(*bucket.store())
    assert reading.problems == ()
    assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)
    assert reading.mlmodel == b"flavors: {}"
    asked = [request for request in proxy.requests if request.method == "GET" and "list-type" not in request.target]
    ranges = sorted(request.headers["Range"] for request in asked if "Range" in request.headers)
    ends = [(start, min(start + RANGE_BYTES, LARGE) - 1) for start in range(RANGE_BYTES, LARGE, RANGE_BYTES)]
    assert ranges == sorted(f"bytes={start}-{end}" for start, end in ends)
    assert all(request.headers.get("If-Match") for request in asked)
    assert len(asked) == len(bucket.files) + len(ends), "one request a file, and one a range of what came slowly"


def test_a_large_object_that_comes_fast_is_read_over_one_connection(
    bucket: Bucket, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.stores.s3._FAST_BYTES_PER_SECOND", 1)
    reading = read(*bucket.store())
    assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)
    assert not [request for request in proxy.requests if "Range" in request.headers]


def test_many_large_objects_at_once_are_each_read_over_one_connection(bucket: Bucket, proxy: FaultyProxy) -> None:
    store, listing = bucket.store()
    with contextlib.ExitStack() as others:
        for _ in range(RANGES_AT_ONCE):
            others.enter_context(store.transfers.large_file())
        assert {entry.path: entry.digest for entry in read(store, listing).entries} == digests(bucket)
    assert not [request for request in proxy.requests if "Range" in request.headers]
    assert read(store, listing).problems == ()
    assert [request for request in proxy.requests if "Range" in request.headers], "when the others are gone"


def test_what_comes_as_fast_as_it_is_taken_in_is_read_over_one_connection(
    bucket: Bucket, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.stores.s3._BUSY", 0)
    reading = read(*bucket.store())
    assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)
    assert not [request for request in proxy.requests if "Range" in request.headers]


def test_two_copies_that_come_slowly_are_read_one_after_the_other_in_ranges(bucket: Bucket, proxy: FaultyProxy) -> None:
    (one, listing), (two, _) = bucket.store(), bucket.store()
    two.transfers = one.transfers
    for reading in read_pair(one, listing, two, listing, "sha256", pulse=lambda count: None):
        assert reading.problems == ()
        assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)
    assert [request for request in proxy.requests if "Range" in request.headers]


def test_two_copies_that_come_fast_are_read_in_lockstep(
    bucket: Bucket, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.stores.s3._FAST_BYTES_PER_SECOND", 1)
    (one, listing), (two, _) = bucket.store(), bucket.store()
    two.transfers = one.transfers
    proxy.requests.clear()
    for reading in read_pair(one, listing, two, listing, "sha256", pulse=lambda count: None):
        assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)
    assert len(proxy.requests) == 2 * len(bucket.files)


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
def test_an_object_that_was_overwritten_since_it_was_listed(bucket: Bucket, path: str) -> None:
    store, listing = bucket.store()
    bucket.put(path, bytes(len(bucket.files[path])))
    reading = read(store, listing)
    assert problems(reading) == [("RA008", path)]
    assert path not in {entry.path for entry in reading.entries}


def test_an_object_that_is_overwritten_between_two_ranges_is_never_a_mix(bucket: Bucket, proxy: FaultyProxy) -> None:
    store, listing = bucket.store()

    def overwrite(exchange: Any) -> None:
        bucket.put("data/weights", bytes(LARGE))
        exchange.send(exchange.forward())

    # The third request for it, whichever range that is, finds another object.
    proxy.fault(lambda exchange: exchange.send(exchange.forward()), path="/weights", times=2)
    assert proxy.fault(overwrite, path="/weights", times=1).hits == 0
    assert problems(read(store, listing)) == [("RA008", "data/weights")]


def test_an_endpoint_that_ignores_conditions(bucket: Bucket, proxy: FaultyProxy) -> None:
    store, listing = bucket.store()
    bucket.put("data/weights", bytes(LARGE))

    def unconditionally(exchange: Any) -> None:
        del exchange.handler.headers["If-Match"]
        exchange.send(exchange.forward())

    proxy.fault(unconditionally, path="/weights")
    assert problems(read(store, listing)) == [("RA008", "data/weights")]


def test_an_endpoint_that_ignores_ranges(bucket: Bucket, proxy: FaultyProxy) -> None:
    def whole(exchange: Any) -> None:
        del exchange.handler.headers["Range"]
        exchange.send(exchange.forward())

    proxy.fault(whole, path="/weights")
    assert problems(read(*bucket.store())) == [("RA009", "data/weights")]


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
@pytest.mark.parametrize(
    "fault",
    [faults.status(503, retry_after_seconds=1), faults.status(429), faults.truncated("original"), faults.reset()],
    ids=["503", "429", "cut", "reset"],
)
def test_a_fault_that_passes_is_retried(bucket: Bucket, proxy: FaultyProxy, path: str, fault: Any) -> None:
    store, listing = bucket.store()
    rule = proxy.fault(fault, path=f"{re.escape(path)}$", times=1)
    reading = read(store, listing)
    assert (rule.hits, reading.problems) == (1, ())
    assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("fast", [1, float("inf")], ids=["whole", "ranges"])
@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
def test_the_stores_own_checksum_is_verified(
    bucket: Bucket,
    proxy: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    right: bool,
    fast: float,
    algorithm: str,
) -> None:
    monkeypatch.setattr("registry_audit.stores.s3._FAST_BYTES_PER_SECOND", fast)

    def with_checksum(exchange: Any) -> None:
        response = exchange.forward()
        body = response.body if right else response.body + b"x"
        digest = hashlib.sha256(body).digest() if algorithm == "sha256" else zlib.crc32(body).to_bytes(4, "big")
        given = tuple(header for header in response.headers if not header[0].lower().startswith("x-amz-checksum"))
        headers = (*given, (f"x-amz-checksum-{algorithm}", base64.b64encode(digest).decode()))
        exchange.send(dataclasses.replace(response, headers=headers))

    store, listing = bucket.store()
    proxy.fault(with_checksum, path=f"{re.escape(path)}$")
    reading = read(store, listing)
    if right:
        assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)
    else:
        assert problems(reading) == [("RA009", path)]


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "not gzip at all"])
@pytest.mark.parametrize("path", ["data/weights", "data/7"])
def test_an_object_that_is_said_to_be_encoded_is_read_as_it_is_stored(
    bucket: Bucket, path: str, pack: Callable[[bytes], bytes]
) -> None:
    bucket.files[path] = stored = pack(bucket.files[path])
    bucket.client.put_object(Bucket=bucket.name, Key=f"models/a/{path}", Body=stored, ContentEncoding="gzip")
    reading = read(*bucket.store())
    assert reading.problems == ()
    assert {entry.path: entry.digest for entry in reading.entries} == digests(bucket)


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
@pytest.mark.parametrize("framing", ["original", "corrected"])
def test_a_body_that_is_always_cut_is_a_problem(bucket: Bucket, proxy: FaultyProxy, path: str, framing: Any) -> None:
    store, listing = bucket.store()
    proxy.fault(faults.truncated(framing), path=f"{re.escape(path)}$")
    ((rule, where),) = problems(read(store, listing))
    assert rule in ("RA008", "RA009")
    assert where == path


def test_what_one_request_is_told_all_heed(bucket: Bucket, proxy: FaultyProxy) -> None:
    store, listing = bucket.store()
    told: list[float] = []

    def later(exchange: Any) -> None:
        told.append(time.monotonic())
        faults.status(503, retry_after_seconds=2)(exchange)

    proxy.fault(later, path="/MLmodel$", times=1)
    arrivals: list[float] = []

    def note(exchange: Any) -> None:
        arrivals.append(time.monotonic())
        exchange.send(exchange.forward())

    proxy.fault(note, path=r"/data/\d+$")
    assert read(store, listing).problems == ()
    # What was under way may still arrive; then nobody asks until the time is over.
    during = [at for at in arrivals if told[0] + 0.5 < at < told[0] + 1.9]
    assert during == []


@pytest.mark.parametrize("when", ["before the answer", "in the body"])
def test_stopping_ends_a_read_that_hangs(bucket: Bucket, proxy: FaultyProxy, when: str) -> None:
    store, listing = bucket.store()
    hanging = threading.Event()

    def half(exchange: Any) -> None:
        response = exchange.forward()
        if when == "in the body":
            exchange.send_head(response, ("Content-Length", str(len(response.body))))
            exchange.write(response.body[:1000])
        hanging.set()
        exchange.proxy.closing.wait(30)
        exchange.close()

    proxy.fault(half, path="/weights$")
    ended: list[BaseException] = []

    def work() -> None:
        try:
            read(store, listing)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert hanging.wait(20)
    started = time.monotonic()
    store.transfers.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - started < 5
    assert [type(error) for error in ended] == [Stopped]
