"""Objects of real object stores: whole, changed in between, refused, cut short, and under names that mean trouble."""

import contextlib
import dataclasses
import gzip
import hashlib
import itertools
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from support import faults
from support.clouds import AzureCloud, Cloud, GcsCloud, S3Cloud, azurite, fake_gcs, seaweedfs
from support.faulty_proxy import Exchange, FaultyProxy, Response, faulty_proxy
from support.s3 import S3Endpoint

from registry_audit.audit.copies import Reading
from registry_audit.audit.reading import read_all, read_pair
from registry_audit.errors import CouldNotVerify, Stopped, UsageError
from registry_audit.model.listing import Limits, Listing
from registry_audit.net.throttle import Throttle
from registry_audit.net.transfers import Transfers
from registry_audit.registry.storage import storage_identity
from registry_audit.stores.objects import Kept, ObjectStore
from registry_audit.stores.store_for_location import bucket_of

LARGE = (5 << 20) + 12_345
FILES = {"MLmodel": b"flavors: {}", "empty": b""} | {f"data/{n}": bytes([n]) * n for n in range(1, 10)}


def open_at(uri: str, throttle: Throttle | None = None) -> ObjectStore:
    identity = storage_identity(uri, "sqlite://")
    return ObjectStore(bucket_of(identity), identity, Transfers(throttle))


@dataclass(frozen=True, slots=True)
class Model:
    """Under a key of its own, behind a proxy that misbehaves when told to."""

    cloud: Cloud
    proxy: FaultyProxy
    home: str
    files: dict[str, bytes]
    by_obstore: bool = False

    def put(self, path: str, content: bytes, *, encoding: str | None = None) -> None:
        self.cloud.put(f"{self.home}/models/a/{path}", content, encoding=encoding)

    def store(self, throttle: Throttle | None = None, key: str = "models/a") -> ObjectStore:
        return open_at(self.cloud.uri(f"{self.home}/{key}"), throttle)

    def read(self, listing: Listing | None = None) -> Reading:
        store = self.store()
        found = store.listing(Limits()) if listing is None else listing
        return read_all(store, found, "sha256", pulse=lambda count: None)

    @property
    def digests(self) -> dict[str, str]:
        return {path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in self.files.items()}

    @property
    def bodies(self) -> list[Any]:
        return [request for request in self.proxy.requests if not re.search(self.cloud.listings, request.target)]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: S3Endpoint) -> Iterator[Callable[[str], Cloud]]:
    """Each is started when a test first asks for it."""
    with contextlib.ExitStack() as stack:
        known: dict[str, Cloud] = {"moto": S3Cloud(s3_endpoint)}
        start: dict[str, Any] = {"seaweedfs": seaweedfs, "gcs": fake_gcs, "azure": azurite}

        def cloud(name: str) -> Cloud:
            if name not in known:
                known[name] = stack.enter_context(start[name](tmp_path_factory.mktemp(name)))
            return known[name]

        yield cloud


BY_OBSTORE = " by obstore"


