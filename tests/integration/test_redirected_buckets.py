"""A bucket that redirects a request: credentials go no further than to the server that they are for.

Every kind of credentials is tried with every request that there is, a listing and a body, to real object stores behind
a proxy that redirects. The stranger keeps all that reaches it, and redirects once more within its own origin.
"""

import contextlib
import gc
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.clouds import Cloud, S3Cloud, azurite, fake_gcs
from support.faulty_proxy import Exchange, FaultyProxy, Response, faulty_proxy
from support.s3 import S3Endpoint
from support.strangers import Heard, Reply, stranger

from registry_audit.audit.copies import Reading
from registry_audit.audit.reading import read_all
from registry_audit.errors import AuditError, CouldNotVerify
from registry_audit.model.listing import Limits
from registry_audit.net.transfers import Transfers
from registry_audit.registry.storage import storage_identity
from registry_audit.stores.azure import AzureAccess
from registry_audit.stores.gcs import GcsAccess
from registry_audit.stores.object_bodies import Bodies, client_options, may_hold_credentials
from registry_audit.stores.objects import Bucket, ObjectStore
from registry_audit.stores.s3 import Keys, S3Access, s3_environment

CODES = (301, 302, 303, 307, 308)
FILES = {"MLmodel": b"flavors: {}", "empty": b"", "data/weights": bytes(range(256)) * 2_000}
SECRETS = {name: f"{name}0123456789abcdef" for name in ("keyid", "secretkey", "sessiontoken", "bearertoken")}

Open = Callable[[str, str], Bucket]  # the address of the service, and the name of the bucket


class Token:
    """As azure-identity gives them."""

    def get_token(self, *_: str, **__: Any) -> Any:
        from azure.core.credentials import AccessToken

        return AccessToken(SECRETS["bearertoken"], int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))


def s3_keys(url: str, name: str) -> Bucket:
    return _s3(url, Keys(SECRETS["keyid"], SECRETS["secretkey"])).bucket(name)


def s3_session_token(url: str, name: str) -> Bucket:
    return _s3(url, Keys(SECRETS["keyid"], SECRETS["secretkey"], SECRETS["sessiontoken"])).bucket(name)


def _s3(url: str, keys: Keys) -> S3Access:
    return S3Access(s3_environment().session, keys, url, addressing_style="path")


def gcs_token(url: str, name: str) -> Bucket:
    from google.oauth2.credentials import Credentials

    return GcsAccess(Credentials(SECRETS["bearertoken"]), endpoint=url).bucket(name)  # type: ignore[no-untyped-call]


def azure_key(url: str, name: str) -> Bucket:
    return AzureAccess(f"{url}/devstoreaccount1", "devstoreaccount1", access_key=_account_key()).bucket(name)


def azure_token(url: str, name: str) -> Bucket:
    return AzureAccess(f"{url}/devstoreaccount1", "devstoreaccount1", token_credential=Token()).bucket(name)


def azure_sas(url: str, name: str) -> Bucket:
    from azure.storage.blob import ResourceTypes, generate_account_sas

    sas = generate_account_sas(
        "devstoreaccount1",
        _account_key(),
        resource_types=ResourceTypes(container=True, object=True),
        permission="rl",
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return AzureAccess(f"{url}/devstoreaccount1", "devstoreaccount1", sas_token=sas).bucket(name)


def _account_key() -> str:
    from support import clouds

    return clouds._AZURE_KEY


@dataclass(frozen=True, slots=True)
class Way:
    cloud: str
    open: Open
    reads: bool = True  # whether the emulator takes such credentials


WAYS = {
    "s3 keys": Way("s3", s3_keys),
    "s3 session token": Way("s3", s3_session_token),
    "gcs token": Way("gcs", gcs_token),
    "azure key": Way("azure", azure_key),
    "azure sas": Way("azure", azure_sas),
    "azure token": Way("azure", azure_token, reads=False),
}


@dataclass(frozen=True, slots=True)
class Model:
    proxy: FaultyProxy
    listings: str
    bucket: Bucket
    uri: str

    def store(self) -> ObjectStore:
        return ObjectStore(self.bucket, storage_identity(self.uri, ""), Transfers())

    def read(self) -> Reading:
        store = self.store()
        return read_all(store, store.listing(Limits()), "sha256", pulse=lambda count: None)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: S3Endpoint) -> Iterator[Callable[[str], Cloud]]:
    with contextlib.ExitStack() as stack:
        known: dict[str, Cloud] = {"s3": S3Cloud(s3_endpoint)}
        start: dict[str, Any] = {"gcs": fake_gcs, "azure": azurite}

        def cloud(name: str) -> Cloud:
            if name not in known:
                known[name] = stack.enter_context(start[name](tmp_path_factory.mktemp(name)))
            return known[name]

        yield cloud


@pytest.fixture(params=[name for name, way in WAYS.items() if way.reads])
def model(request: pytest.FixtureRequest, clouds: Callable[[str], Cloud]) -> Iterator[Model]:
    way = WAYS[request.param]
    cloud, home = clouds(way.cloud), secrets.token_hex(6)
    for path, content in FILES.items():
        cloud.put(f"{home}/{path}", content)
    with faulty_proxy(cloud.url) as proxy:
        yield Model(proxy, cloud.listings, way.open(proxy.uri, cloud.bucket), cloud.uri(home))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)


