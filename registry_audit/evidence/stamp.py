"""RFC 3161 time-stamps: somebody else's word for when a statement existed."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact_endpoint

_MAX_BYTES = 1 << 20
_SECONDS = 30


def request_stamp(statement: bytes, url: str) -> bytes:
    """The authority's answer, as DER. Only the digest of the statement leaves this machine.

    Raises:
        UsageError: rfc3161-client is not installed, or the URL is none.
        CouldNotVerify: the authority does not answer, or refuses.
    """
    client = _client()
    import requests

    shown = printable(redact_endpoint(url))
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--timestamp-url {shown}: give an http(s) address")
    request = client.TimestampRequestBuilder().data(statement).nonce(nonce=True).build()
    try:
        answer = requests.post(
            url,
            data=request.as_bytes(),
            headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
            timeout=_SECONDS,
            allow_redirects=False,
            stream=True,
        )
        content = answer.raw.read(_MAX_BYTES + 1, decode_content=True)
    except (requests.RequestException, OSError, ValueError) as error:
        raise CouldNotVerify(f"the time-stamp authority {shown} does not answer: {type(error).__name__}") from None
    if answer.status_code != 200 or len(content) > _MAX_BYTES:
        raise CouldNotVerify(f"the time-stamp authority {shown} answered with status {answer.status_code}")
    response = _decoded(content)
    if response is None or not _is_granted(response):
        raise CouldNotVerify(f"the time-stamp authority {shown} did not grant a time-stamp")
    if _imprint(response) != _digest(response, statement) or response.tst_info.nonce != request.nonce:
        raise CouldNotVerify(f"the time-stamp authority {shown} answered for something else")
    return bytes(content)


class StampDoesNotHold(Exception):
    """The time-stamp is not one of this statement, or not one of this authority; the message says which."""


def time_of(stamp: bytes, statement: bytes) -> datetime:
    """When the stamp says that the statement existed. Who says so is not checked here.

    Raises:
        StampDoesNotHold: it is no granted time-stamp, or of something else.
        UsageError: rfc3161-client is not installed.
    """
    response = _decoded(stamp)
    if response is None or not _is_granted(response):
        raise StampDoesNotHold("statement.tsr is no granted time-stamp")
    if _imprint(response) != _digest(response, statement):
        raise StampDoesNotHold("statement.tsr is a time-stamp of something else than statement.json")
    made: datetime = response.tst_info.gen_time
    return made.astimezone(UTC)


def must_be_signed_by(stamp: bytes, statement: bytes, certificates: Path) -> None:
    """Check that an authority that these certificates lead to made the stamp.

    Raises:
        StampDoesNotHold: it did not.
        UsageError: the file holds no certificates, or rfc3161-client is not installed.
    """
    client = _client()
    from cryptography import x509

    try:
        loaded = x509.load_pem_x509_certificates(certificates.read_bytes())
    except OSError as error:
        raise UsageError(f"--tsa-certificates {certificates} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--tsa-certificates {certificates} holds no certificates in PEM") from error
    builder = client.VerifierBuilder()
    for certificate in loaded:
        if certificate.subject == certificate.issuer:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    try:
        builder.build().verify_message(_decoded(stamp), statement)
    except Exception as error:
        raise StampDoesNotHold(
            f"statement.tsr is not made by an authority of {certificates}: {printable(str(error))}"
        ) from error


def _client() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise UsageError(
            "time-stamps need the package rfc3161-client: pip install 'mlflow-registry-audit[timestamp]'"
        ) from error
    return rfc3161_client


def _decoded(stamp: bytes) -> Any:
    try:
        return _client().decode_timestamp_response(stamp)
    except ValueError:
        return None


def _is_granted(response: Any) -> bool:
    return int(response.status) in (0, 1)


def _imprint(response: Any) -> bytes:
    return bytes(response.tst_info.message_imprint.message)


def _digest(response: Any, statement: bytes) -> bytes:
    oid = response.tst_info.message_imprint.hash_algorithm.dotted_string
    names = {"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}
    return hashlib.new(names[oid], statement).digest() if oid in names else b""