# moto is another S3 than SeaweedFS, read by the same code.
CLOUDS = [
    pytest.param("moto", marks=pytest.mark.slow),
    f"moto{BY_OBSTORE}",
    "seaweedfs",
    "gcs",
    "azure",
    f"azure{BY_OBSTORE}",
]


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest, clouds: Callable[[str], Cloud], monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Read as any endpoint is read that is not the cloud's own, or by obstore, as at the cloud's own (gcs: public)."""
    for module in ("s3", "gcs", "azure"):  # a port may come again, and with it what was made for another test
        monkeypatch.setattr(f"registry_audit.stores.{module}._known", Kept())
    if request.param.endswith(BY_OBSTORE):
        for module in ("s3", "azure"):
            monkeypatch.setattr(f"registry_audit.stores.{module}.may_hold_credentials", lambda endpoint: True)
    return clouds(request.param.removesuffix(BY_OBSTORE))


@pytest.fixture
def proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(cloud.url) as proxy:
        for name, value in cloud.environment(proxy.uri).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def model(request: pytest.FixtureRequest, cloud: Cloud, proxy: FaultyProxy) -> Model:
    files = FILES | {"data/weights": secrets.token_bytes(LARGE)}
    model = Model(cloud, proxy, secrets.token_hex(6), dict(files), BY_OBSTORE in request.node.name)
    for path, content in files.items():
        model.put(path, content)
    if request.node.callspec.params["cloud"] == "moto":
        # S3's first page comes through boto3, and so all of them where obstore reads; here it is the later ones.
        store = model.store()
        store.listing(Limits())
        assert bucket_of(store.identity).breaks_off
        proxy.requests.clear()
    return model


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr("registry_audit.stores.objects._REFUSED_SECONDS", 0.01)


def problems(reading: Reading) -> list[tuple[str, str | None]]:
    return [(problem.rule, problem.path) for problem in reading.problems]


def by_digest(reading: Reading) -> dict[str, str]:
    return {entry.path: entry.digest for entry in reading.entries}


def route(path: str) -> str:
    return rf"{re.escape(path).replace('/', '(?:/|%2F)')}(\?|$)"


# ---- what is there


def test_every_object_is_read_whole_with_one_request(model: Model) -> None:
    reading = model.read()
    assert (reading.problems, reading.mlmodel) == ((), b"flavors: {}")
    assert by_digest(reading) == model.digests
    assert len(model.bodies) == len(model.files)
    conditions = [
        "if-match" in map(str.lower, request.headers) or "generation=" in request.target for request in model.bodies
    ]
    assert all(conditions)
    looks = sum(bool(re.search(r"/storage/v1/b/[^/]*\?", request.target)) for request in model.proxy.requests)
    assert len(model.proxy.requests) == len(model.bodies) + 1 + looks, "one listing"
    assert looks <= 1


def test_two_copies(model: Model) -> None:
    store = model.store()
    listing = store.listing(Limits())
    for reading in read_pair(store, listing, store, listing, "sha256", pulse=lambda count: None):
        assert by_digest(reading) == model.digests


def test_only_the_root(model: Model) -> None:
    assert {file.path for file in model.store().root_listing().files} == {"MLmodel", "empty"}


def test_a_place_where_nothing_is(model: Model) -> None:
    for key in ("models/b", "models/a/data/1", "model", "models/a/dat"):
        assert model.store(key=key).listing(Limits()).files == ()


def test_a_bucket_that_is_not_there(model: Model) -> None:
    missing = model.cloud.uri("m").replace(model.cloud.bucket, "no-such-bucket")
    with pytest.raises((CouldNotVerify, UsageError)):
        open_at(missing).listing(Limits())


@pytest.mark.parametrize("cloud", ["seaweedfs"], indirect=True)
def test_a_listing_of_several_pages(model: Model) -> None:
    many = [f"{n:04}" for n in range(1_005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: model.cloud.put(f"{model.home}/many/{path}", b"x"), many))
    assert [file.path for file in model.store(key="many").listing(Limits()).files] == many


# ---- names

NAMES = [
    "a b",
    " x ",
    "+",
    "%41",
    "%2F",
    "q?x",
    "h#x",
    "ü",
    "u\u0308",
    "'\"<>&",
    "*~[]{}|^`",
    "x.",
    "...",
    "a:b@c,d;e=f$!",
]
# obstore has no way to ask for these.
NOT_CARRIED = ["tab\there", "bell\x07", "delete\x7f"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is(model: Model, name: str) -> None:
    model.cloud.put(f"{model.home}/names/{name}", name.encode())
    store = model.store(key="names")
    (file,) = store.listing(Limits()).files
    assert store.listing(Limits()).files == (file,), "a later page says the same"
    assert (file.path, b"".join(store.read(file))) == (name, name.encode())


@pytest.mark.parametrize("name", NOT_CARRIED)
def test_nor_is_another_object_read_for_a_name_that_obstore_cannot_carry(
    clouds: Callable[[str], Cloud], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cloud = clouds("moto")
    for variable, value in cloud.environment(cloud.url).items():
        monkeypatch.setenv(variable, value)
    home = secrets.token_hex(6)
    cloud.put(f"{home}/{name}", b"the right one")
    store = open_at(cloud.uri(home))
    (file,) = store.listing(Limits()).files
    assert store.listing(Limits()).files == (file,), "a later page says the same"
    assert (file.path, b"".join(store.read(file))) == (name, b"the right one")


@pytest.mark.parametrize("key", ["/m", "m/"])
def test_the_root_is_a_key_literally(clouds: Callable[[str], Cloud], monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """`s3://bucket//m` is the key `/m`, and `m` beside it another model."""
    cloud = clouds("moto")
    for variable, value in cloud.environment(cloud.url).items():
        monkeypatch.setenv(variable, value)
    home = secrets.token_hex(6)
    key = key.replace("m", home)
    cloud.put(f"{key.rstrip('/')}/MLmodel", b"the right one")
    if not key.startswith(home):
        cloud.put(f"{home}/MLmodel", b"another")
    store = open_at(cloud.uri(key))
    (file,) = store.listing(Limits()).files
    assert b"".join(store.read(file)) == b"the right one"


def test_markers_of_directories_are_told_from_objects(
    clouds: Callable[[str], Cloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = clouds("moto")
    for variable, value in cloud.environment(cloud.url).items():
        monkeypatch.setenv(variable, value)
    home = secrets.token_hex(6)
    for key, content in {"/": b"", "/d/": b"", "/d": b"file", "/e/": b"content", "": b"beside"}.items():
        cloud.put(home + key, content)
    listing = open_at(cloud.uri(home)).listing(Limits())
    assert open_at(cloud.uri(home)).listing(Limits()) == listing, "a later page says the same"
    assert [(file.path, file.size) for file in listing.files] == [("d", 4)]
    assert listing.unsafe == ("e/",)
    assert [problem.rule for problem in listing.problems] == ["RA013"]


# ---- objects that change


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
def test_an_object_that_was_overwritten_since_it_was_listed(model: Model, path: str) -> None:
    listing = model.store().listing(Limits())
    model.put(path, bytes(len(model.files[path])))
    reading = model.read(listing)
    assert problems(reading) == [("RA008", path)]
    assert path not in by_digest(reading)


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
def test_a_server_that_ignores_conditions(model: Model, path: str) -> None:
    listing = model.store().listing(Limits())
    model.put(path, bytes(len(model.files[path])))

    def unconditionally(exchange: Exchange) -> None:
        del exchange.handler.headers["If-Match"]
        exchange.send(exchange.forward())

    model.proxy.fault(unconditionally, path=route(path))
    # The signature of an Azure key is over the condition too: without it the request is refused.
    rule = "RA009" if isinstance(model.cloud, AzureCloud) and model.by_obstore else "RA008"
    assert problems(model.read(listing)) == [(rule, path)]


def test_an_object_that_is_gone_since_it_was_listed(model: Model) -> None:
    listing = model.store().listing(Limits())
    model.cloud.delete(f"{model.home}/models/a/data/7")
    assert problems(model.read(listing)) in ([("RA009", "data/7")], [("RA008", "data/7")])


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "not gzip at all"])
@pytest.mark.parametrize("path", ["data/weights", "data/7"])
def test_an_object_that_is_said_to_be_encoded_is_read_as_it_is_stored(
    model: Model, path: str, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in model.cloud.environment(model.cloud.url).items():
        monkeypatch.setenv(name, value)  # the proxy does not pass on which encodings a client takes
    model.files[path] = stored = pack(model.files[path])
    model.put(path, stored, encoding="gzip")
    reading = model.read()
    assert reading.problems == ()
    assert by_digest(reading) == model.digests


# ---- answers that break off or are refused


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.status(503, retry_after_seconds=1),
        faults.status(429),
        faults.status(500),
        faults.truncated("original"),
        faults.reset(),
        faults.reset(after_bytes=3),
    ],
    ids=["503", "429", "500", "cut", "reset", "reset-in-body"],
)
def test_a_fault_that_passes_is_retried(model: Model, path: str, fault: Any) -> None:
    rule = model.proxy.fault(fault, path=route(path), times=1)
    reading = model.read()
    assert (rule.hits, reading.problems) == (1, ())
    assert by_digest(reading) == model.digests


@pytest.mark.parametrize("fault", [faults.status(503), faults.status(429), faults.status(500), faults.reset()])
def test_so_is_a_listing(model: Model, fault: Any) -> None:
    rule = model.proxy.fault(fault, path=model.cloud.listings, times=1)
    assert by_digest(model.read()) == model.digests
    assert rule.hits == 1


@pytest.mark.parametrize("path", ["data/weights", "data/7"])
@pytest.mark.parametrize("framing", ["original", "corrected"])
def test_a_body_that_is_always_cut_is_a_problem(model: Model, path: str, framing: Any) -> None:
    listing = model.store().listing(Limits())
    model.proxy.fault(faults.truncated(framing), path=route(path))
    ((rule, where),) = problems(model.read(listing))
    assert rule in ("RA008", "RA009")
    assert where == path


@pytest.mark.parametrize("code", [400, 401, 403, 404, 500, 503])
@pytest.mark.parametrize("path", ["data/weights", "data/7"])
def test_what_is_never_given_is_a_problem_and_asked_for_a_few_times_at_most(model: Model, path: str, code: int) -> None:
    rule = model.proxy.fault(faults.status(code), path=route(path))
    reading = model.read()
    # An object's generation that is not found may be gone, or overwritten.
    gone = code == 404 and isinstance(model.cloud, GcsCloud)
    assert problems(reading) == [("RA008" if gone else "RA009", path)]
    assert rule.hits <= 4
    assert by_digest(reading) == {name: digest for name, digest in model.digests.items() if name != path}


@pytest.mark.parametrize(
    "answer",
    [
        lambda answer: faults._LOGIN_PAGE,
        lambda answer: b"<html><body>Sign in</body></html>",
        lambda answer: b"",
        lambda answer: b"<Error><Code>AccessDenied</Code></Error>",
        lambda answer: b"{}",
        lambda answer: answer.body[: len(answer.body) // 2],
    ],
    ids=["page", "xhtml", "empty", "error", "json", "cut"],
)
def test_what_is_no_listing_is_no_empty_model(model: Model, answer: Callable[[Response], bytes]) -> None:
    def damage(exchange: Exchange) -> None:
        whole = exchange.forward()
        exchange.send(dataclasses.replace(whole, body=answer(whole)))

    model.proxy.fault(damage, path=model.cloud.listings)
    with pytest.raises((CouldNotVerify, UsageError)):
        model.store().listing(Limits())


@pytest.mark.parametrize("tokens", [[None], ["the-same-again"], ["by", "turns"]])
def test_a_listing_that_is_not_given_to_its_end(model: Model, tokens: list[str | None]) -> None:
    if tokens == [None] and not isinstance(model.cloud, S3Cloud):
        pytest.skip("without a token a listing of this cloud is at its end")
    pages = itertools.cycle([model.cloud.empty_page(f"{model.home}/models/a/b", token=token) for token in tokens])
    kind = (("Content-Type", "application/xml"),)
    rule = model.proxy.fault(
        lambda exchange: exchange.send(Response(200, next(pages), kind)), path=model.cloud.listings
    )
    with pytest.raises(CouldNotVerify):
        model.store().listing(Limits())
    assert rule.hits < 10


@pytest.mark.parametrize("said", ["<KeyCount>99</KeyCount>", "<NextContinuationToken>more</NextContinuationToken>"])
def test_a_listing_that_says_that_it_is_whole_and_names_more(model: Model, said: str) -> None:
    if not isinstance(model.cloud, S3Cloud):
        pytest.skip("a listing of this cloud counts nothing, and says only by a token that it goes on")
    key = f"{model.home}/models/a/b"
    page = (
        f"<ListBucketResult><Contents><Key>{key}</Key><Size>1</Size></Contents>{said}<IsTruncated>false</IsTruncated>"
    )
    answer = Response(200, f"{page}</ListBucketResult>".encode(), (("Content-Type", "application/xml"),))
    model.proxy.fault(lambda exchange: exchange.send(answer), path=model.cloud.listings)
    with pytest.raises(CouldNotVerify, match=r"counts 99 keys|does not end"):
        model.store().listing(Limits())


def test_a_page_without_end(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is more than a server may say, and it would fill the memory."""
    monkeypatch.setattr("registry_audit.net.http._MAX_ANSWER_BYTES", 1 << 20)
    sent, ended = list[int](), threading.Event()

    def endless(exchange: Exchange) -> None:
        exchange.send_head(exchange.forward(), ("Transfer-Encoding", "chunked"))
        try:
            while not exchange.proxy.closing.is_set() and len(sent) < 10_000:
                exchange.send_chunk(b" " * (1 << 16))
                sent.append(1 << 16)
        finally:
            ended.set()

    model.proxy.fault(endless, path=model.cloud.listings)
    with pytest.raises(CouldNotVerify, match="longer than"):
        model.store().listing(Limits())
    assert ended.wait(20)
    assert sum(sent) < 64 << 20


