"""Keys and signatures of OpenSSF Model Signing, made with the package itself."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from model_signing import hashing, signing

from support.registry import Registered, Registry


@dataclass(frozen=True, slots=True)
class Signer:
    private: Path
    public: Path
    certificate: Path
    root: Path  # the certificate that `certificate` leads to
    between: tuple[Path, ...] = ()  # over which it does

    def config(self) -> signing.Config:
        return signing.Config().use_elliptic_key_signer(private_key=self.private)

    def certified(self) -> signing.Config:
        return signing.Config().use_certificate_signer(
            private_key=self.private, signing_certificate=self.certificate, certificate_chain=[*self.between, self.root]
        )


def make_signer(directory: Path, curve: ec.EllipticCurve | None = None) -> Signer:
    directory.mkdir(parents=True)
    signer = Signer(*(directory / name for name in ("private.pem", "public.pem", "certificate.pem", "root.pem")))
    key, root = ec.generate_private_key(curve or ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signer.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signer.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signer.certificate.write_bytes(_certificate("signer", key.public_key(), root, authority=False))
    signer.root.write_bytes(_certificate("root", root.public_key(), root, authority=True))
    return signer


def make_leaf(
    directory: Path, *, begins: datetime, ends: datetime | None = None, between: tuple[datetime, datetime] | None = None
) -> Signer:
    """A key of its own whose certificate leads to the one root of the directory, which is valid for many years.

    Args:
        between: when another authority is valid over which it does; None: there is none.
    """
    root_key, root = directory / "root-key.pem", directory / "root.pem"
    if not root_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        root_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        now = datetime.now(UTC)
        valid = (now - timedelta(days=3_000), now + timedelta(days=3_000))
        root.write_bytes(_certificate("root", key.public_key(), key, authority=True, valid=valid))
    authority = load_pem_private_key(root_key.read_bytes(), None)
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    leaf = Path(tempfile.mkdtemp(dir=directory))
    above: tuple[Path, ...] = ()
    issuer = "root"
    if between is not None:
        middle, issuer = ec.generate_private_key(ec.SECP256R1()), "between"
        certificate = _certificate(issuer, middle.public_key(), authority, authority=True, valid=between)
        above, authority = (leaf / "between.pem",), middle
        above[0].write_bytes(certificate)
    signer = Signer(leaf / "private.pem", leaf / "public.pem", leaf / "certificate.pem", root, above)
    own = ec.generate_private_key(ec.SECP256R1())
    signer.private.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signer.public.write_bytes(own.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    valid = (begins, ends or begins + timedelta(days=1_000))
    signer.certificate.write_bytes(
        _certificate("signer", own.public_key(), authority, authority=False, valid=valid, issuer_name=issuer)
    )
    return signer


def sign(registry: Registry, version: Registered, config: signing.Config, hashed: hashing.Config | None = None) -> None:
    """Sign the run model of a version as it is, and log the signature into it as `model.sig`."""
    hashed = hashed or hashing.Config().set_ignored_paths(paths=["model.sig"])
    with tempfile.TemporaryDirectory() as scratch, registry.server.artifacts.edit(version.run_location) as model:
        signature = Path(scratch, "model.sig")
        config.set_hashing_config(hashed).sign(model, signature)
        registry.client.log_artifact(version.run_id, str(signature), "model")


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
    valid: tuple[datetime, datetime] | None = None,
    issuer_name: str = "root",
) -> bytes:
    now = datetime.now(UTC)
    begins, ends = valid or (now, now + timedelta(days=1))
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    usage |= {"encipher_only": False, "decipher_only": False}
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=authority, **usage), critical=True)
    )
    return builder.sign(issuer, hashes.SHA256()).public_bytes(Encoding.PEM)
