"""Reads buckets of S3 and of every service with S3's protocol. Names come through boto3."""

import contextlib
import os
import re
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.net.http import REDIRECTS, Bounded
from registry_audit.net.origin import host_of, urlsplit
from registry_audit.net.throttle import sent_now
from registry_audit.printable import printable
from registry_audit.registry.mlflow_environment import expected_bucket_owner, flag
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES, whole_body
from registry_audit.stores.object_bodies import (
    RETRIES,
    Bodies,
    ObjectChanged,
    client_options,
    may_hold_credentials,
    must_be_endpoint,
)
from registry_audit.stores.objects import Entry, Kept, Page
from registry_audit.stores.signed_bodies import SignedBodies, must_be_ok
from registry_audit.stores.sigv4 import SigV4

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

_SECONDS = (10, 60)  # to connect, and between two arrivals
_CONNECTIONS = 64  # kept open; more than there are ever concurrent requests
# botocore renews expiring credentials 15 minutes before they expire: what it returns is valid for longer than this.
_CREDENTIALS_HOLD = timedelta(minutes=5)
_CONDITION_FAILED = 412
_REGION = "x-amz-bucket-region"
_SIGNED_FOR = re.compile(r"Credential=\S+/\d{8}/([^/\s]+)/s3/aws4_request")


@dataclass(frozen=True)
class S3Access:
    """Says how to reach an S3 endpoint. `s3_environment` returns the one that MLflow's settings name."""

    session: Any  # boto3.Session: region, its profile, and credentials if there are no `keys`
    keys: "Keys | None" = field(default=None, repr=False)
    endpoint: str | None = None  # None: AWS itself, or what the session's profile names
    verify: bool = True  # whether the endpoint's certificate is checked
    ca_bundle: str | None = None  # a file of certificates to trust
    addressing_style: str = "auto"  # as in botocore: path, virtual or auto
    signature_version: str = "s3v4"  # as in botocore; "unsigned" for public buckets
    expected_owner: str | None = None  # account that must own the buckets
    region: str | None = None  # None: the session's region
    _buckets: Kept[str, "S3Bucket"] = field(default_factory=Kept, repr=False)

    def bucket(self, name: str) -> "S3Bucket":
        """Return the bucket of a name, always the same object, because its connections are kept."""
        return self._buckets.get(name, lambda: S3Bucket(name, self))

    def client(self, region: str | None = None) -> Any:
        """Return a boto3 client that tries each request once."""
        from botocore import UNSIGNED
        from botocore.config import Config

        signature = UNSIGNED if self.signature_version.lower() == "unsigned" else self.signature_version
        config = Config(
            signature_version=signature,
            s3={"addressing_style": self.addressing_style},
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=_CONNECTIONS,
            connect_timeout=_SECONDS[0],
            read_timeout=_SECONDS[1],
        )
        keys: dict[str, Any] = {} if self.keys is None else self.keys.of_boto3()
        with _one_at_a_time:  # sessions are shared, and boto3 says that they are not safe to share between threads
            client = self.session.client(
                "s3",
                region_name=region or self.region,
                endpoint_url=self.endpoint,
                config=config,
                verify=self.ca_bundle or None if self.verify else False,
                **keys,
            )
        client.meta.events.register_first("before-send.s3", self._sender(client.meta.endpoint_url))
        return client

    def _sender(self, endpoint: str) -> Callable[..., Any]:
        """Return a sender that sends as botocore does, but bounds every response that botocore reads."""
        from botocore.awsrequest import AWSResponse
        from botocore.httpsession import URLLib3Session
        from botocore.utils import get_environ_proxies

        session = URLLib3Session(
            verify=self.ca_bundle or True if self.verify else False,
            proxies=get_environ_proxies(endpoint),
            timeout=_SECONDS,
            max_pool_connections=_CONNECTIONS,
        )

        def send(request: Any, **_: Any) -> Any:
            permit = sent_now()
            request.stream_output = True  # or the response would be read to its end here
            answer = session.send(request)
            # botocore then asks for the bucket's region, and repeats that while it gets this response.
            if answer.status_code in REDIRECTS and request.method == "HEAD" and _REGION not in answer.headers:
                answer.raw.close()
                raise CouldNotVerify(f"{host_of(endpoint)} says that the bucket is elsewhere, and not where")
            raw: Any = answer.raw if permit is None else Bounded(answer.raw, permit)
            return AWSResponse(answer.url, answer.status_code, answer.headers, raw)

        return send