def test_a_listing_of_what_was_not_asked_for(model: Model) -> None:
    page = Response(200, model.cloud.empty_page("elsewhere/a", token="t"), (("Content-Type", "application/xml"),))
    model.proxy.fault(lambda exchange: exchange.send(page), path=model.cloud.listings)
    with pytest.raises(CouldNotVerify, match="not asked for"):
        model.store().listing(Limits())


def test_what_one_request_is_told_all_heed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.stores.objects._REFUSED_SECONDS", 2.0)
    told, arrivals = list[float](), list[float]()

    def later(exchange: Exchange) -> None:
        told.append(time.monotonic())
        faults.status(503)(exchange)

    def note(exchange: Exchange) -> None:
        arrivals.append(time.monotonic())
        exchange.send(exchange.forward())

    model.proxy.fault(later, path=route("MLmodel"), times=1)
    model.proxy.fault(note, path=r"data(/|%2F)\d+")
    assert model.read().problems == ()
    # What was under way may still arrive; then nobody asks until the time is over.
    assert [at for at in arrivals if told[0] + 0.5 < at < told[0] + 1.9] == []


@pytest.mark.parametrize("when", ["before the answer", "in the body", "in a listing"])
def test_stopping_ends_a_read_that_hangs(model: Model, when: str) -> None:
    store = model.store()
    listing = store.listing(Limits())
    hanging, ended = threading.Event(), list[BaseException]()

    def half(exchange: Exchange) -> None:
        response = exchange.forward()
        if when == "in the body":
            exchange.send_head(response, ("Content-Length", str(len(response.body))))
            exchange.write(response.body[:1000])
        hanging.set()
        exchange.proxy.closing.wait(30)
        exchange.close()

    def work() -> None:
        try:
            if when == "in a listing":
                store.listing(Limits())
            else:
                read_all(store, listing, "sha256", pulse=lambda count: None)
        except BaseException as error:
            ended.append(error)

    model.proxy.fault(half, path=model.cloud.listings if when == "in a listing" else route("data/weights"))
    thread = threading.Thread(target=work)
    thread.start()
    assert hanging.wait(20)
    started = time.monotonic()
    store.transfers.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert time.monotonic() - started < 30
    assert [type(error) for error in ended] == [Stopped]


