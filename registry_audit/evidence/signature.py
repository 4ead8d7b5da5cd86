"""Signs the statement of a pack in a DSSE envelope, with a key of the user, and checks such an envelope.

Source of the format: https://github.com/secure-systems-lab/dsse. `securesystemslib` makes and checks the signature.
"""

import json
from pathlib import Path
from typing import Any

from registry_audit.errors import UsageError
from registry_audit.printable import printable

PAYLOAD_TYPE = "application/vnd.in-toto+json"
# The openssl command that verifies a signature, by the scheme's name in securesystemslib.
COMMANDS = {
    "ecdsa-sha2-nistp256": "openssl dgst -sha256 -verify ../signer.pem -signature signature.bin signed.bin",
    "ecdsa-sha2-nistp384": "openssl dgst -sha384 -verify ../signer.pem -signature signature.bin signed.bin",
    "ed25519": "openssl pkeyutl -verify -pubin -inkey ../signer.pem -rawin -in signed.bin -sigfile signature.bin",
}
_KINDS = "on the curve P-256 or P-384, or of Ed25519"


class SignatureDoesNotHold(Exception):
    """The envelope is not for this statement, or was not signed with this key. The message says which."""


class StatementSigner:
    """Signs with a private key that is read before any other work is done."""

    def __init__(self, file: Path) -> None:
        """Read the key. Raises: UsageError: the file holds no such key, or securesystemslib is not installed."""
        signers = _library()
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        content, shown = _content(file, "--sign-with"), f"--sign-with {printable(str(file))}"
        try:
            self._signer = signers.CryptoSigner(load_pem_private_key(content, password=None))
            self.command = COMMANDS[self._signer.public_key.scheme]  # the command that checks the signature
        except TypeError as error:
            raise UsageError(f"{shown} is protected by a password: give a key file without one") from error
        except Exception as error:  # the parser's message is dropped, because it may quote the key
            raise UsageError(f"{shown} holds no private key in PEM {_KINDS}") from error

    def sign(self, statement: bytes) -> bytes:
        """Return the envelope as JSON."""
        from securesystemslib.dsse import Envelope

        envelope = Envelope(statement, PAYLOAD_TYPE, {})
        envelope.sign(self._signer)
        return (json.dumps(envelope.to_dict(), indent=2, sort_keys=True) + "\n").encode("ascii")


def must_be_signed_with(signed: bytes, statement: bytes, key: Path | None) -> str | None:
    """Check that the envelope is for this statement, and who signed it.

    Args:
        key: file of the public key that must have signed it; None only checks which statement was signed.

    Returns:
        The name of the key, if one was given.

    Raises:
        SignatureDoesNotHold: the envelope is not for this statement, or was not signed with this key.
        UsageError: the file holds no such key, or securesystemslib is not installed.
    """
    signers = _library()
    from securesystemslib.dsse import Envelope

    try:
        envelope = Envelope.from_dict(json.loads(signed))
        says_one_thing = (json.dumps(json.loads(signed), indent=2, sort_keys=True) + "\n").encode("ascii") == signed
    except Exception as error:  # hostile bytes may raise anything in another library's parser
        raise SignatureDoesNotHold("statement.dsse.json is no DSSE envelope") from error
    if not says_one_thing or len(envelope.signatures) != 1:
        raise SignatureDoesNotHold("statement.dsse.json is not written as an envelope with one signature is")
    if envelope.payload != statement or envelope.payload_type != PAYLOAD_TYPE:
        raise SignatureDoesNotHold("statement.dsse.json is a signature of something else than statement.json")
    if key is None:
        return None
    public = _public(signers, key)
    try:
        envelope.verify([public], 1)
    except Exception as error:
        raise SignatureDoesNotHold(f"statement.dsse.json was not signed with {printable(str(key))}") from error
    return f"{printable(str(key))} (key {public.keyid[:16]})"


def _public(signers: Any, file: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _content(file, "--signer-key")
    shown = f"--signer-key {printable(str(file))}"
    if b"PRIVATE KEY" in content:
        raise UsageError(f"{shown} holds a private key, which nobody needs to check a pack: give the public key")
    try:
        public = signers.SSlibKey.from_crypto(load_pem_public_key(content))
    except Exception as error:
        raise UsageError(f"{shown} holds no public key in PEM {_KINDS}") from error
    if public.scheme not in COMMANDS:
        raise UsageError(f"{shown} holds no public key in PEM {_KINDS}")
    return public


def _content(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        raise UsageError(f"{option} {printable(str(file))} cannot be read: {why}") from error


def _library() -> Any:
    try:
        from securesystemslib import signer
    except ImportError as error:
        raise UsageError(
            "signatures of packs need the package securesystemslib: pip install 'mlflow-registry-audit[dsse]'"
        ) from error
    return signer