@dataclass(frozen=True, slots=True)
class Keys:
    """Holds credentials of S3."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def of_boto3(self) -> dict[str, Any]:
        return {
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "aws_session_token": self.session_token,
        }


def s3_environment() -> S3Access:
    """Return MLflow's access to S3: by its own variables, and boto3's for profiles, roles, SSO and certificates.

    Source: mlflow.store.artifact.s3_artifact_repo.

    Raises:
        UsageError: boto3 or obstore is not installed, or a variable makes no sense.
    """
    chosen = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "MLFLOW_", "REQUESTS_"))))
    return _known.get(chosen, _from_environment)


def s3_with_keys(keys: Keys, endpoint: str | None = None) -> S3Access:
    """Return the access to AWS, or to an endpoint, with these credentials.

    The environment counts only for the way to AWS: its region, certificates and proxies, and AWS's own variables for a
    private endpoint. MLflow's variables are ignored, because they are for the store of a tracking server.

    Args:
        endpoint: URL of a service with S3's protocol, which has its buckets in the path.

    Raises:
        UsageError: see `s3_environment`.
    """
    here = s3_environment()
    if endpoint is None:
        return S3Access(here.session, keys, ca_bundle=here.ca_bundle)
    return S3Access(here.session, keys, endpoint, ca_bundle=here.ca_bundle, addressing_style="path", region="auto")


def s3_environment_with_keys(keys: Keys) -> S3Access:
    """Return the access to the environment's endpoint, with these keys. Raises: UsageError: see `s3_environment`."""
    here = s3_environment()
    return replace(here, keys=keys, signature_version="s3v4", expected_owner=None, _buckets=Kept())


_known = Kept[tuple[tuple[str, str], ...], S3Access](only_last=True)
_one_at_a_time = threading.Lock()


def _from_environment() -> S3Access:
    try:
        import boto3
        import botocore.session
        import obstore  # noqa: F401
    except ImportError as error:
        raise UsageError(f"reading s3:// needs {error.name}: pip install 'mlflow-registry-audit[s3]'") from error
    for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        must_be_endpoint(os.environ.get(name), f"the environment variable {name}")
    with translated("set up the S3 client"):
        session = botocore.session.get_session()
        return S3Access(
            boto3.Session(botocore_session=session),
            endpoint=os.environ.get("MLFLOW_S3_ENDPOINT_URL"),
            verify=not flag("MLFLOW_S3_IGNORE_TLS"),
            ca_bundle=session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE"),
            addressing_style=os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto"),
            signature_version=os.environ.get("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION", "s3v4"),
            expected_owner=expected_bucket_owner(),
        )