@pytest.mark.parametrize(
    "what",
    [
        "a listing",
        "a small body",
        *(pytest.param(what, marks=pytest.mark.slow) for what in ("a large body", "a body of the SDK")),
    ],
)
def test_a_store_that_drips_is_given_up(model: Model, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr("registry_audit.net.throttle._SECONDS_TO_ARRIVE", 3.0)  # on a busy machine, too
    monkeypatch.setattr("registry_audit.net.throttle._LOOK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("registry_audit.net.throttle._LEAST_BYTES_PER_SECOND", 4 << 20)
    if what == "a body of the SDK":
        monkeypatch.setattr("registry_audit.stores.objects.carries", lambda key: False)
    listing, store = model.store().listing(Limits()), model.store()

    def drip(exchange: Exchange) -> None:
        response = exchange.forward()
        exchange.send_head(response, ("Content-Length", str(len(response.body))))
        for byte in response.body:
            exchange.write(bytes([byte]))
            if exchange.proxy.closing.wait(1):
                return

    file = {"a small body": "MLmodel", "a listing": None}.get(what, "data/weights")
    model.proxy.fault(drip, path=route(file) if file else model.cloud.listings)
    try:
        if file is None:
            with pytest.raises(CouldNotVerify, match="bytes per second"):
                store.listing(Limits())
        else:
            reading = read_all(store, listing, "sha256", pulse=lambda count: None)
            assert problems(reading) == [("RA009", file)]
            assert "bytes per second" in reading.problems[0].message
            assert len(reading.entries) == len(listing.files) - 1
    finally:
        store.transfers.stop()


@pytest.mark.parametrize("variable", ["MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("endpoint", ["minio.local", "127.0.0.1:9000", "ftp://minio.local", "http://", "http://a..b"])
def test_an_endpoint_that_is_no_url(monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str) -> None:
    monkeypatch.setenv(variable, endpoint)
    with pytest.raises(UsageError, match=f"{variable} .* must be a URL that begins with http"):
        open_at("s3://bucket/a")


@pytest.mark.parametrize("by_obstore", [False, True], ids=["by our own connections", "by obstore"])
def test_a_store_that_names_another_region_than_the_environment(
    clouds: Callable[[str], Cloud], monkeypatch: pytest.MonkeyPatch, by_obstore: bool
) -> None:
    """boto3 signs for the region that the store names, as MinIO and Garage do; so must what reads the objects."""
    monkeypatch.setattr("registry_audit.stores.s3.may_hold_credentials", lambda endpoint: by_obstore)
    cloud = clouds("moto")

    def only_for_its_region(exchange: Exchange) -> None:
        if "/eu-west-9/s3/" in exchange.handler.headers["Authorization"]:
            exchange.send(exchange.forward())
        else:
            said = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-9</Region></Error>"
            exchange.send(Response(400, said, (("Content-Type", "application/xml"),)))

    with faulty_proxy(cloud.url) as proxy:
        for name, value in cloud.environment(proxy.uri).items():
            monkeypatch.setenv(name, value)
        proxy.fault(only_for_its_region)
        home = secrets.token_hex(6)
        cloud.put(f"{home}/MLmodel", b"x")
        store = open_at(cloud.uri(home))
        for _ in ("the first page", "a later one"):
            assert [b"".join(store.read(file)) for file in store.listing(Limits()).files] == [b"x"]


def test_a_store_that_wants_another_version_of_signatures(
    clouds: Callable[[str], Cloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 alone makes them."""
    cloud = clouds("moto")
    with faulty_proxy(cloud.url) as proxy:
        for name, value in cloud.environment(proxy.uri).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION", "s3")
        home = secrets.token_hex(6)
        cloud.put(f"{home}/MLmodel", b"x" * LARGE)
        store = open_at(cloud.uri(home))
        assert [b"".join(store.read(file)) for file in store.listing(Limits()).files] == [b"x" * LARGE]
        assert store.listing(Limits()).files
        signed = [
            {name.lower(): value for name, value in request.headers.items()}["authorization"]
            for request in proxy.requests
        ]
        assert len(signed) == 3
        assert all(line.startswith("AWS test-access-key:") for line in signed)


@pytest.mark.parametrize(
    ("status", "word", "message"),
    [
        (403, "InvalidObjectState", "moved to an archive tier .* restore it"),
        (403, "RequestTimeTooSkewed", "permission denied .403 RequestTimeTooSkewed."),
    ],
)
def test_a_stores_own_word_for_a_refusal_is_told(model: Model, status: int, word: str, message: str) -> None:
    said = f"<?xml version='1.0'?><Error><Code>{word}</Code><Message>no</Message></Error>".encode()
    answer = Response(status, said, (("Content-Type", "application/xml"),))
    model.proxy.fault(lambda exchange: exchange.send(answer), path=route("data/7"))
    reading = model.read()
    assert problems(reading) == [("RA009", "data/7")]
    assert re.search(message, reading.problems[0].message)


def test_a_profile_of_boto3_is_used(
    clouds: Callable[[str], Cloud], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = clouds("moto")
    with faulty_proxy(cloud.url) as proxy:
        for name, value in cloud.environment(proxy.uri).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        (tmp_path / "credentials").write_text("[work]\naws_access_key_id = OFTHEPROFILE\naws_secret_access_key = x\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        home = secrets.token_hex(6)
        cloud.put(f"{home}/MLmodel", b"x")
        store = open_at(cloud.uri(home))
        assert [b"".join(store.read(file)) for file in store.listing(Limits()).files] == [b"x"]
        signed = [
            {name.lower(): value for name, value in request.headers.items()}["authorization"]
            for request in proxy.requests
        ]
        assert len(signed) == 2
        assert all("OFTHEPROFILE/" in line for line in signed)
