"""What is sent again is, byte for byte of what is signed, what botocore would have sent."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_audit.stores.s3_again import Again
from registry_audit.stores.s3_client import S3Request, _new_client
from registry_audit.stores.s3_object import GetObject
from registry_audit.stores.s3_page import ListObjects

_OWN_OF_BOTOCORE = {"amz-sdk-invocation-id", "amz-sdk-request"}
_EMPTY_LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

SETTINGS = {
    "AWS": {},
    "an endpoint of one's own": {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9000"},
    "TLS": {"MLFLOW_S3_ENDPOINT_URL": "https://storage.example:8443/below"},
    "a session token": {"AWS_SESSION_TOKEN": "a+token/of=this"},
    "no checksums wanted": {"AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"},
    "names with two stacks": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
}

keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
requests = st.one_of(
    st.builds(GetObject, st.just("bucket"), keys, st.sampled_from(["", '"etag"', "etag"]), st.just("")),
    st.builds(GetObject, st.just("bucket"), keys, st.just('"e"'), st.sampled_from(["bytes=0-9", "bytes=5-"])),
    st.builds(ListObjects, st.just("bucket"), keys | st.just(""), st.sampled_from(["", "/"]), st.none() | keys),
)


class Offline:
    """botocore, with nothing behind it: what it would have sent is in `sent`."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.s3 = _new_client()
        self.botocore = self.s3._client
        self.botocore.meta.events.register("before-send.s3", self._answer)

    def _answer(self, request: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse
        from urllib3 import HTTPResponse

        self.sent.append(request)
        raw = HTTPResponse(io.BytesIO(_EMPTY_LISTING), preload_content=False)
        return AWSResponse(request.url, 200, {}, raw)

    def put_together(self, request: S3Request[Any]) -> Any:
        request.by_botocore(self.botocore)
        return self.sent[-1]

    def again(self, request: S3Request[Any]) -> Again:
        again = Again.of(self.put_together(request), request.path, request.query, self.s3._credentials)
        assert again is not None
        return again


@pytest.fixture(scope="module", autouse=True)
def one_moment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: datetime(2026, 1, 2, 3, 4, 5))  # noqa: DTZ001
        yield


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=list(SETTINGS))
def offline(request: pytest.FixtureRequest) -> Iterator[Offline]:
    common = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-central-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**common, "AWS_EC2_METADATA_DISABLED": "true", **request.param}.items():
            patch.setenv(name, value)
        yield Offline()


def parts(request: Any) -> tuple[str, str, dict[str, Any]]:
    url, _, query = request.url.partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    kept = {name: _bytes(value) for name, value in headers.items() if name not in _OWN_OF_BOTOCORE}
    return url, "&".join(sorted(query.split("&"))), {**kept, "method": request.method, "body": request.body}


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


@given(requests, requests)
@example(GetObject("bucket", "a b+c/ü%2F~", '"e"', "bytes=1-2"), GetObject("bucket", "plain"))
@example(ListObjects("bucket", "", "/"), ListObjects("bucket", "a b/+&=é", "", "to/k+en=="))
def test_it_is_what_botocore_sends(offline: Offline, first: S3Request[Any], then: S3Request[Any]) -> None:
    if first.operation != then.operation:
        first = then
    made = offline.again(first).request(then.path, then.query, then.headers)
    expected = offline.put_together(then)
    assert made.stream_output == expected.stream_output
    assert parts(made) == parts(_signed_without_tries(offline, expected))


def _signed_without_tries(offline: Offline, request: Any) -> Any:
    """As the client's own signer signs it without what counts its tries, the one thing that differs."""
    from botocore.awsrequest import AWSRequest

    headers = {name: _bytes(value).decode("latin-1") for name, value in request.headers.items()}
    for name in _OWN_OF_BOTOCORE:
        del headers[name]
    unsigned = AWSRequest("GET", request.url, headers)
    unsigned.context.update(request.context)
    offline.botocore._request_signer.sign("GetObject", unsigned)
    return unsigned.prepare()


def test_credentials_that_are_renewed_sign_what_follows(offline: Offline) -> None:
    from botocore.credentials import RefreshableCredentials

    renewals = iter(range(100))

    def renewed() -> dict[str, str]:
        number = next(renewals)
        expires = datetime.now(UTC) + timedelta(seconds=1)  # so soon that each use renews it
        return {
            "access_key": f"key-{number}",
            "secret_key": "secret",
            "token": f"token-{number}",
            "expiry_time": expires.isoformat(),
        }

    wanted = GetObject("bucket", "key")
    credentials = RefreshableCredentials.create_from_metadata(renewed(), renewed, "test")
    again = Again.of(offline.put_together(wanted), wanted.path, wanted.query, credentials)
    assert again is not None
    one, two = (again.request("other", "", {}) for _ in range(2))
    for made in (one, two):
        number = made.headers["X-Amz-Security-Token"].removeprefix("token-")
        assert f"Credential=key-{number}/" in made.headers["Authorization"]
    assert one.headers["X-Amz-Security-Token"] != two.headers["X-Amz-Security-Token"]


V4 = "AWS4-HMAC-SHA256 Credential=key/20260101/eu/s3/aws4_request, SignedHeaders=host"


@pytest.mark.parametrize(
    ("authorization", "url", "is_known"),
    [
        (V4, "http://s3/bucket/key", True),
        (V4.encode(), "http://s3/bucket/key", True),
        ("", "http://s3/bucket/key", False),
        ("AWS key:signature", "http://s3/bucket/key", False),
        (V4.replace("/s3/", "/s3express/"), "http://s3/bucket/key", False),
        (V4.replace("HMAC", "ECDSA-P256").replace("/eu/", "/"), "http://s3/bucket/key", False),
        (V4, "http://s3/bucket/other", False),
        (V4, "http://s3/bucket/key?versionId=1", False),
    ],
    ids=["s", "bytes", "unsigned", "version 2", "directory bucket", "many regions", "elsewhere", "more is asked"],
)
def test_what_is_sent_otherwise_is_left_to_botocore(authorization: str | bytes, url: str, is_known: bool) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    request = SimpleNamespace(url=url, headers=headers, context={}, stream_output=True)
    assert (Again.of(request, "key", "", None) is not None) is is_known
