"""Certificates of a company's own authority, without the key identifiers that Python 3.13 and newer ask for.

boto3 does not ask for them, so MLflow reads such a bucket with every Python. `requests` does, so MLflow's client speaks
to no such server.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from support.clouds import S3Cloud
from support.outside import Outside, outside
from support.s3 import S3Endpoint

from registry_audit.audit.reading import read_all
from registry_audit.errors import CouldNotVerify
from registry_audit.model.listing import Limits
from registry_audit.net.http import HttpSession, Tls
from registry_audit.net.origin import origin_of
from registry_audit.net.throttle import Throttle
from registry_audit.net.transfers import Transfers
from registry_audit.registry.storage import storage_identity
from registry_audit.stores.objects import ObjectStore
from registry_audit.stores.s3 import s3_environment

ENDPOINT = "https://minio.example.com"
FILES = {"MLmodel": b"flavors: {}", "data/weights": bytes(range(256)) * 2_000}


@pytest.fixture
def company(tmp_path: Path, s3_endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    monkeypatch.setattr(
        "urllib3.util.ssl_.sys", SimpleNamespace(version_info=(3, 14))
    )  # as strict as there, everywhere
    with outside(tmp_path / "outside", plain=True) as world:
        world.backends["minio.example.com"] = s3_endpoint.url
        world.as_host["minio.example.com"] = urlsplit(s3_endpoint.url).netloc  # or it takes the name for a bucket's
        for name, value in world.environment.items():
            monkeypatch.setenv(name, value)
        yield world


def test_its_bucket_is_listed_and_read(
    company: Outside, s3_endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = S3Cloud(s3_endpoint)
    for name, value in cloud.environment(ENDPOINT).items():
        monkeypatch.setenv(name, value)
    for path, content in FILES.items():
        cloud.put(f"model/{path}", content)
    bucket = s3_environment().bucket(cloud.bucket)
    store = ObjectStore(bucket, storage_identity(cloud.uri("model"), ""), Transfers())
    for _ in range(2):  # the first listing comes through boto3
        reading = read_all(store, store.listing(Limits()), "sha256", pulse=lambda count: None)
        assert reading.problems == ()
        assert {entry.path: entry.digest for entry in reading.entries} == {
            path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in FILES.items()
        }
    assert bucket.breaks_off
    assert company.hosts() == {"minio.example.com"}


def test_its_server_is_refused_as_mlflow_refuses_it_and_it_is_said_why(company: Outside) -> None:
    with (
        pytest.raises(CouldNotVerify, match=r"not as RFC 5280 wants .*with Python 3\.12"),
        HttpSession(Throttle()).request("GET", ENDPOINT, headers={}, trusted=origin_of(ENDPOINT), doing="ask"),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "knows_the_company", "said"),
    [("minio.example.com", False, "is not trusted"), ("other.example.com", True, "Hostname mismatch")],
)
def test_nobody_else_is_trusted_for_its_bucket(
    company: Outside, monkeypatch: pytest.MonkeyPatch, host: str, knows_the_company: bool, said: str
) -> None:
    """Less is asked of what the certificate holds, and not less of who issued it, and for which host."""
    company.backends["other.example.com"] = company.backends["minio.example.com"]
    company.certified["other.example.com"] = "minio.example.com"
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name)
    url, bundle = f"https://{host}", str(company.directory / "root.pem")
    tls = Tls(bundle if knows_the_company else True, strict=False)
    with (
        pytest.raises(CouldNotVerify, match=said),
        HttpSession(Throttle()).request("GET", url, headers={}, trusted=origin_of(url), doing="ask", tls=tls),
    ):
        pass
    assert company.sent == []