def leading_away(url: str, code: int) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.send(Response(code, headers=(("Location", url + exchange.target),)))

    return fault


def must_hold_no_credentials(heard: list[Heard]) -> None:
    for request in heard:
        everything = request.everything
        assert not any(secret in everything for secret in (*SECRETS.values(), _account_key())), everything
        assert "sig=" not in everything, everything
        names = {name.lower() for name, _ in request.headers}
        assert not names & {"authorization", "x-amz-security-token", "cookie"}, everything


def test_what_is_not_redirected_is_read(model: Model) -> None:
    """With every kind of credentials, or the other tests would show nothing."""
    reading = model.read()
    assert not reading.problems
    assert {entry.path for entry in reading.entries} == set(FILES)
    assert model.proxy.requests


@pytest.mark.parametrize("code", CODES)
def test_a_body_that_is_redirected_to_a_stranger(model: Model, code: int) -> None:
    with stranger(reply=lead_on) as other:
        redirected = model.proxy.fault(leading_away(other.url, code), path=rf"^(?!.*({model.listings}))")
        with contextlib.suppress(CouldNotVerify):
            model.read()
        assert redirected.hits
        must_hold_no_credentials(other.heard)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # botocore stumbles over a 303
@pytest.mark.parametrize("code", CODES)
def test_a_listing_that_is_redirected_to_a_stranger(model: Model, code: int) -> None:
    with stranger() as other:
        redirected = model.proxy.fault(leading_away(other.url, code))
        with pytest.raises(CouldNotVerify):
            model.store().listing(Limits())
        with pytest.raises(CouldNotVerify):  # what the SDK reads: names that nothing else carries
            list(model.bucket.body("any\x01thing", "1"))
        assert redirected.hits > 1
        model.proxy.clear()
        model.store().listing(Limits())  # whatever is listed later may be asked for in another way
        later = model.proxy.fault(leading_away(other.url, code))
        with pytest.raises(CouldNotVerify):
            model.store().listing(Limits())
        assert later.hits
        assert not other.heard
    gc.collect()  # what botocore left open, here and not in a test that follows


def test_a_bucket_that_is_elsewhere_and_does_not_say_where() -> None:
    """botocore would ask again and again, and die of it."""
    with stranger(reply=lambda heard: Reply(301)) as other:
        bucket = s3_keys(other.url, "bucket")
        with pytest.raises(CouldNotVerify, match="elsewhere, and not where"):
            bucket.page("m/", None, directly=False)
        with pytest.raises(CouldNotVerify, match="elsewhere, and not where"):
            list(bucket.body("any\x01thing", "1"))
        assert [heard.method for heard in other.heard] == ["GET", "HEAD"] * 2


def test_obstore_reaches_no_other_host(model: Model) -> None:
    """Where it may hold credentials, of every kind: it would show each of them to the second stranger."""
    from obstore.store import AzureStore, GCSStore, S3Store

    port = urlsplit(model.proxy.uri).port
    options: Any = client_options(f"http://localhost:{port}", fenced=True)
    places: list[Any] = [
        S3Store(
            "b", aws_endpoint_url_s3=f"http://localhost:{port}", region="r", skip_signature=True, client_options=options
        ),
        GCSStore("b", config={"base_url": f"http://localhost:{port}", "skip_signature": True}, client_options=options),
        AzureStore(
            "b", account_name="a", endpoint=f"http://localhost:{port}", sas_token="sig=x", client_options=options
        ),
    ]
    with stranger("127.0.0.2") as other:
        redirected = model.proxy.fault(leading_away(other.url, 307))
        for store in places:
            with pytest.raises(AuditError):
                list(Bodies(store).chunks("key", "", 1))
        assert redirected.hits >= len(places)
        assert not other.heard


@pytest.mark.parametrize(
    ("endpoint", "may"),
    [
        ("https://s3.amazonaws.com", True),
        ("https://b.s3.dualstack.eu-west-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://b.bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://storage.googleapis.com", True),
        ("https://account.blob.core.windows.net", True),
        ("https://account.z1.blob.storage.azure.net", False),
        ("http://s3.amazonaws.com", False),
        ("https://s3.amazonaws.com.example", False),
        ("https://s3.example/.amazonaws.com", False),
        ("https://user@minio.example:9000", False),
        ("https://s3.amazonaws.com@minio.example", False),
        ("https://ec2-1-2-3-4.compute-1.amazonaws.com", False),
        ("https://storage.googleapis.com.", False),
        ("http://127.0.0.1:9000", False),
    ],
)
def test_where_obstore_may_hold_credentials(endpoint: str, may: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert may_hold_credentials(endpoint) is may
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert not may_hold_credentials(endpoint)


def lead_on(heard: Heard) -> Reply:
    """The stranger redirects once more, within its own origin."""
    if "again=1" in heard.target:
        return Reply(404)
    more = "&" if "?" in heard.target else "?"
    return Reply(307, headers=(("Location", f"{heard.target}{more}again=1"),))
