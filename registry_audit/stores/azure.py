"""Reads containers of Azure Blob Storage and Data Lake. Names come through azure-storage-blob."""

import logging
import os
import re
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.net.origin import urlsplit
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES, whole_body
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

_SCOPE = "https://storage.azure.com/.default"
_REST_VERSION = "2023-11-03"  # the version that obstore sends
_RENEWED_BEFORE = timedelta(minutes=5)
_SAS_HOLDS, _CLOCKS_DIFFER = timedelta(hours=1), timedelta(minutes=15)
_ACCOUNT = re.compile(r"(?P<account>[^.]+)(?P<zone>\.z[a-z0-9]{2,3})?\.(?P<cloud>.+)")
_BLOB_HOST = re.compile(r"([a-z0-9-]+)\.([a-z0-9]+\.)?blob\.")
_CONNECTION_STRING, _ACCESS_KEY, _SAS = (
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
)
_ACCOUNT_NAMES = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")  # used by Azure's CLI; by other programs


@dataclass(frozen=True)
class AzureAccess:
    """Says how to reach one account's blobs, with exactly one credential. `azure_environment` returns MLflow's."""

    url: str  # URL of the account's blobs
    account: str
    access_key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)
    token_credential: Any | None = field(default=None, repr=False)  # of azure-identity
    _buckets: Kept[str, "AzureContainer"] = field(default_factory=Kept, repr=False)

    def bucket(self, name: str) -> "AzureContainer":
        """Return the container of a name, always the same object, because its connections are kept."""
        return self._buckets.get(name, lambda: AzureContainer(name, self))


_known = Kept[tuple[str, tuple[tuple[str, str], ...]], AzureAccess]()


def azure_environment(host: str) -> AzureAccess:
    """Return the access to an account with the credentials of the environment.

    Args:
        host: the account, its DNS zone if it has one, and the cloud: `account.core.windows.net`.

    Raises:
        UsageError: a package is not installed, or a variable makes no sense.
    """
    chosen = host, tuple(sorted(item for item in os.environ.items() if item[0].startswith("AZURE_")))
    return _known.get(chosen, lambda: _from_environment(host))


def azure_with_sas(host: str, sas_token: str) -> AzureAccess:
    """Return the access to an account with a shared access signature; the environment is ignored.

    Args:
        host: see `azure_environment`.

    Raises:
        UsageError: a package is not installed.
    """
    _must_be_installed()
    url, account = _blobs_of(host)
    return AzureAccess(url, account, sas_token=sas_token.removeprefix("?"))


def _blobs_of(host: str) -> tuple[str, str]:
    """Return the URL of an account's blobs, and the account's name."""
    found = _ACCOUNT.fullmatch(host)
    assert found is not None
    return f"https://{found['account']}{found['zone'] or ''}.blob.{found['cloud']}", found["account"]


def _from_environment(host: str) -> AzureAccess:
    """Read the environment as mlflow.store.artifact.azure_blob_artifact_repo, azure_data_lake_artifact_repo do."""
    _must_be_installed()
    url, account = _blobs_of(host)
    if text := os.environ.get(_CONNECTION_STRING):
        return _of_connection_string(text, account, url)
    if key := os.environ.get(_ACCESS_KEY):
        _must_be_of(account, _ACCESS_KEY)
        return AzureAccess(url, account, access_key=key)
    if sas := os.environ.get(_SAS):
        _must_be_of(account, _SAS)
        return AzureAccess(url, account, sas_token=sas.removeprefix("?"))
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise _missing(error) from error
    # It logs why it finds no credential, which its error says too; without a handler this would go to stderr.
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    return AzureAccess(url, account, token_credential=DefaultAzureCredential(transport=_transport()))


def _transport() -> Any:
    from azure.core.pipeline.transport import RequestsTransport
    from requests import Session

    return RequestsTransport(session=fenced_session(Session()), session_owner=False)


def _must_be_of(account: str, variable: str) -> None:
    """Refuse the environment's credentials for another account: a location may name any account.

    A key or a signature does not say which account it is for, but other variables may.

    Raises:
        UsageError: the environment says that they are for another account.
    """
    for name in _ACCOUNT_NAMES:
        if (named := os.environ.get(name)) and named.lower() != account:
            raise UsageError(f"{variable} is for the account {printable(named)} ({name}), not for {printable(account)}")


def _must_be_installed() -> None:
    try:
        import azure.storage.blob  # noqa: F401
        import obstore  # noqa: F401
    except ImportError as error:
        raise _missing(error) from error


def _missing(error: ImportError) -> UsageError:
    return UsageError(f"reading Azure storage needs {error.name}: pip install 'mlflow-registry-audit[azure]'")


def _of_connection_string(text: str, account: str, url: str) -> AzureAccess:
    """Read a connection string. Raises: UsageError: it is for another account, or holds no credentials."""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    known = {name.lower(): value for name, value in parts.items()}
    endpoint = known.get("blobendpoint")
    must_be_endpoint(endpoint, f"BlobEndpoint in {_CONNECTION_STRING}")
    named = known.get("accountname") or _account_of(endpoint or "")
    if not named:
        raise UsageError(f"{_CONNECTION_STRING} does not say which account it is for: add AccountName=NAME to it")
    if named.lower() != account:
        raise UsageError(f"{_CONNECTION_STRING} is for the account {printable(named)}, not for {printable(account)}")
    url = (endpoint or url).rstrip("/")
    key, sas = known.get("accountkey"), known.get("sharedaccesssignature")
    if not key and not sas:
        raise UsageError(f"{_CONNECTION_STRING} holds neither AccountKey nor SharedAccessSignature")
    return AzureAccess(url, account, access_key=key or None, sas_token=None if key else (sas or "").removeprefix("?"))


