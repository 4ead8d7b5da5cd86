"""Listings of buckets end, whatever their pages hold, and send only the credentials of their cloud."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from registry_audit.errors import AuditError, CouldNotVerify
from registry_audit.model.listing import Limits
from registry_audit.net.transfers import Transfers
from registry_audit.registry.storage import storage_identity
from registry_audit.stores.azure import AzureAccess
from registry_audit.stores.gcs import GcsAccess
from registry_audit.stores.objects import Bucket, Entry, ObjectStore, Page

LIMITS = Limits(max_files=20, max_directories=20, max_bytes=10_000)


class EndlessBucket:
    """Its pages never end."""

    address, host, breaks_off = "s3://b", "http://b", False

    def __init__(self, entries: Callable[[int], Sequence[Entry]]) -> None:
        self._entries, self.pages = entries, 0

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        self.pages += 1
        assert self.pages < 1_000, "nothing bounds the listing"
        return Page(self._entries(self.pages), str(self.pages))

    bodies = body = None  # nothing is read


@pytest.mark.parametrize("way", ["listing", "root_listing"])
@pytest.mark.parametrize(
    ("entries", "option"),
    [
        (lambda page: (), "--max-directories"),
        (lambda page: (Entry(f"m/{page}/", 0, "e", "t"),), "--max-directories"),
        (lambda page: (Entry(f"m/d{page}", 0, "e", "t", True),), "--max-directories"),
        (lambda page: (Entry("m/", 0, "e", "t"),), "--max-directories"),
        (lambda page: (Entry(f"m/{page}", 0, "e", "t"),), "--max-files"),
        (lambda page: (Entry(f"m/{page}", 1 << 60, "e", "t"),), "--max-bytes"),
    ],
    ids=["empty pages", "markers", "directories", "its own marker", "files", "bytes"],
)
def test_a_listing_without_end_is_given_up(
    entries: Callable[[int], Sequence[Entry]], option: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.stores.objects.Limits", lambda: LIMITS)  # of who asks for the root alone
    bucket = EndlessBucket(entries)
    store = ObjectStore(bucket, storage_identity("s3://b/m", "sqlite://"), Transfers())  # type: ignore[arg-type]
    with pytest.raises(CouldNotVerify, match=option):
        store.listing(LIMITS) if way == "listing" else store.root_listing()
    assert bucket.pages <= 21


@pytest.mark.parametrize(("etag", "tells"), [("e", True), ("", False)])
def test_an_object_without_an_etag_tells_no_change(etag: str, tells: bool) -> None:
    """A time to the second stays the same when an object is overwritten twice within one."""

    class OnePage(EndlessBucket):
        def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
            return Page([Entry("m/MLmodel", 1, etag, "2026-11-27 10:00:00+00:00")], None)

    bucket = OnePage(lambda page: ())
    store = ObjectStore(bucket, storage_identity("s3://b/m", "sqlite://"), Transfers())  # type: ignore[arg-type]
    assert store.listing(LIMITS).tells_changes is tells


def _azure() -> Bucket:
    pytest.importorskip("azure.storage.blob")
    return AzureAccess("https://wines.blob.core.windows.net", "wines", sas_token="sv=2022&sig=x").bucket("models")


def _gcs() -> Bucket:
    pytest.importorskip("google.cloud.storage")
    return GcsAccess(endpoint="https://storage.googleapis.com").bucket("models")


def _gcs_with_an_expired_token() -> Bucket:
    pytest.importorskip("google.cloud.storage")
    from google.oauth2.credentials import Credentials

    given = {"refresh_token": "r", "token_uri": "https://oauth2.googleapis.com/token", "client_id": "c"}
    return GcsAccess(Credentials(None, client_secret="s", **given)).bucket("models")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("bucket", [_azure, _gcs, _gcs_with_an_expired_token])
def test_no_cloud_is_sent_the_sign_in_of_netrc(
    bucket: Callable[[], Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sent: list[Any] = []

    def send(adapter: object, request: Any, **named: Any) -> Any:
        sent.append(request.headers.get("Authorization"))
        raise ConnectionError("nothing leaves this test")

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    with pytest.raises(AuditError):
        bucket().page("1/", None, directly=True)
    assert set(sent) == {None}
