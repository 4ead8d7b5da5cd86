"""What is asked of S3, and what it answers, held to botocore: signatures and listings."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.handlers import decode_list_object_v2
from botocore.parsers import create_parser
from botocore.session import get_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_audit.errors import Transient
from registry_audit.stores.s3 import listing_of, s3_environment
from registry_audit.stores.sigv4 import SigV4

SETTINGS = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1)
XML_TEXT = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f\ufffe\uffff"), min_size=1)
PRINTED = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@SETTINGS
@given(
    st.sampled_from(
        ["http://h", "http://H:80", "https://h:443/x", "https://h:80", "http://[::1]:9000", "http://u:p@h"]
    ),
    st.sampled_from(["us-east-1", "auto"]),
    st.lists(TEXT).map("/".join),
    st.dictionaries(TEXT, TEXT, max_size=4),
    st.dictionaries(st.sampled_from(["If-Match", "x-amz-expected-bucket-owner"]), PRINTED),
    PRINTED,
    PRINTED,
    st.none() | PRINTED,
)
def test_a_signature_is_the_one_that_botocore_makes(
    url: str,
    region: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    name: str,
    secret: str,
    token: str | None,
) -> None:
    credentials = ReadOnlyCredentials(name, secret, token)
    target = "/" + quote(key, safe="/~")
    if query:
        target += "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    same, sent = SigV4(url, region, lambda: credentials)(target, headers)

    signer = S3SigV4Auth(credentials, "s3", region)
    request = AWSRequest(
        "GET", url.removesuffix("/x") + target, {k: v for k, v in sent.items() if k != "Authorization"}
    )
    request.context["timestamp"] = sent["x-amz-date"]
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signed = signer.signed_headers(signer.headers_to_sign(request))
    assert same == target
    assert sent["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={signed}, Signature={signature}"
    )
    assert {key: sent[key] for key in headers} == headers


TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(  # noqa: DTZ001 - the zone is written below
    lambda at: f"{at.isoformat(timespec='milliseconds')}Z"
)
ENTRIES = st.lists(st.tuples(XML_TEXT, st.integers(0, 1 << 60), st.none() | PRINTED, st.none() | TIMES), max_size=5)


@SETTINGS
@given(ENTRIES, XML_TEXT, st.booleans(), st.booleans(), st.booleans())
def test_a_listing_says_what_boto3_reads_in_it(
    entries: list[tuple[str, int, str | None, str | None]], prefix: str, encoded: bool, more: bool, named: bool
) -> None:
    def written(text: str) -> str:
        return quote(text, safe="/") if encoded else escape(text)

    contents = "".join(
        f"<Contents><Key>{written(key)}</Key><Size>{size}</Size>"
        + (f"<ETag>{escape(etag)}</ETag>" if etag is not None else "")
        + (f"<LastModified>{at}</LastModified>" if at is not None else "")
        + "<Owner><ID>x</ID></Owner></Contents>"
        for key, size, etag, at in entries
    )
    namespace = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' if named else ""
    page = (
        f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult{namespace}><Prefix>{written(prefix)}</Prefix>"
        + ("<EncodingType>url</EncodingType>" if encoded else "")
        + (f"<IsTruncated>{str(more).lower()}</IsTruncated><NextContinuationToken>a+b%20</NextContinuationToken>")
        + f"<KeyCount>{len(entries) + 1}</KeyCount>"
        + f"{contents}<CommonPrefixes><Prefix>other/</Prefix></CommonPrefixes></ListBucketResult>"
    ).encode()
    found = listing_of(page)
    theirs = botocores(page)
    assert [(e["Key"], e["Size"], e.get("ETag"), str(e["LastModified"])) for e in found["Contents"]] == [
        (e["Key"], e["Size"], e.get("ETag"), str(e.get("LastModified", ""))) for e in theirs.get("Contents", ())
    ]
    for name in ("Prefix", "IsTruncated", "NextContinuationToken", "KeyCount"):
        assert found[name] == theirs[name]
    assert len(found["CommonPrefixes"]) == len(theirs["CommonPrefixes"]) == 1
    assert [e["Key"] for e in found["Contents"]] == [key for key, *_ in entries]


@cache
def shape_of_listings() -> Any:
    return get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape


def botocores(page: bytes) -> dict[str, Any]:
    answer = {"status_code": 200, "headers": {}, "body": page}
    parsed: dict[str, Any] = create_parser("rest-xml").parse(answer, shape_of_listings())
    decode_list_object_v2(parsed, context={"encoding_type_auto_set": True})
    return parsed


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"{}",
        b"<html/>",
        b"<ListBucketResult/>",
        b"<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents/></ListBucketResult>",
        b"<R><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>x</Size></Contents></R>",
        b"<R><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>1</Size><LastModified>x</LastModified></Contents></R>",
    ],
)
def test_what_is_no_listing_is_none(page: bytes) -> None:
    assert "IsTruncated" not in listing_of(page)


@pytest.mark.parametrize("text", ["Fri, 27 Nov 2026 10:00:00 GMT", "2026-11-27T10:00:00Z", "1795773600"])
def test_a_time_in_another_form_is_read_as_boto3_reads_it(text: str) -> None:
    page = f"<R><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>1</Size><LastModified>{text}</LastModified>"
    (found,) = listing_of(f"{page}</Contents></R>".encode())["Contents"]
    assert found["LastModified"] == datetime(2026, 11, 27, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("variables", "bucket", "base", "is_virtual", "region"),
    [
        ({}, "wines", "https://wines.s3.amazonaws.com", True, "us-east-1"),
        # Of all regions' one host, where boto3 would sign a URL for, the newer regions are unknown.
        (
            {"AWS_DEFAULT_REGION": "eu-south-1"},
            "wines",
            "https://wines.s3.eu-south-1.amazonaws.com",
            True,
            "eu-south-1",
        ),
        ({"AWS_DEFAULT_REGION": "eu-south-1"}, "wi.nes", "https://s3.eu-south-1.amazonaws.com", False, "eu-south-1"),
        ({"MLFLOW_S3_ENDPOINT_URL": "https://s3.example/in"}, "wines", "https://s3.example/in", False, "us-east-1"),
        (
            {"MLFLOW_S3_ENDPOINT_URL": "https://s3.example/in", "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "virtual"},
            "wines",
            "https://wines.s3.example/in",
            True,
            "us-east-1",
        ),
    ],
)
def test_objects_are_asked_for_where_boto3_lists_them(
    variables: dict[str, str],
    bucket: str,
    base: str,
    is_virtual: bool,
    region: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed_in = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_CONFIG_FILE": os.devnull}
    nobody_listens = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    for name, value in (signed_in | nobody_listens | variables).items():
        monkeypatch.setenv(name, value)
    opened = s3_environment().bucket(bucket)
    with pytest.raises(Transient):
        opened.page("m/", None, directly=False)
    assert opened.bodies() is None, "nobody knows where before a listing was answered"
    opened._listed = opened._asked.last
    assert opened._place() == (base, is_virtual, region)
