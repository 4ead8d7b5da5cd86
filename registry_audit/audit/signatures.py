"""Verifies the signature in a model with the user's key, for exactly the bytes that the audit read.

There are two steps. The package model-signing verifies the signature over its own statement of what was signed. That
statement is then compared with the manifest here, so that no byte is read twice and a remote model needs no copy on
disk. If anything goes wrong on the way, the signature is not verified.
"""

import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from registry_audit.audit.copies import META_FILE, ModelCopy, Reading, is_written_by_mlflow
from registry_audit.audit.signature_bundle import (
    Contradiction,
    certificates_in,
    has_root,
    is_keyless,
    material_of,
    must_say_one_thing,
    on,
    validity_of,
)
from registry_audit.errors import UsageError
from registry_audit.model.listing import illegal_path
from registry_audit.model.manifest import ALGORITHMS, Manifest, ManifestEntry
from registry_audit.printable import printable
from registry_audit.verdict import SignatureStatus

SIGNATURE = "model.sig"  # the default name of OpenSSF Model Signing, at the model's root
MAX_BYTES = 64 * 2**20  # some 200,000 signed files

_MAX_KEY_BYTES = 2**20
# OpenSSF Model Signing 1.0, sections 6.2 and 11.2; left out even if the signer does not say so.
_LEFT_OUT_BY_DEFAULT = tuple(map(PurePosixPath, (".git", ".gitattributes", ".github", ".gitignore")))
_NAMED_PATHS = 3
_Part = tuple[int, int | None, str]  # of a signed file: its first byte, the one after its last or None, the digest
_SignedFiles = dict[str, tuple[_Part, ...]]


@dataclass(frozen=True, slots=True)
class SignatureView:
    """Holds the result of verifying a model's signature in an audit."""

    status: SignatureStatus
    reason: str  # one sentence


@dataclass(frozen=True, slots=True)
class Signed:
    """Names the files of a model that a key has signed."""

    files: _SignedFiles
    ignored: tuple[PurePosixPath, ...]  # files and directories that the signer left out


class DoesNotHoldError(Exception):
    """The signature was not made with the key; the message says why."""


