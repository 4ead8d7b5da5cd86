"""Reads buckets of Google Cloud Storage. Names come through google-cloud-storage.

An object is identified by its generation, which each overwrite changes. Its ETag would not do: the JSON API, which
lists, and the XML API, which is read, have different ETags for one object.
"""

import os
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.printable import printable
from registry_audit.registry.mlflow_private import google_client
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES
from registry_audit.stores.object_bodies import (
    RETRIES,
    Bodies,
    ObjectChanged,
    client_options,
    fenced_session,
    may_hold_credentials,
    must_be_endpoint,
)
from registry_audit.stores.objects import Entry, Kept, Page
from registry_audit.stores.signed_bodies import SignedBodies

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)
_SECONDS = (10, 60)  # to connect, and between two arrivals
# Renewed this long before they expire; google-auth itself begins four minutes before.
_RENEWED_BEFORE = timedelta(minutes=3)
_EMULATOR = "STORAGE_EMULATOR_HOST"  # the variable that google-cloud-storage reads
_AS_STORED = {"Accept-Encoding": "gzip"}  # or Google decodes what is stored as gzip
_GOOGLE = "https://storage.googleapis.com"


@dataclass(frozen=True)
class GcsAccess:
    """Says how to reach Google Cloud Storage. `gcs_environment` returns what Google's own libraries find."""

    credentials: Any | None = None  # of google-auth; None: public buckets, and emulators
    project: str | None = None
    endpoint: str | None = None  # URL of an emulator
    _buckets: Kept[str, "GcsBucket"] = field(default_factory=Kept, repr=False)

    def bucket(self, name: str) -> "GcsBucket":
        """Return the bucket of a name, always the same object, because its connections are kept."""
        return self._buckets.get(name, lambda: GcsBucket(name, self))


_known = Kept[tuple[tuple[str, str], ...], GcsAccess](only_last=True)


def gcs_environment() -> GcsAccess:
    """Return the environment's access. Raises: UsageError: a package is not installed, or a variable makes no sense."""
    chosen = tuple(sorted(i for i in os.environ.items() if i[0].startswith(("GOOGLE_", "CLOUDSDK_", "STORAGE_EMU"))))
    return _known.get(chosen, _from_environment)


def gcs_with_token(token: str) -> GcsAccess:
    """Return the access to Google Cloud Storage with an OAuth token; the environment is ignored.

    Raises:
        UsageError: a package is not installed.
    """
    _must_be_installed()
    from google.oauth2.credentials import Credentials

    return GcsAccess(Credentials(token), endpoint=_GOOGLE)  # type: ignore[no-untyped-call]


def _must_be_installed() -> None:
    try:
        import google.auth
        import google.cloud.storage  # noqa: F401
        import obstore  # noqa: F401
    except ImportError as error:
        raise UsageError(f"reading gs:// needs {error.name}: pip install 'mlflow-registry-audit[gcs]'") from error


def _from_environment() -> GcsAccess:
    _must_be_installed()
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    endpoint = os.environ.get(_EMULATOR) or None
    if endpoint is not None:
        must_be_endpoint(endpoint, f"the environment variable {_EMULATOR}")
        return GcsAccess(endpoint=endpoint)  # an emulator is sent no credentials
    with translated("find Google's credentials"):
        try:
            credentials, project = google.auth.default(scopes=_SCOPES)
        except DefaultCredentialsError:
            return GcsAccess()
    return GcsAccess(credentials, project)


def _for_tokens() -> Any:
    """Return what google-auth asks for tokens with."""
    from google.auth.transport.requests import Request
    from requests import Session

    return Request(fenced_session(Session()))


class GcsBucket:
    """Implements `Bucket` for Google Cloud Storage."""

    breaks_off = False

    def __init__(self, name: str, access: GcsAccess) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.auth.transport.requests import AuthorizedSession

        self.address, self.host = f"gs://{printable(name)}", access.endpoint or _GOOGLE
        self._name, self._access = name, access
        self._lock, self._made = threading.Lock(), list[Bodies | SignedBodies]()
        with translated(f"open {self.address}"):
            credentials = access.credentials or AnonymousCredentials()  # type: ignore[no-untyped-call]
            session = AuthorizedSession(credentials, auth_request=_for_tokens())  # type: ignore[no-untyped-call]
            self._client = google_client(
                fenced_session(session),
                project=access.project or "<none>",
                credentials=credentials,
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

    def bodies(self) -> Bodies | SignedBodies:
        with self._lock:
            if not self._made:
                by_obstore = self._access.credentials is None or may_hold_credentials(self.host)
                self._made.append(Bodies(self._obstore(), by_generation=True) if by_obstore else self._signed())
            return self._made[0]

    def body(self, key: str, etag: str) -> Generator[bytes, None, None]:
        from google.api_core.exceptions import NotFound
        from google.cloud.storage import Blob

        with translated(f"read '{printable(key)}'"):
            blob = Blob(key, self._client.bucket(self._name), generation=int(etag))
            try:
                with blob.open(
                    "rb", chunk_size=CHUNK_BYTES, raw_download=True, retry=None, timeout=_SECONDS
                ) as content:
                    while chunk := content.read(CHUNK_BYTES):
                        yield chunk
            except NotFound as error:
                raise ObjectChanged() from error

    def _signed(self) -> SignedBodies:
        def sign(target: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
            token = self._credentials()["token"]
            return target, {**headers, **_AS_STORED, "Authorization": f"Bearer {token}"}

        bundle = os.environ.get("REQUESTS_CA_BUNDLE")
        base = f"{self.host.rstrip('/')}/{self._name}"
        return SignedBodies(base, sign, ca_bundle=bundle, generation_header="x-goog-generation")

    def _obstore(self) -> Any:
        import obstore.store

        make: Any = obstore.store.GCSStore  # its own types are for checkers only
        is_public = self._access.credentials is None
        return make(
            self._name,
            config={"base_url": self.host, "skip_signature": is_public},
            credential_provider=None if is_public else self._credentials,
            client_options=client_options(
                self.host,
                ca_bundle=os.environ.get("REQUESTS_CA_BUNDLE"),
                headers=_AS_STORED,
                fenced=not is_public,
            ),
            retry_config=RETRIES,
        )

    def _credentials(self) -> dict[str, Any]:
        """Return credentials for obstore, which calls this again when they expire."""
        credentials = self._access.credentials
        assert credentials is not None
        with self._lock:
            if not credentials.valid:
                credentials.refresh(_for_tokens())
        expiry = credentials.expiry  # UTC, without a time zone
        until = datetime.now(UTC) + _RENEWED_BEFORE if expiry is None else expiry.replace(tzinfo=UTC)
        return {"token": credentials.token, "expires_at": until - _RENEWED_BEFORE}