class S3Bucket:
    """Implements `Bucket` for S3."""

    def __init__(self, name: str, access: S3Access) -> None:
        with translated(f"open s3://{printable(name)}"):
            self._client = access.client()
        self.address, self.host = f"s3://{printable(name)}", str(self._client.meta.endpoint_url)
        self._name, self._access = name, access
        self._asked = threading.local()  # `last`: the last listing that this thread requested from boto3
        self._listed: tuple[str, str] | None = None  # URL and signature of a listing that was answered
        self._bodies: Bodies | SignedBodies | None = None
        self._lock = threading.Lock()
        self._owner = {"ExpectedBucketOwner": access.expected_owner} if access.expected_owner else {}
        self._client.meta.events.register_last("request-created.s3", self._note)  # the request is signed by then

    def _note(self, request: Any, operation_name: str, **_: Any) -> None:
        """Keep the last request: boto3 repeats it if a store names another region, and that one is answered."""
        if operation_name == "ListObjectsV2":
            self._asked.last = str(request.url), str(request.headers.get("Authorization", ""))

    @property
    def _lister(self) -> SignedBodies | None:
        """Return the connections that list this bucket instead of boto3; None if boto3 lists it."""
        return self._bodies if isinstance(self._bodies, SignedBodies) else None

    @property
    def breaks_off(self) -> bool:
        return self._lister is not None

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        asked = {"prefix": prefix, "delimiter": "/" if directly else None, "continuation-token": token}
        given = {name: value for name, value in asked.items() if value is not None}
        doing = f"list {self.address}/{printable(prefix)}"
        with translated(doing):
            lister = self._lister
            answer = self._by_boto3(given) if lister is None else self._by_ourselves(lister, given, doing)
        # A login page may be XML too, and would be read as an empty listing.
        if "IsTruncated" not in answer or answer.get("Prefix", prefix) != prefix:
            raise Transient(f"{self.address} answers, and not with the listing that was asked for")
        following = answer.get("NextContinuationToken") or None
        if answer["IsTruncated"] and following is None:
            raise CouldNotVerify(f"{self.address} says that its listing goes on, and not how")
        contents, counted = answer.get("Contents", ()), answer.get("KeyCount", 0)
        listed = len(contents) + len(answer.get("CommonPrefixes", ()))
        if counted > listed:
            raise Transient(f"{self.address} counts {counted} keys in a page of its listing, and lists {listed}")
        if lister is None:
            self.bodies()  # may switch the next pages to our own connections
        entries = [
            Entry(found["Key"], found["Size"], found.get("ETag", ""), str(found.get("LastModified", "")))
            for found in contents
        ]
        # A page with a token is followed by another one, even if the service says that it is the last one.
        return Page(entries, following)

    def _by_boto3(self, given: Mapping[str, str]) -> dict[str, Any]:
        """List a page through boto3. It lists the first page, finds the bucket's region, and explains errors."""
        named = {"".join(map(str.capitalize, name.split("-"))): value for name, value in given.items()}
        answer: dict[str, Any] = self._client.list_objects_v2(Bucket=self._name, **named, **self._owner)
        self._listed = self._asked.last
        return answer

    def _by_ourselves(self, lister: SignedBodies, given: Mapping[str, str], doing: str) -> dict[str, Any]:
        """List the bucket over our own connections, in a third of the processor time of boto3."""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        owner, permit = self._access.expected_owner, sent_now()
        assert permit is not None
        headers = {"x-amz-expected-bucket-owner": owner} if owner else {}
        target = f"{lister.path or '/'}?list-type=2&encoding-type=url&{query}"
        with lister.answer(target, headers, doing, permit) as answer:
            must_be_ok(answer, doing)
            return listing_of(answer.body(doing))

    def bodies(self) -> Bodies | SignedBodies | None:
        # Directory buckets have their own signatures, and so have stores that require another signature version.
        is_special = self._name.endswith("--x-s3") or not (self._is_public or self._access.signature_version == "s3v4")
        if is_special or self._listed is None:  # lent credentials may be renewed between listing and reading
            return None
        with self._lock:
            if self._bodies is None:
                by_obstore = self._is_public or (
                    may_hold_credentials(self._place()[0]) and self._credentials().token is None
                )
                self._bodies = Bodies(self._obstore()) if by_obstore else self._signed()
            return self._bodies

    def body(self, key: str, etag: str) -> Generator[bytes, None, None]:
        from botocore.exceptions import ClientError

        condition = {"IfMatch": etag} if etag else {}
        with translated(f"read '{printable(key)}'"):
            try:
                answer = self._client.get_object(Bucket=self._name, Key=key, **condition, **self._owner)
            except ClientError as error:
                if error.response["ResponseMetadata"].get("HTTPStatusCode") == _CONDITION_FAILED:
                    raise ObjectChanged() from error
                raise
            if etag and answer["ETag"].strip('"') != etag.strip('"'):
                raise ObjectChanged()
            with contextlib.closing(answer["Body"]) as body:
                yield from whole_body(body.iter_chunks(CHUNK_BYTES), key)

    def _signed(self) -> SignedBodies:
        base, is_virtual, region = self._place()
        bucket = base if is_virtual else f"{base}/{self._name}"
        sign = SigV4(base, region, self._credentials)
        verify, ca_bundle = self._access.verify, self._access.ca_bundle
        return SignedBodies(bucket, sign, verify=verify, ca_bundle=ca_bundle, strict=False)

    def _obstore(self) -> Any:
        """Make an obstore store that asks the same host as boto3."""
        import obstore.store

        access = self._access
        base, is_virtual, region = self._place()
        make: Any = obstore.store.S3Store  # its own types are for checkers only
        return make(
            self._name,
            # Without this, AWS_ENDPOINT_URL_S3 would take precedence over the plain `endpoint`.
            aws_endpoint_url_s3=base,
            region=region,
            virtual_hosted_style_request=is_virtual,
            credential_provider=None if self._is_public else self._keys,
            skip_signature=self._is_public,
            client_options=client_options(
                base, verify=access.verify, ca_bundle=access.ca_bundle, fenced=not self._is_public
            ),
            retry_config=RETRIES,
        )

    def _place(self) -> tuple[str, bool, str]:
        """Return where boto3 lists the bucket: base URL, whether it contains the bucket, and region.

        The base URL precedes an object's key, or the bucket. It is not the host that boto3 would sign a URL for: that
        is one host for all regions, which does not know the newer ones.
        """
        url, authorization = self._listed or ("", "")
        parts, found = urlsplit(url), _SIGNED_FOR.search(authorization)
        path = parts.path.rstrip("/")
        is_virtual = not path.endswith(f"/{self._name}")
        base = f"{parts.scheme}://{parts.netloc}{path if is_virtual else path.removesuffix(f'/{self._name}')}"
        return base, is_virtual, found[1] if found else "us-east-1"

    @property
    def _is_public(self) -> bool:
        return self._access.signature_version.lower() == "unsigned"

    def _credentials(self) -> "ReadOnlyCredentials":
        """Return the current credentials. Raises: UsageError: there are none."""
        from botocore.credentials import ReadOnlyCredentials

        if (keys := self._access.keys) is not None:
            return ReadOnlyCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
        with translated(f"open {self.address}"):
            found = self._access.session.get_credentials()
            if found is None:
                raise UsageError("boto3 finds no credentials")
            frozen: ReadOnlyCredentials = found.get_frozen_credentials()
            return frozen

    def _keys(self) -> dict[str, Any]:
        """Return credentials for obstore, which calls this again when they expire."""
        found = self._credentials()
        if found.token is not None:
            raise RuntimeError("the credentials have come to hold a session token; start the audit again")
        until = None if self._access.keys else datetime.now(UTC) + _CREDENTIALS_HOLD
        return {"access_key_id": found.access_key, "secret_access_key": found.secret_key, "expires_at": until}