class SignatureVerifier:
    """Verifies signatures with a key, or with root certificates. Safe to share between threads."""

    def __init__(
        self,
        *,
        key: Path | None = None,
        certificate_chain: Path | None = None,
        ignored: tuple[str, ...] = (),
        ignores_unsigned: bool = False,
    ) -> None:
        """
        Args:
            key: a public key in PEM, on the curve P-256, P-384 or P-521.
            certificate_chain: instead of a key, the certificates in PEM that a signing certificate must lead to.
            ignored: files and directories, relative to the model, that need not be signed. If a signature names one of
                their files, that file is verified nevertheless.
            ignores_unsigned: whether files that a signature does not name need not be signed.

        Raises:
            UsageError: the file holds no such key or certificates, a path does not stay inside a model, or the package
                model-signing is not installed.
        """
        for path in ignored:
            if illegal_path(path.removesuffix("/")) is not None:
                raise UsageError(
                    f"--signing-ignore-path '{printable(path)}' is no path inside a model, such as data/cache.bin"
                )
        self.ignored, self.ignores_unsigned = tuple(map(PurePosixPath, ignored)), ignores_unsigned
        option = "--signing-key" if key else "--signing-certificate-chain"
        if (file := key or certificate_chain) is None:
            raise UsageError("signatures are verified with a key or a certificate chain: give one")
        try:
            import model_signing  # noqa: F401
        except ImportError as error:
            extra = "pip install 'mlflow-registry-audit[signing]'"
            raise UsageError(f"{option} needs the package model-signing: {extra}") from error
        try:
            with file.open("rb") as stream:
                content = stream.read(_MAX_KEY_BYTES)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no path"
            raise UsageError(f"{option} {printable(str(file))} cannot be read: {why}") from error
        if b"PRIVATE KEY" in content:
            raise UsageError(
                f"{option} {printable(str(file))} holds a private key, which no audit needs: give the public key"
            )
        # The key that is checked here must be the key that is trusted hours later, whatever becomes of the file.
        self._content, self.is_key = content, key is not None
        try:
            with tempfile.TemporaryDirectory() as scratch:
                self._config(Path(scratch))
        except Exception as error:
            what = "no PEM public key on the curve P-256, P-384 or P-521" if key else "no PEM certificates"
            raise UsageError(f"{option} {printable(str(file))} holds {what}") from error
        if not key and not has_root(content):
            raise UsageError(
                f"{option} {printable(str(file))} holds no root certificate, to which every signature must lead"
            )
        self._hint = _hint_of(content) if key else None
        self.name = f"the {'key' if key else 'certificates'} sha256:{hashlib.sha256(content).hexdigest()[:12]}"

    def _config(self, scratch: Path) -> Any:
        """Make a new verifier for each signature, because a certificate store keeps the time of its first one."""
        from model_signing import verifying

        trusted, config = scratch / "trusted.pem", verifying.Config()
        trusted.write_bytes(self._content)
        if self.is_key:
            return config.use_elliptic_key_verifier(public_key=trusted)
        return config.use_certificate_verifier(certificate_chain=[trusted])

    def signed_by(self, signature: bytes) -> Signed:
        """Verify the signature with the key, and return the files of the statement that was signed.

        Raises:
            DoesNotHoldError: the key did not sign it, or this is no signature, or it can be read in two ways.
            OSError, MemoryError: this machine has no room for it.
        """
        asked: Any = _Asked()
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as empty:
            file = Path(scratch, SIGNATURE)
            file.write_bytes(self._with_hint(signature))
            try:
                self._config(Path(scratch)).set_hashing_config(asked).verify(empty, file)
            except (OSError, MemoryError):
                raise  # a problem of this machine, not of the signature
            # Hostile bytes in another library's parser: whatever it raises, nothing is verified.
            except Exception as error:
                raise DoesNotHoldError(self._why(signature) or _said(error)) from error
        if asked.statement is None:
            raise DoesNotHoldError("model-signing did not say what was signed")
        try:
            must_say_one_thing(signature)
            return _signed(asked.statement)
        except Contradiction as error:
            raise DoesNotHoldError(f"what was signed contradicts itself: {error}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise DoesNotHoldError("what was signed is no list of files or shards") from error

    def refused_now(self, material: dict[str, Any]) -> str | None:
        """Return why the certificates do not lead to a trusted one today; None if they do."""
        from cryptography import x509
        from OpenSSL import crypto

        store = crypto.X509Store()
        for trusted in x509.load_pem_x509_certificates(self._content):
            store.add_cert(crypto.X509.from_cryptography(trusted))
        leaf, *others = map(crypto.X509.from_cryptography, certificates_in(material))
        try:
            crypto.X509StoreContext(store, leaf, others).verify_certificate()
        except crypto.X509StoreContextError as error:
            return printable(str(error))
        return None

    def _with_hint(self, signature: bytes) -> bytes:
        """Return the signature with a key hint. Releases before 1.0 wrote none, and model-signing then uses stdout.

        Raises:
            DoesNotHoldError: the signature was not made with a key, or does not say so in the usual place.
        """
        if self._hint is None:
            return signature
        material = material_of(signature)
        if material is None or not isinstance(material.get("publicKey"), dict):
            raise DoesNotHoldError(self._why(signature))
        if material["publicKey"].get("hint"):
            return signature
        bundle = json.loads(signature)
        bundle["verificationMaterial"]["publicKey"]["hint"] = self._hint
        return json.dumps(bundle).encode()

    def _why(self, signature: bytes) -> str | None:
        """Return the reason why a signature failed, if the bundle itself shows it; else None."""
        material = material_of(signature)
        if material is None:
            return "it is no signature: not a Sigstore bundle in JSON"
        made_with_key = isinstance(material.get("publicKey"), dict)
        if self._hint is None:
            return "it was made with a key, not with a certificate" if made_with_key else None
        if not made_with_key:
            return "it was made with a certificate, not with a key"
        hint = material["publicKey"].get("hint")
        return f"it was made with another key (sha256:{printable(str(hint))[:12]})" if hint != self._hint else None


def _hint_of(key: bytes) -> str:
    """Return the name that model-signing gives a key in what it signs."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    pem = load_pem_public_key(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _said(error: Exception) -> str:
    from cryptography.exceptions import InvalidSignature

    if isinstance(error, InvalidSignature):
        return "what it says was changed after it was signed, or its key is another"
    return f"model-signing refuses it: {printable(' '.join(str(error).split()))[:200] or type(error).__name__}"


class _Asked:
    """Takes the place of model-signing's hashing, and keeps the statement that would be compared with the hashes.

    It is passed through the package's public interface, `verifying.Config.set_hashing_config`. The package compares
    only after it has verified the signature; if a release did otherwise, nothing would be kept here and nothing
    verified.
    """

    def __init__(self) -> None:
        self.statement: Any = None

    def add_ignored_paths(self, **_: object) -> None:
        """Do nothing: the ignored paths are read from the statement itself."""

    def hash(self, *_: object, **__: object) -> "_Asked":
        return self

    def __eq__(self, other: object) -> bool:
        self.statement = other
        return True

    __hash__ = None  # type: ignore[assignment]


def _signed(statement: Any) -> Signed:
    by_shards = statement.serialization_type["method"] == "shards"
    files: dict[str, list[_Part]] = defaultdict(list)
    for resource in statement.resource_descriptors():
        path, start, end = resource.identifier, 0, None
        algorithm = resource.digest.algorithm
        if by_shards:
            path, first, last = path.rsplit(":", 2)
            start, end = int(first), int(last)
            algorithm = algorithm.partition("-sharded-")[0]
        files[path].append((start, end, f"{algorithm}:{resource.digest.digest_hex}"))
    ignored = (PurePosixPath(path) for path in statement.serialization_type.get("ignore_paths", ()))
    return Signed({path: tuple(sorted(parts)) for path, parts in files.items()}, tuple(sorted(ignored)))


def judge_signature(copy: ModelCopy, verifier: SignatureVerifier | None) -> SignatureView | None:
    """Return the status of the signature in a copy; None if the copy has no signature."""
    if not any(file.path == SIGNATURE for file in copy.listing.files):
        return None
    if verifier is None:
        return SignatureView(SignatureStatus.NOT_VERIFIED, "no key was given to verify it with")
    content = copy.reading.signature if copy.reading else None
    if content is None:
        return SignatureView(SignatureStatus.UNVERIFIABLE, "it was not read")
    if len(content) > MAX_BYTES:
        return SignatureView(SignatureStatus.UNVERIFIABLE, f"it is larger than {MAX_BYTES} bytes")
    material = material_of(content) or {}
    if is_keyless(material):
        return SignatureView(
            SignatureStatus.NOT_VERIFIED, "it is keyless, made with Sigstore, which is not verified here"
        )
    try:
        signed = verifier.signed_by(content)
    except DoesNotHoldError as error:
        return SignatureView(SignatureStatus.INVALID, str(error))
    except (OSError, MemoryError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        return SignatureView(SignatureStatus.UNVERIFIABLE, f"there is no room to verify it: {why}")
    manifest = copy.manifest
    if manifest is None:
        return SignatureView(SignatureStatus.UNVERIFIABLE, "not every file of the model was read")
    view = beside_manifest(signed, manifest, verifier, copy.reading)
    if verifier.is_key or view.status is SignatureStatus.INVALID:
        return view
    return _at_its_time(view, material, verifier, datetime.now(UTC))


def _at_its_time(
    view: SignatureView, material: dict[str, Any], verifier: SignatureVerifier, now: datetime
) -> SignatureView:
    """Judge the certificates as of now: model-signing judges them as of the day the signer's own became valid.

    Nothing in a signature proves when it was made. With an expired certificate it may have been made yesterday, and so
    may the signer's own certificate if its authority's has expired.
    """
    validity = validity_of(material)
    if validity is None:
        return SignatureView(SignatureStatus.UNVERIFIABLE, "when its certificate is valid cannot be read")
    begins, ends = validity
    if now < begins:
        return SignatureView(SignatureStatus.INVALID, f"its certificate is not valid before {on(begins)}")
    if now > ends:
        why = (
            f"its certificate expired on {on(ends)}, and nothing proves that it is older; else it holds: {view.reason}"
        )
        return SignatureView(SignatureStatus.UNVERIFIABLE, why)
    if (refused := verifier.refused_now(material)) is not None:
        why = (
            f"its certificate leads to none that is trusted today ({refused}), although it did when it was made; else "
            f"it holds: {view.reason}"
        )
        return SignatureView(SignatureStatus.UNVERIFIABLE, why)
    return view


def beside_manifest(
    signed: Signed, manifest: Manifest, verifier: SignatureVerifier, reading: Reading | None = None
) -> SignatureView:
    """Compare the files that a key has signed with the bytes that were read.

    Files that the signer left out, or that the options ignore, never count as verified. Only `model.sig` itself needs
    no signature.

    Args:
        reading: the reading that the manifest came from.
    """
    files, name = {entry.path: entry for entry in manifest.entries}, verifier.name
    named = _with_a_name(signed.files, files)
    states = {path: _state(parts, files.get(path), manifest.algorithm) for path, parts in named.items()}
    unsigned = [path for path in files if path not in states and path != SIGNATURE]
    by_shards = any(end is not None for parts in named.values() for _, end, _ in parts)
    left_out = {
        path
        for path in unsigned
        if _is_in(path, (*signed.ignored, *_LEFT_OUT_BY_DEFAULT))
        or (by_shards and files[path].size == 0)  # an empty file has no shard
    }
    # MLflow writes this file, even into a local store, when a model is loaded by its registered name.
    is_mlflows = reading is not None and is_written_by_mlflow(reading.meta, reading.mlmodel)
    of_mlflow = [META_FILE] if is_mlflows and META_FILE in unsigned and META_FILE not in left_out else []
    more = [path for path in unsigned if path not in left_out and path not in of_mlflow]
    ignored = {path for path in more if verifier.ignores_unsigned or _is_in(path, verifier.ignored)}
    differ = [
        *_named("was changed", "were changed", [path for path, state in states.items() if state == "changed"]),
        *_named("is missing", "are missing", [path for path, state in states.items() if state == "missing"]),
        *_named("was added", "were added", [path for path in more if path not in ignored]),
    ]
    undecided = [path for path, state in states.items() if state == "undecided"]
    if differ:
        return SignatureView(SignatureStatus.INVALID, f"since {name} signed it, {'; '.join(differ)}")
    if not states:
        return SignatureView(SignatureStatus.INVALID, f"{name} has signed no file of it")
    if undecided:
        return SignatureView(SignatureStatus.UNVERIFIABLE, _why_undecided(named, undecided, manifest.algorithm))
    holds = f"signed by {name}: {len(states)} of {len(states) + len(unsigned)} files"
    holds += f"; the signer left out {_some(left_out)}" if left_out else ""
    holds += f"; not signed, and written by MLflow: {_some(of_mlflow)}" if of_mlflow else ""
    holds += f"; not signed, and ignored as the options say: {_some(ignored)}" if ignored else ""
    holds += "; the name of its only file is not signed" if named is not signed.files else ""
    if reading is not None and reading.trusted_since is not None:
        last = f"as they were last read in full on {reading.trusted_since}"
        return SignatureView(SignatureStatus.NOT_READ, f"{holds}, {last}")
    is_partial = bool(unsigned) or named is not signed.files
    return SignatureView(SignatureStatus.PARTIAL if is_partial else SignatureStatus.VERIFIED, holds)


def _with_a_name(signed: _SignedFiles, files: Iterable[str]) -> _SignedFiles:
    """Return the signed files by path: releases before 1.1 signed a model that is a single file as `.`."""
    only = [path for path in files if path != SIGNATURE]
    return {only[0]: signed["."]} if signed.keys() == {"."} and len(only) == 1 else signed


def _is_in(path: str, places: Iterable[PurePosixPath]) -> bool:
    return any(PurePosixPath(path).is_relative_to(place) for place in places)


def _state(
    parts: tuple[_Part, ...], entry: ManifestEntry | None, algorithm: str
) -> Literal["same", "changed", "missing", "undecided"]:
    if entry is None:
        return "missing"
    _, end, digest = parts[-1]
    if end is not None and end != entry.size:
        return "changed"
    if len(parts) > 1 or parts[0][0] != 0 or digest.partition(":")[0] != algorithm:
        return "undecided"
    return "same" if digest == entry.digest else "changed"


def _why_undecided(signed: _SignedFiles, undecided: list[str], algorithm: str) -> str:
    algorithms = {digest.partition(":")[0] for path in undecided for _, _, digest in signed[path]}
    if other := sorted(algorithms - {algorithm}):
        way_out = f": audit with --digest {other[0]}" if other[0] in ALGORITHMS else ""
        return f"its digests are {printable(' and '.join(other))}, those of the audit are {algorithm}{way_out}"
    return f"it signs shards of {_some(undecided)}, and the audit has digests of whole files only: sign by files"


def _named(one: str, several: str, paths: list[str]) -> list[str]:
    return [f"{_some(paths)} {one if len(paths) == 1 else several}"] if paths else []


def _some(paths: Iterable[str]) -> str:
    ordered = sorted(paths)
    more = f" and {len(ordered) - _NAMED_PATHS} more" if len(ordered) > _NAMED_PATHS else ""
    return ", ".join(f"'{printable(path)}'" for path in ordered[:_NAMED_PATHS]) + more
