"""What a key has signed, beside the files that are there: as the options say, and never more than was signed."""

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from registry_audit.audit.options import checked_options
from registry_audit.audit.signatures import SignatureVerifier, Signed, beside_manifest
from registry_audit.errors import UsageError
from registry_audit.model.manifest import Manifest, ManifestEntry, manifest_of

FILES = {"MLmodel": b"flavors: {}", "data/cache.bin": b"1", "data/more.bin": b"2", "model.sig": b"{}"}
Verifying = Callable[..., SignatureVerifier]


@pytest.fixture
def verifying(tmp_path: Path) -> Verifying:
    key = tmp_path / "key.pem"
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return lambda **options: SignatureVerifier(key=key, **options)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _manifest(files: dict[str, bytes]) -> Manifest:
    return manifest_of(tuple(ManifestEntry(path, len(data), _digest(data)) for path, data in sorted(files.items())))


def _signed(files: dict[str, bytes], *ignored: str) -> Signed:
    parts = {path: ((0, None, _digest(content)),) for path, content in files.items()}
    return Signed(parts, tuple(map(PurePosixPath, ignored)))


ALL_IGNORED: dict[str, Any] = {"ignored": ("data", "MLmodel", "more.bin"), "ignores_unsigned": True}


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({}, "invalid", "'data/cache.bin', 'data/more.bin' were added"),
        ({"ignored": ("data/cache.bin",)}, "invalid", "'data/more.bin' was added"),
        ({"ignored": ("data/cache",)}, "invalid", "'data/cache.bin', 'data/more.bin' were added"),
        ({"ignored": ("more.bin",)}, "invalid", "'data/cache.bin', 'data/more.bin' were added"),
        ({"ignored": ("data/",)}, "partial", "1 of 3 files; not signed, and ignored as the options say"),
        ({"ignored": ("data/more.bin", "data/cache.bin")}, "partial", "'data/cache.bin', 'data/more.bin'"),
        ({"ignores_unsigned": True}, "partial", "'data/cache.bin', 'data/more.bin'"),
    ],
)
def test_files_that_need_not_be_signed(verifying: Verifying, options: dict[str, Any], status: str, said: str) -> None:
    view = beside_manifest(_signed({"MLmodel": FILES["MLmodel"]}), _manifest(FILES), verifying(**options))
    assert (view.status.value, said in view.reason) == (status, True), view.reason


@pytest.mark.parametrize("change", [{"data/more.bin": b"other"}, {"data/more.bin": None}])
def test_what_was_signed_is_never_ignored(verifying: Verifying, change: dict[str, bytes | None]) -> None:
    signed = _signed({path: data for path, data in FILES.items() if path != "model.sig"})
    there = {path: data for path, data in {**FILES, **change}.items() if data is not None}
    assert beside_manifest(signed, _manifest(there), verifying(**ALL_IGNORED)).status.value == "invalid"


def test_a_signature_of_every_file_is_verified_whatever_is_ignored(verifying: Verifying) -> None:
    signed = _signed({path: data for path, data in FILES.items() if path != "model.sig"})
    assert beside_manifest(signed, _manifest(FILES), verifying(**ALL_IGNORED)).status.value == "verified"


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"MLmodel": b"x"}, "partial"),  # whose name nobody has signed
        ({"MLmodel": b"y"}, "invalid"),
        ({"MLmodel": b"x", "more.bin": b""}, "invalid"),
        ({}, "invalid"),
    ],
)
def test_a_model_that_is_a_single_file(verifying: Verifying, files: dict[str, bytes], status: str) -> None:
    """Releases before 1.1 signed it as `.`."""
    for options in ({}, ALL_IGNORED):
        view = beside_manifest(_signed({".": b"x"}), _manifest(files | {"model.sig": b"{}"}), verifying(**options))
        assert view.status.value == status, view.reason


@pytest.mark.parametrize("path", ["", ".", "/etc", "../x", "a//b", "a/../b"])
def test_a_path_outside_of_the_model_is_refused(verifying: Verifying, path: str) -> None:
    with pytest.raises(UsageError, match="is no path inside a model"):
        verifying(ignored=(path,))


@pytest.mark.parametrize("option", [{"signing_ignore_paths": ("data",)}, {"signing_ignore_unsigned": True}])
def test_ignoring_needs_a_key(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="need signing_key or signing_certificate_chain"):
        checked_options(tracking_uri="http://one", ledger=None, **option)
    checked_options(tracking_uri="http://one", ledger=None, signing_key="key.pem", **option)
