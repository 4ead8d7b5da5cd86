"""Reads a signature file, a Sigstore bundle in JSON, without verifying it.

This module only finds reasons to reject a signature that another library's parser would accept.
"""

import base64
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from registry_audit.model.listing import illegal_path
from registry_audit.printable import printable

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Contradiction(ValueError):
    """The signed statement contradicts itself; the message says how."""


def material_of(signature: bytes) -> dict[str, Any] | None:
    """Return the bundle's `verificationMaterial` (keys or certificates); None if the file is not a bundle."""
    try:
        bundle = json.loads(signature)
    except (ValueError, RecursionError):
        return None
    material = bundle.get("verificationMaterial") if isinstance(bundle, dict) else None
    return material if isinstance(material, dict) else None


def is_keyless(material: dict[str, Any]) -> bool:
    """Say whether a signature is keyless: made with a certificate of Sigstore and an entry in Sigstore's log."""
    if isinstance(material.get("publicKey"), dict):  # anybody can add a log entry to it
        return False
    return isinstance(material.get("certificate"), dict) or bool(material.get("tlogEntries"))


def validity_of(material: dict[str, Any]) -> tuple[datetime, datetime] | None:
    """Return the first and last moment of the signing certificate's validity (UTC); None if it cannot be read.

    The result is also None if the material has unknown keys: the parser that verifies accepts other spellings
    (`x509_certificate_chain`, `raw_bytes`), so an unknown key may hold the certificate that it used.
    """
    if not material.keys() <= {"x509CertificateChain", "tlogEntries", "timestampVerificationData"}:
        return None
    try:
        leaf = certificates_in(material)[0]
    except (LookupError, TypeError, ValueError):
        return None
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def certificates_in(material: dict[str, Any]) -> list["Certificate"]:
    """Return the signer's certificate, then the certificates of its chain.

    Raises:
        LookupError, TypeError, ValueError: they cannot be read.
    """
    from cryptography.x509 import load_der_x509_certificate

    held = material["x509CertificateChain"]["certificates"]
    return [load_der_x509_certificate(base64.b64decode(one["rawBytes"])) for one in held]


def has_root(pem: bytes) -> bool:
    """Say whether one of the certificates is its own issuer."""
    from cryptography.x509 import load_pem_x509_certificates

    return any(one.subject == one.issuer for one in load_pem_x509_certificates(pem))


def on(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def must_say_one_thing(signature: bytes) -> None:
    """Refuse a statement that can be read in two ways.

    Source: OpenSSF Model Signing 1.0, sections 5.2.2 and 8.4.

    Raises:
        Contradiction: it lists a file twice, names other digests than it holds, or is no such statement.
    """
    try:
        payload = json.loads(signature)["dsseEnvelope"]["payload"]
        # Decoded as in model-signing, which skips characters outside base64: this must read exactly what was verified.
        statement = json.loads(base64.b64decode(payload), object_pairs_hook=_once)
        resources = statement.get("predicate", {}).get("resources")
        described = statement["subject"] if resources is None else resources
        names = [resource["name"] for resource in described]
    except Contradiction:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Contradiction("it holds no statement that can be read") from error
    if resources is None:  # releases before 1.0: one subject for each file, and nothing else
        _must_be_told_apart(names, by_shards=False)
        return
    serialization = statement["predicate"].get("serialization")
    if not isinstance(serialization, dict):
        raise Contradiction("it does not say how files were digested")
    by_shards = serialization.get("method") == "shards"
    _must_be_told_apart(names, by_shards=by_shards)
    digests = {str(resource.get("algorithm")).partition("-sharded-")[0] for resource in resources}
    if digests - {str(serialization.get("hash_type"))}:
        raise Contradiction("its digests are not those that it says they are")
    ignored = serialization.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
        raise Contradiction("the paths that it says were left out are no list of paths")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise Contradiction("it gives one thing two values")
    return found


def _must_be_told_apart(names: list[Any], *, by_shards: bool) -> None:
    if not all(isinstance(name, str) for name in names):
        raise Contradiction("it names a file that has no name")
    for name in names:
        path = name.rsplit(":", 2)[0] if by_shards else name
        if path != "." and illegal_path(path) is not None:
            raise Contradiction(f"'{printable(path[:200])}' is no path of a file in a model")
    name, count = next(iter(Counter(map(_spelled, names)).most_common(1)), ("", 0))
    if count > 1:
        raise Contradiction(f"it lists '{printable(name[:200])}' {count} times")


def _spelled(name: str) -> str:
    return str(PurePosixPath(name))
