"""Buckets that Unity Catalog lends credentials for: for one version, to read, for about an hour.

The credentials go to the storage that Unity Catalog names, under the address that this storage has in its own cloud.
Whatever the environment says of endpoints and credentials is about other storage.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry_audit.errors import CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.listing import ListedFile
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.mlflow_api import number_of, text_of
from registry_audit.registry.storage import AZURE, S3, StorageIdentity, is_sent_elsewhere, storage_identity
from registry_audit.stores.azure import azure_with_sas
from registry_audit.stores.base import Chunks
from registry_audit.stores.gcs import gcs_with_token
from registry_audit.stores.objects import Bucket, ObjectStore, Page
from registry_audit.stores.s3 import Keys, s3_environment_with_keys, s3_with_keys

Ask = Callable[[], Mapping[str, Any]]

_GCS, _R2 = "gs", "r2"

_RENEWED_BEFORE_SECONDS = 300.0
_UNSAID_SECONDS = 1_800.0  # that credentials hold of which nobody says for how long
_YOUNG_SECONDS = 60.0  # for which credentials are not asked for again, though the storage refuses them


class LentStore(ObjectStore):
    """Objects that are read with lent credentials. They are asked for anew before they run out, or when refused."""

    def __init__(self, loan: "Loan", identity: StorageIdentity, transfers: Transfers) -> None:
        super().__init__(loan.bucket(), identity, transfers)
        self._loan = loan

    def _opened(self) -> Bucket:
        return self._loan.bucket()

    def _page(self, token: str | None, *, directly: bool) -> Page:
        with self._loan.renewed_if_refused():
            return super()._page(token, directly=directly)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        with self._loan.renewed_if_refused():
            yield from super().read(file, where)


class Loan:
    """One bucket, opened with the credentials that hold now; safe to share between threads."""

    def __init__(self, lent: Mapping[str, Any], ask: Ask, open_with: Callable[[Mapping[str, Any]], Bucket]) -> None:
        """
        Args:
            lent: the first credentials, as Unity Catalog answers.
            ask: for the next ones.
        """
        self._ask, self._open_with = ask, open_with
        self._lock = threading.Lock()
        self._take(lent)

    def bucket(self) -> Bucket:
        """Raises: AuditError: the credentials ran out, and there are no others to be had."""
        with self._lock:
            if time.time() >= self._renewed_at:
                self._take(self._ask())
            return self._bucket

    @contextlib.contextmanager
    def renewed_if_refused(self) -> Iterator[None]:
        """Raises: Transient: what the storage refused is worth another try, with other credentials."""
        used = self._bucket
        try:
            yield
        except (Transient, NotFound):
            raise
        except (CouldNotVerify, UsageError) as error:
            with self._lock:
                if self._bucket is used:  # nobody has asked for others meanwhile
                    if time.time() < self._lent_at + _YOUNG_SECONDS:
                        raise
                    self._renewed_at = 0.0
            raise Transient(error.message) from error

    def _take(self, lent: Mapping[str, Any]) -> None:
        now = time.time()
        ends_ms = number_of(lent, "expiration_time")
        seconds = _UNSAID_SECONDS if ends_ms is None else ends_ms / 1_000 - now
        self._bucket, self._lent_at = self._open_with(lent), now
        self._renewed_at = now + seconds - min(_RENEWED_BEFORE_SECONDS, seconds / 4)


def lent_store(
    location: str, lent: Mapping[str, Any], ask: Ask, transfers: Transfers, *, is_open_source: bool
) -> LentStore:
    """The store of a version's files.

    Args:
        location: where Unity Catalog keeps them.
        lent: its answer to the question for credentials.
        ask: that question, again.
        is_open_source: whether S3 may be any service that speaks like it: then the environment says where it is.

    Raises:
        UsageError: a package is not installed.
        CouldNotVerify: there is no such storage, or such credentials cannot be used for it.
    """
    identity = storage_identity(location, "")
    if is_sent_elsewhere(identity):
        raise CouldNotVerify(f"the location {printable(redact_location(location))} names no storage of a known cloud")

    def open_with(given: Mapping[str, Any]) -> Bucket:
        return _opened(identity, given, is_open_source=is_open_source)

    return LentStore(Loan(lent, ask, open_with), identity, transfers)


def _opened(identity: StorageIdentity, lent: Mapping[str, Any], *, is_open_source: bool) -> Bucket:
    """Source: mlflow.store._unity_catalog.registry.utils.get_artifact_repo_from_storage_info."""
    if identity.kind == S3:
        keys = _keys(_part(lent, "aws_temp_credentials", identity))
        access = s3_environment_with_keys(keys) if is_open_source else s3_with_keys(keys)
        return access.bucket(identity.container)
    if identity.kind == _R2:
        keys = _keys(_part(lent, "r2_temp_credentials", identity))
        return s3_with_keys(keys, f"https://{identity.endpoint}").bucket(identity.container)
    if identity.kind == AZURE:
        sas = text_of(_part(lent, "azure_user_delegation_sas", identity), "sas_token")
        return azure_with_sas(identity.endpoint, _given(sas)).bucket(identity.container)
    if identity.kind == _GCS:
        token = text_of(_part(lent, "gcp_oauth_token", identity), "oauth_token")
        return gcs_with_token(_given(token)).bucket(identity.container)
    raise CouldNotVerify(f"Unity Catalog keeps the model in {printable(identity.shown)}, which no cloud here reads")


def _part(lent: Mapping[str, Any], key: str, identity: StorageIdentity) -> Mapping[str, Any]:
    found = lent.get(key)
    if isinstance(found, dict):
        return found
    kinds = ", ".join(sorted(printable(name) for name in lent if name.endswith(("credentials", "sas", "token"))))
    raise CouldNotVerify(
        f"Unity Catalog lends credentials ({kinds or 'none'}) that do not fit its storage "
        f"{printable(identity.shown)}, which wants {key}"
    )


def _keys(part: Mapping[str, Any]) -> Keys:
    key, secret = text_of(part, "access_key_id"), text_of(part, "secret_access_key")
    return Keys(_given(key), _given(secret), text_of(part, "session_token") or None)


def _given(secret: str) -> str:
    if not secret:
        raise CouldNotVerify("Unity Catalog lends credentials that hold no key")
    return secret