def _account_of(endpoint: str) -> str:
    """Return the account in an Azure host name or in a URL's path; empty if a custom domain hides it."""
    parts = urlsplit(endpoint)
    found = _BLOB_HOST.match(parts.hostname or "")
    return found[1].removesuffix("-secondary") if found else parts.path.strip("/").partition("/")[0]


class AzureContainer:
    """Implements `Bucket` for Azure."""

    breaks_off = False

    def __init__(self, name: str, access: AzureAccess) -> None:
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
        from azure.storage.blob import ContainerClient

        self.address, self.host = f"{printable(redact_location(access.url))}/{printable(name)}", access.url
        self._name, self._access = name, access
        self._lock, self._made = threading.Lock(), list[Bodies | SignedBodies]()
        self._sas = "", datetime.min.replace(tzinfo=UTC)  # and until when it is used
        credential: Any = access.token_credential
        if access.access_key:
            credential = AzureNamedKeyCredential(access.account, access.access_key)
        elif access.sas_token:
            credential = AzureSasCredential(access.sas_token)
        with translated(f"open {self.address}"):
            self._client = ContainerClient(
                access.url,
                name,
                credential=credential,
                transport=_transport(),
                retry_total=0,
                connection_timeout=10,
                read_timeout=60,
                max_single_get_size=CHUNK_BYTES,
                max_chunk_get_size=CHUNK_BYTES,
            )

    def page(self, prefix: str, token: str | None, *, directly: bool) -> Page:
        answers = list[bytes]()

        def keep(response: Any) -> None:
            answers.append(response.http_response.body())

        with translated(f"list {self.address}/{printable(prefix)}"):
            # Only the metadata tells a directory of Data Lake from an empty file.
            given: dict[str, Any] = {
                "name_starts_with": prefix or None,
                "include": ["metadata"],
                "raw_response_hook": keep,
            }
            listed: Any = self._client.walk_blobs(**given) if directly else self._client.list_blobs(**given)
            pages = listed.by_page(continuation_token=token)
            blobs: list[Any] = list(next(pages))
        if not answers or not _is_listing(answers[-1]):
            raise Transient(f"{self.address} answers, and not with the listing that was asked for")
        entries = []
        for blob in blobs:
            if not hasattr(blob, "etag"):
                continue  # the name of a directory, if only the root was listed
            if blob.size is None:
                raise CouldNotVerify(f"{self.address} lists '{printable(blob.name)}' without its size")
            is_directory = (blob.metadata or {}).get("hdi_isfolder") == "true"
            entries.append(Entry(blob.name, blob.size, blob.etag or "", str(blob.last_modified or ""), is_directory))
        return Page(entries, pages.continuation_token or None)

    def bodies(self) -> Bodies | SignedBodies:
        with self._lock:
            if not self._made:
                by_obstore = may_hold_credentials(self._access.url) and not self._access.sas_token
                self._made.append(Bodies(self._obstore()) if by_obstore else self._signed())
            return self._made[0]

    def body(self, key: str, etag: str) -> Generator[bytes, None, None]:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError

        condition: dict[str, Any] = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        with translated(f"read '{printable(key)}'"):
            try:
                answer = self._client.download_blob(key, **(condition if etag else {}))
            except ResourceModifiedError as error:
                raise ObjectChanged() from error
            if etag and (answer.properties.etag or "").strip('"') != etag.strip('"'):
                raise ObjectChanged()
            yield from whole_body(answer.chunks(), key)

    def _signed(self) -> SignedBodies:
        access, bundle = self._access, os.environ.get("REQUESTS_CA_BUNDLE")

        def sign(target: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
            sent = {**headers, "x-ms-version": _REST_VERSION}
            if access.token_credential is not None:
                return target, {**sent, "Authorization": f"Bearer {access.token_credential.get_token(_SCOPE).token}"}
            return f"{target}?{access.sas_token or self._sas_of_key()}", sent

        return SignedBodies(f"{access.url}/{self._name}", sign, ca_bundle=bundle)

    def _sas_of_key(self) -> str:
        """Return our own signature to read this container: valid for an hour, and renewed after half of it."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        now = datetime.now(UTC)
        with self._lock:
            if now > self._sas[1]:
                sas = generate_container_sas(
                    self._access.account,
                    self._name,
                    self._access.access_key or "",
                    permission=ContainerSasPermissions(read=True),
                    start=now - _CLOCKS_DIFFER,
                    expiry=now + _SAS_HOLDS,
                )
                self._sas = sas, now + _SAS_HOLDS / 2
            return self._sas[0]

    def _obstore(self) -> Any:
        import obstore.store

        make: Any = obstore.store.AzureStore  # its own types are for checkers only
        return make(
            self._name,
            account_name=self._access.account,
            endpoint=self._access.url,
            credential_provider=self._credentials,  # takes precedence over the environment
            client_options=client_options(
                self._access.url, ca_bundle=os.environ.get("REQUESTS_CA_BUNDLE"), fenced=True
            ),
            retry_config=RETRIES,
        )

    def _credentials(self) -> dict[str, Any]:
        """Return credentials for obstore, which calls this again when they expire."""
        access = self._access
        if access.access_key:
            return {"access_key": access.access_key, "expires_at": None}
        assert access.token_credential is not None
        token = access.token_credential.get_token(_SCOPE)
        return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, UTC) - _RENEWED_BEFORE}


def _is_listing(body: bytes) -> bool:
    try:
        return ElementTree.fromstring(body).tag == "EnumerationResults"  # noqa: S314 - as the SDK itself reads it
    except ElementTree.ParseError:
        return False
