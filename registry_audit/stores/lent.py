"""Buckets that Unity Catalog lends credentials for: for one version, to read, for about an hour."""

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.registry.databricks import text_of
from registry_audit.registry.storage import S3, StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.stores.objects import ObjectStore
from registry_audit.stores.s3 import s3_environment

_R2_HOSTS = ".r2.cloudflarestorage.com"


def lent_store(location: str, lent: Mapping[str, Any], transfers: Transfers) -> ObjectStore:
    """The store of a version's files.

    Args:
        location: where Unity Catalog keeps them.
        lent: its answer to the question for credentials.

    Raises:
        UsageError: a package is not installed.
        CouldNotVerify: such a bucket, or such credentials, cannot be used here.
    """
    parts = urlsplit(location)
    bucket, path = parts.netloc, parts.path.strip("/")
    if parts.scheme == "s3" and (keys := lent.get("aws_temp_credentials")):
        return _store(StorageIdentity(S3, "", bucket, path), keys, None, transfers)
    if parts.scheme == "r2" and (keys := lent.get("r2_temp_credentials")):
        bucket, _, host = bucket.partition("@")
        if not host.lower().endswith(_R2_HOSTS):
            raise CouldNotVerify(f"the location {printable(redact(location))} names no bucket of Cloudflare R2")
        return _store(StorageIdentity("r2", host.lower(), bucket, path), keys, f"https://{host}", transfers)
    kinds = ", ".join(sorted(printable(key) for key in lent if key.endswith(("credentials", "sas", "token")))) or "none"
    raise CouldNotVerify(
        f"Unity Catalog lends credentials ({kinds}) for {printable(parts.scheme)}: storage, which this version of the "
        "audit cannot use: it reads S3 and R2"
    )


def _store(identity: StorageIdentity, keys: Any, endpoint: str | None, transfers: Transfers) -> ObjectStore:
    environment = s3_environment()
    import boto3

    if not isinstance(keys, dict) or not text_of(keys, "access_key_id") or not text_of(keys, "secret_access_key"):
        raise CouldNotVerify("Unity Catalog lends credentials that hold no key")
    try:
        session = boto3.Session(
            aws_access_key_id=text_of(keys, "access_key_id"),
            aws_secret_access_key=text_of(keys, "secret_access_key"),
            aws_session_token=text_of(keys, "session_token") or None,
            region_name="auto" if endpoint else environment.session.region_name,
        )
    except Exception as error:  # a profile of the environment that is not there
        raise UsageError(f"the S3 client cannot be set up: {printable(str(error))}") from error
    access = replace(
        environment,
        session=session,
        endpoint=endpoint or environment.endpoint,
        signature_version="s3v4",
        expected_owner=None,
        _buckets={},
        _lock=Lock(),
    )
    return ObjectStore(access.bucket(identity.container), identity, transfers)