def listing_of(body: bytes) -> dict[str, Any]:
    """Parse a page of a listing of version 2 into boto3's form; empty if the body is no listing.

    Law: the keys, sizes, ETags and times are boto3's own for the same bytes.
    """
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - as boto3 itself reads it
        given = _texts(root)
        decoded = unquote_plus if given.get("EncodingType") == "url" else str
        contents = [_texts(node) for node in root if _name(node) == "Contents"]
        return {
            **given,
            **({"Prefix": decoded(given["Prefix"])} if "Prefix" in given else {}),
            **({"KeyCount": int(given["KeyCount"])} if "KeyCount" in given else {}),
            "IsTruncated": {"true": True, "false": False}[given["IsTruncated"]],
            "CommonPrefixes": [_texts(node) for node in root if _name(node) == "CommonPrefixes"],
            "Contents": [
                {
                    **found,
                    "Key": decoded(found["Key"]),
                    "Size": int(found["Size"]),
                    "LastModified": _time(found["LastModified"]) if "LastModified" in found else "",
                }
                for found in contents
            ],
        }
    except (ElementTree.ParseError, KeyError, ValueError):
        return {}


def _name(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]  # without its namespace


def _texts(node: ElementTree.Element) -> dict[str, str]:
    return {_name(child): child.text or "" for child in node}


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        from botocore.utils import parse_timestamp

        return parse_timestamp(text)  # type: ignore[no-any-return]
