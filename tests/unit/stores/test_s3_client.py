"""What is sent past botocore, and what becomes of it where that does not do."""

import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support import faults
from support.faulty_proxy import Exchange, FaultyProxy, Response, faulty_proxy
from support.s3 import S3Endpoint

from registry_audit.errors import CouldNotVerify
from registry_audit.model.limits import Limits
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.stores.s3 import S3Store
from registry_audit.stores.s3_client import s3_client

FILES = {f"data/{n}": bytes([n]) * n for n in range(1, 6)}
OBJECTS = "/models/a/data"
LISTINGS = "list-type=2"


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    proxy: FaultyProxy

    def read(self, politeness: Politeness | None = None) -> dict[str, bytes]:
        """Everything, one object after the other."""
        store = S3Store(StorageIdentity("s3", "", self.name, "models/a"), Transfers(politeness))
        listing = store.listing(Limits())
        assert not listing.problems
        return {file.path: b"".join(store.read(file)) for file in listing.files}

    def asked(self, path: str) -> list[str]:
        """By whom, in the order of their arrival."""
        return [
            "botocore" if "amz-sdk-invocation-id" in {name.lower() for name in request.headers} else "us"
            for request in self.proxy.requests
            if path in request.target
        ]


@pytest.fixture
def bucket(s3_environment: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    client = s3_environment.client()
    name = f"bucket-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=name)
    for path, content in FILES.items():
        client.put_object(Bucket=name, Key=f"models/a/{path}", Body=content)
    with faulty_proxy(s3_environment.url) as proxy:
        for variable in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(variable, proxy.uri)
        yield Bucket(name, proxy)
        assert not proxy.errors


@pytest.fixture
def known(bucket: Bucket) -> Bucket:
    """What botocore was asked for once."""
    assert bucket.read() == FILES
    bucket.proxy.clear()
    return bucket


def only_us(then: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        if exchange.handler.headers.get("amz-sdk-invocation-id"):
            exchange.send(exchange.forward())
        else:
            then(exchange)

    return fault


def test_botocore_asks_once_for_objects_and_once_for_listings(bucket: Bucket) -> None:
    for _ in range(2):
        assert bucket.read() == FILES
    assert bucket.asked(OBJECTS) == ["botocore"] + ["us"] * (2 * len(FILES) - 1)
    assert bucket.asked(LISTINGS) == ["botocore", "us"]


def test_another_bucket_is_another_matter(known: Bucket, s3_endpoint: S3Endpoint) -> None:
    name = f"bucket-{secrets.token_hex(6)}"
    client = s3_endpoint.client()
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="models/a/one", Body=b"other")
    assert Bucket(name, known.proxy).read() == {"one": b"other"}
    assert (known.asked("/one"), known.asked(LISTINGS)) == (["botocore"], ["botocore"])


@pytest.mark.parametrize("code", [301, 307, 400, 401, 403, 404])
@pytest.mark.parametrize("path", [OBJECTS, LISTINGS])
def test_what_the_store_gives_to_botocore_alone_is_left_to_botocore(known: Bucket, path: str, code: int) -> None:
    rule = known.proxy.fault(only_us(faults.status(code)), path=path)
    for _ in range(2):
        assert known.read() == FILES
    assert rule.hits == len(known.asked(path))
    assert known.asked(path)[:2] == ["us", "botocore"]
    assert set(known.asked(path)[2:]) == {"botocore"}


@pytest.mark.parametrize("fault", [faults.status(503), faults.status(429), faults.status(500), faults.reset()])
@pytest.mark.parametrize("path", [OBJECTS, LISTINGS])
def test_what_passes_is_asked_again_by_botocore_and_then_goes_on_past_it(known: Bucket, path: str, fault: Any) -> None:
    known.proxy.fault(only_us(fault), path=path, times=1)
    for _ in range(2):
        assert known.read(Politeness()) == FILES
    assert known.asked(path)[:2] == ["us", "botocore"]
    assert set(known.asked(path)[2:]) == {"us"}


@pytest.mark.parametrize("code", [401, 403, 404, 500])
def test_what_nobody_is_given_is_nothing_that_was_read(known: Bucket, code: int) -> None:
    known.proxy.fault(faults.status(code), path=f"{OBJECTS}/3$")
    with pytest.raises(Exception, match="3"):
        known.read()
    known.proxy.clear()
    assert known.read() == FILES
    assert set(known.asked(OBJECTS)) == {"us"}, "the fault was the object's"


@pytest.mark.parametrize(
    "damaged",
    [
        lambda body: body[: len(body) // 2],
        lambda body: b"",
        lambda body: b"<html><body>Sign in</body></html>",
        lambda body: b"<Error><Code>InternalError</Code></Error>",
    ],
    ids=["cut", "empty", "a login page", "an error"],
)
def test_a_page_that_is_no_listing_is_asked_for_again(known: Bucket, damaged: Callable[[bytes], bytes]) -> None:
    def damage(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.send(replace(answer, body=damaged(answer.body)))

    known.proxy.fault(only_us(damage), path=LISTINGS)
    assert known.read() == FILES
    assert known.asked(LISTINGS) == ["us", "botocore"]


def page(key: str, *, truncated: bool, token: str | None) -> Response:
    more = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    entry = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
    body = f"<ListBucketResult>{entry}<IsTruncated>{str(truncated).lower()}</IsTruncated>{more}</ListBucketResult>"
    return Response(200, body.encode(), (("Content-Type", "application/xml"),))


@pytest.mark.parametrize("tokens", [[None], ["the-same-again"], ["by", "turns"]])
@pytest.mark.parametrize("before", ["known", "bucket"])
def test_a_listing_that_is_not_given_to_its_end(
    request: pytest.FixtureRequest, before: str, tokens: list[str | None]
) -> None:
    bucket: Bucket = request.getfixturevalue(before)
    pages = itertools.cycle([page("models/a/b", truncated=True, token=token) for token in tokens])
    bucket.proxy.fault(lambda exchange: exchange.send(next(pages)), path=LISTINGS)
    with pytest.raises(CouldNotVerify, match=r"goes on, and not how|does not end"):
        bucket.read()


@pytest.mark.parametrize("before", ["known", "bucket"])
def test_a_listing_of_several_pages(request: pytest.FixtureRequest, before: str) -> None:
    bucket: Bucket = request.getfixturevalue(before)
    pages = iter(
        [page("models/a/one", truncated=True, token="to/k+en=="), page("models/a/two", truncated=False, token=None)]
    )
    bucket.proxy.fault(lambda exchange: exchange.send(next(pages)), path=LISTINGS)
    listing = S3Store(StorageIdentity("s3", "", bucket.name, "models/a"), Transfers()).listing(Limits())
    assert [file.path for file in listing.files] == ["one", "two"]
    one, two = (request.target for request in bucket.proxy.requests)
    assert ("continuation-token" in one, "continuation-token=to%2Fk%2Ben%3D%3D" in two) == (False, True)


def test_one_client_for_one_set_of_credentials(s3_environment: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    first = s3_client()
    assert s3_client() is first
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert s3_client() is not first
