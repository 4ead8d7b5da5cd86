"""Requests and checks RFC 3161 time-stamps, with which an authority confirms when a statement existed."""

import hashlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.net.deadline import Deadline, within
from registry_audit.net.http import HttpSession
from registry_audit.net.origin import Origin, basic_authorization, origin_of, without_user
from registry_audit.net.throttle import Throttle
from registry_audit.printable import printable
from registry_audit.redact import redact_endpoint

_MAX_BYTES = 1 << 20
_SECONDS = 30  # for the whole answer


def request_stamp(statement: bytes, url: str) -> bytes:
    """Request a time-stamp, and return the authority's response as DER. Only the statement's digest is sent.

    Raises:
        UsageError: rfc3161-client is not installed, or the URL is not an http(s) address.
        CouldNotVerify: the authority does not answer, or refuses.
    """
    client = _client()
    shown = printable(redact_endpoint(url))
    address, origin, headers = _recipient(url, shown)
    request = client.TimestampRequestBuilder().data(statement).nonce(nonce=True).build()
    doing = f"ask the time-stamp authority {shown}"
    with closing(HttpSession(Throttle())) as session, within(Deadline(_SECONDS, "--timestamp-url")):
        asked = session.request(
            "POST",
            address,
            headers=headers | {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
            trusted=origin,
            doing=doing,
            body=request.as_bytes(),
            redirects=False,
        )
        with asked as answer:
            if answer.status != 200:
                raise CouldNotVerify(f"the time-stamp authority {shown} answered with status {answer.status}")
            content = answer.body(doing, _MAX_BYTES)
    try:
        granted = _granted(content, statement, "its answer")
    except StampDoesNotHold as error:
        raise CouldNotVerify(f"the time-stamp authority {shown} gave no time-stamp: {error}") from None
    if granted.tst_info.nonce != request.nonce:
        raise CouldNotVerify(f"the time-stamp authority {shown} answered another request")
    return bytes(content)


def _recipient(url: str, shown: str) -> tuple[str, Origin, dict[str, str]]:
    """Return the address without its user, the server that may see that user, and the header that names the user.

    Raises:
        UsageError: the URL is not an http(s) address.
    """
    try:
        address, user = without_user(url)
        origin = origin_of(address)
    except ValueError:
        origin = None
    if origin is None or origin.scheme not in ("http", "https") or not origin.host:
        raise UsageError(f"--timestamp-url {shown}: give an http(s) address")
    return address, origin, {"Authorization": basic_authorization(":".join(user))} if user else {}


class StampDoesNotHold(Exception):
    """The time-stamp is not for this statement, or not from this authority. The message says which."""


class _Granted:
    """Presents a response with a token to the verifier of rfc3161-client, which only accepts the status `granted`.

    RFC 3161, 2.4.2: a token is also present with `grantedWithMods`. The status is not signed: only the token counts.
    """

    status = 0

    def __init__(self, response: Any) -> None:
        """Take the token from a response. Raises: ValueError: there is no token, or it is malformed."""
        self.tst_info, self.signed_data = response.tst_info, response.signed_data
        self._token: bytes = response.time_stamp_token()

    def time_stamp_token(self) -> bytes:
        return self._token


def time_of(stamp: bytes, statement: bytes) -> datetime:
    """Return the time at which the stamp says that the statement existed. The signer is not checked here.

    Raises:
        StampDoesNotHold: it is no granted time-stamp, or is for something else.
        UsageError: rfc3161-client is not installed.
    """
    made: datetime = _granted(stamp, statement).tst_info.gen_time
    return made.astimezone(UTC)


def must_be_signed_by(stamp: bytes, statement: bytes, certificates: Path) -> datetime:
    """Check that the stamp was made by an authority that these certificates certify, valid at that time.

    Returns:
        The end of validity of the authority's certificate, which may have passed.

    Raises:
        StampDoesNotHold: it was not.
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
    for certificate in dict.fromkeys(loaded):
        if certificate.subject == certificate.issuer:
            builder = builder.add_root_certificate(certificate)
        else:
            builder = builder.add_intermediate_certificate(certificate)
    granted = _granted(stamp, statement)
    try:
        builder.build().verify_message(granted, statement)
        valid_until: datetime = _certificate_of_signer(granted).not_valid_after_utc
    except Exception as error:
        raise StampDoesNotHold(
            _not_valid_then(granted)
            or f"statement.tsr is not made by an authority of {certificates}: {printable(str(error))}"
        ) from error
    return valid_until


def _certificate_of_signer(granted: _Granted) -> Any:
    """Return the signer's certificate. Raises: StopIteration, ValueError: it is missing or malformed."""
    from cryptography import x509

    (signer,) = granted.signed_data.signer_infos
    held = map(x509.load_der_x509_certificate, granted.signed_data.certificates)
    return next(one for one in held if (one.issuer, one.serial_number) == (signer.issuer, signer.serial_number))


def _not_valid_then(granted: _Granted) -> str | None:
    """Describe the problem if the authority's own certificate was not valid when the stamp was made, or return None."""
    try:
        certificate, made = _certificate_of_signer(granted), granted.tst_info.gen_time.astimezone(UTC)
        began, ended = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception:  # noqa: BLE001 - hostile bytes in a foreign parser
        return None
    if began <= made <= ended:
        return None
    which = f"expired on {ended:%Y-%m-%d}" if made > ended else f"was not valid before {began:%Y-%m-%d}"
    return f"statement.tsr does not prove its time, {made:%Y-%m-%d}: the certificate of whoever made it {which}"


def _client() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise UsageError(
            "time-stamps need the package rfc3161-client: pip install 'mlflow-registry-audit[timestamp]'"
        ) from error
    return rfc3161_client


def _granted(stamp: bytes, statement: bytes, called: str = "statement.tsr") -> _Granted:
    """Parse a time-stamp. Making and checking a pack accept exactly the same time-stamps.

    Raises:
        StampDoesNotHold: it is not a granted time-stamp, is for something else, or lacks its signer's certificate.
    """
    client = _client()
    try:
        response = client.decode_timestamp_response(stamp)
        if client.PKIStatus(response.status) not in (client.PKIStatus.GRANTED, client.PKIStatus.GRANTED_WITH_MODS):
            raise StampDoesNotHold(f"{called} is no granted time-stamp")
        granted = _Granted(response)
        imprint = granted.tst_info.message_imprint
        is_complete = granted.signed_data.certificates and len(granted.signed_data.signer_infos) == 1
    except ValueError:
        raise StampDoesNotHold(f"{called} is no granted time-stamp") from None
    if bytes(imprint.message) != _digest(imprint.hash_algorithm.dotted_string, statement):
        raise StampDoesNotHold(f"{called} is a time-stamp of something else than statement.json")
    if not is_complete:
        raise StampDoesNotHold(f"{called} lacks the certificate of whoever signed it")
    return granted


def _digest(oid: str, statement: bytes) -> bytes:
    names = {"2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512"}
    return hashlib.new(names[oid], statement).digest() if oid in names else b""
