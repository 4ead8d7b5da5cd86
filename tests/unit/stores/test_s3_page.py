"""A page of a listing, understood as botocore understands it."""

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from registry_audit.errors import CouldNotVerify
from registry_audit.stores.s3_client import _new_client
from registry_audit.stores.s3_page import Entry, ListObjects, Page

WANTED = ListObjects("bucket", "models/")
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Offline:
    """botocore, which is answered with `body`."""

    body = b""

    def __init__(self) -> None:
        self.client = _new_client()._client
        self.client.meta.events.register("before-send.s3", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(self.body), preload_content=False))

    def both(self, body: str) -> tuple[Page, Page]:
        self.body = body.encode()
        return WANTED.by_botocore(self.client), understood(body)


def understood(body: str | bytes) -> Page:
    content = body.encode() if isinstance(body, str) else body
    return WANTED.understood(SimpleNamespace(content=content), None, {})


@pytest.fixture(scope="module")
def offline() -> Iterator[Offline]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield Offline()


def listing(*parts: str, namespace: str = NAMESPACE) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{namespace}>{"".join(parts)}</ListBucketResult>'


def entry(key: str, size: str = "1", **more: str) -> str:
    others = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in more.items())
    return f"<Contents><Key>{escape(key)}</Key>{others}<Size>{size}</Size></Contents>"


def bomb() -> str:
    """A few hundred bytes that would be gigabytes of a key."""
    lines = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
    page = listing(entry("KEY")).partition("\n")[2].replace("KEY", "&a9;")
    return f'<!DOCTYPE x [<!ENTITY a0 "{"a" * 30}">{"".join(lines)}]>{page}'


# What XML can carry at all; a line break is one to its reader, whichever it was.
texts = st.text(st.characters(min_codepoint=32, codec="utf-8", exclude_characters="\ufffe\uffff"), min_size=1)
encodings = st.sampled_from([quote_plus, quote, str])
times = st.sampled_from(["2026-11-24T15:41:35.123Z", "2026-11-24T15:41:35+02:00", "Tue, 24 Nov 2026 15:41:35 GMT"])
etags = st.sampled_from(['"d41d8"', "d41d8", '"d41d8-3"'])
entries = st.builds(
    lambda key, encoded, size, more: entry(encoded(key), str(size), **more),
    texts,
    encodings,
    st.integers(0, 10**15),
    st.fixed_dictionaries({}, optional={"ETag": etags, "LastModified": times, "StorageClass": st.just("STANDARD")}),
)
ends = st.sampled_from(
    [
        "<IsTruncated>false</IsTruncated>",
        "<IsTruncated>false</IsTruncated><NextContinuationToken>more</NextContinuationToken>",
        "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b/c==</NextContinuationToken>",
        "<NextContinuationToken>more</NextContinuationToken>",
        "",
    ]
)


@given(
    found=st.lists(entries, max_size=5),
    end=ends,
    encoded=st.sampled_from(["<EncodingType>url</EncodingType>", ""]),
    namespace=st.sampled_from([NAMESPACE, ""]),
    between=st.sampled_from(["", "\n  "]),
)
@example([entry("a+b%2Bc%20d%ZZ%FF")], "", "<EncodingType>url</EncodingType>", "", "")
def test_it_is_what_botocore_makes_of_it(
    offline: Offline, found: list[str], end: str, encoded: str, namespace: str, between: str
) -> None:
    parts = ["<Name>bucket</Name>", encoded, *found, end, "<CommonPrefixes><Prefix>below/</Prefix></CommonPrefixes>"]
    botocores, ours = offline.both(listing(*(between + part for part in parts), namespace=namespace))
    assert ours == botocores
    assert len(ours.entries) == len(found)


def test_what_a_page_says() -> None:
    one = entry("models/a%2Fb+c", "12", ETag='"e"', LastModified="2026-11-24T15:41:35.000Z")
    page = understood(listing("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>", one))
    assert page == Page([Entry("models/a/b c", 12, '"e"', "2026-11-24 15:41:35+00:00")], None)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body>Sign in</body></html>",
        '<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>',
        listing(entry("a"), entry("b"))[:-10],
        listing(entry("a"))[: len(listing(entry("a"))) // 2],
        listing("<Contents><Size>1</Size></Contents>"),
        listing("<Contents><Key>a</Key></Contents>"),
        listing(entry("a", "many")),
        listing(entry("a", "")),
        listing(entry("a", "1", LastModified="yesterday")),
        b"\xff\xfe\x00",
        bomb(),
    ],
)
def test_what_is_no_listing_is_not_taken_for_an_empty_one(body: str | bytes) -> None:
    with pytest.raises(ValueError):
        understood(body)


def test_a_listing_that_does_not_say_how_it_goes_on(offline: Offline) -> None:
    offline.body = (body := listing(entry("a"), "<IsTruncated>true</IsTruncated>")).encode()
    for read in (lambda: WANTED.by_botocore(offline.client), lambda: understood(body)):
        with pytest.raises(CouldNotVerify, match="goes on, and not how"):
            read()
