"""Buckets of Google Cloud Storage. Names come through google-cloud-storage.

An object is told by its generation, which each overwrite changes: JSON, which lists, and XML, which is read, have
different ETags for it.
"""

import os
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.printable import printable
from registry_audit.registry.translate import translated
from registry_audit.stores.bodies import RETRIES, Bodies, ObjectChanged, client_options, must_be_endpoint
from registry_audit.stores.objects import Entry, Page

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)
_SECONDS = (10, 60)  # to connect, and between two arrivals
# Before they run out, to be renewed in time; google-auth itself begins four minutes before.
_RENEWED_BEFORE = timedelta(minutes=3)
_EMULATOR = "STORAGE_EMULATOR_HOST"  # as google-cloud-storage reads it
_GOOGLE = "https://storage.googleapis.com"


@dataclass(frozen=True)
class GcsAccess:
    """How to reach Google Cloud Storage. `gcs_environment` is as Google's own libraries find it."""

    credentials: Any | None = None  # of google-auth; None: public buckets, and emulators
    project: str | None = None
    endpoint: str | None = None  # of an emulator
    _buckets: dict[str, "GcsBucket"] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def bucket(self, name: str) -> "GcsBucket":
        """Always the same for one name: its connections are kept."""
        with self._lock:
            if name not in self._buckets:
                self._buckets[name] = GcsBucket(name, self)
            return self._buckets[name]


_known: dict[tuple[tuple[str, str], ...], GcsAccess] = {}
_known_lock = threading.Lock()


def gcs_environment() -> GcsAccess:
    """Raises: UsageError: a package is not installed, or a variable makes no sense."""
    chosen = tuple(sorted(i for i in os.environ.items() if i[0].startswith(("GOOGLE_", "CLOUDSDK_", "STORAGE_EMU"))))
    with _known_lock:
        if chosen not in _known:
            _known.clear()
            _known[chosen] = _from_environment()
        return _known[chosen]


def _from_environment() -> GcsAccess:
    try:
        import google.auth
        import google.cloud.storage
        import obstore  # noqa: F401
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError as error:
        raise UsageError(f"reading gs:// needs {error.name}: pip install 'mlflow-registry-audit[gcs]'") from error
    endpoint = os.environ.get(_EMULATOR) or None
    if endpoint is not None:
        must_be_endpoint(endpoint, f"the environment variable {_EMULATOR}")
        return GcsAccess(endpoint=endpoint)  # which is sent no credentials
    with translated("find Google's credentials"):
        try:
            credentials, project = google.auth.default(scopes=_SCOPES)
        except DefaultCredentialsError:
            return GcsAccess()
    return GcsAccess(credentials, project)


class GcsBucket:
    """See `Bucket`."""

    def __init__(self, name: str, access: GcsAccess) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        self.address, self.host = f"gs://{printable(name)}", access.endpoint or _GOOGLE
        self._name, self._access = name, access
        self._lock, self._made = threading.Lock(), list[Bodies]()
        with translated(f"open {self.address}"):
            self._client = storage.Client(
                project=access.project or "<none>",
                credentials=access.credentials or AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options={"api_endpoint": access.endpoint} if access.endpoint else None,
            )

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        with translated(f"list {self.address}/{printable(prefix)}"):
            answers = self._client.list_blobs(
                self._name,
                prefix=prefix or None,
                delimiter="/" if directly else None,
                page_token=token,
                retry=None,
                timeout=_SECONDS,
            )
            answer = next(answers.pages)
            listed = answer.raw_page
            blobs = list(answer)
        if not isinstance(listed, dict) or listed.get("kind") != "storage#objects":
            raise Transient(f"{self.address} answers, and not with the listing that was asked for")
        entries = []
        for blob in blobs:
            if blob.size is None or not blob.generation:
                raise CouldNotVerify(f"{self.address} lists '{printable(blob.name)}' without its size or generation")
            entries.append(Entry(blob.name, blob.size, str(blob.generation), str(blob.updated or "")))
        return Page(entries, answers.next_page_token)

    def bodies(self) -> Bodies:
        with self._lock:
            if not self._made:
                self._made.append(Bodies(self._obstore(), by_generation=True))
            return self._made[0]

    def body(self, key: str, etag: str) -> Generator[bytes, None, None]:
        from google.api_core.exceptions import NotFound
        from google.cloud.storage import Blob

        with translated(f"read '{printable(key)}'"):
            blob = Blob(key, self._client.bucket(self._name), generation=int(etag))
            try:
                content = blob.download_as_bytes(raw_download=True, retry=None, timeout=_SECONDS)
            except NotFound as error:
                raise ObjectChanged() from error
            yield content

    def _obstore(self) -> Any:
        import obstore.store

        make: Any = obstore.store.GCSStore  # its own types are for checkers only
        is_public = self._access.credentials is None
        return make(
            self._name,
            config={"base_url": self.host, "skip_signature": is_public},
            credential_provider=None if is_public else self._credentials,
            # Without it Google decodes what is stored as gzip.
            client_options=client_options(self.host, headers={"Accept-Encoding": "gzip"}),
            retry_config=RETRIES,
        )

    def _credentials(self) -> dict[str, Any]:
        """For obstore, which asks again when they run out."""
        from google.auth.transport.requests import Request

        credentials = self._access.credentials
        assert credentials is not None
        with self._lock:
            if not credentials.valid:
                credentials.refresh(Request())
        expiry = credentials.expiry  # UTC, and does not say so
        until = datetime.now(UTC) + _RENEWED_BEFORE if expiry is None else expiry.replace(tzinfo=UTC)
        return {"token": credentials.token, "expires_at": until - _RENEWED_BEFORE}
