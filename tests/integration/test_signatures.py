"""Signatures of OpenSSF Model Signing in the models of a real registry, made by the package itself."""

import base64
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from model_signing import hashing, verifying
from support import damage
from support.auditing import Audited, Auditor
from support.ledgers import registry_audit
from support.registry import Registered, Registry
from support.servers import MlflowServer
from support.signing import Signer, make_leaf, make_signer, sign

from registry_audit.audit.signature_bundle import Contradiction, must_say_one_thing

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
FILES = 7  # of the model that Registry logs


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_signer(tmp_path_factory.mktemp("signer") / "keys")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_signer(tmp_path_factory.mktemp("stranger") / "keys")


@pytest.fixture
def registry(mlflow_local: MlflowServer) -> Registry:
    return Registry(mlflow_local)


@pytest.fixture
def version(registry: Registry, signer: Signer) -> Registered:
    """A version whose run model, the only copy, is signed."""
    version = registry.add()
    sign(registry, version, signer.config())
    return version


@pytest.fixture
def audited(audit: Auditor, registry: Registry, version: Registered, signer: Signer) -> Callable[..., Audited]:
    """Audits `version`, with the key of who signed it unless another is given."""

    def run(*arguments: str, key: Path | None = signer.public) -> Audited:
        given = () if key is None else ("--signing-key", str(key))
        return audit(registry.server.uri, "--model", version.name, *given, *arguments)

    return run


def model_of(registry: Registry, version: Registered) -> Path:
    return registry.server.artifacts.path(version.reg_location)


def told(audited: Audited) -> tuple[int, str | None, set[str]]:
    return audited.exit_status, audited.row["signature_status"], audited.rules


def change_bundle(registry: Registry, version: Registered, change: Callable[[dict[str, Any]], None]) -> None:
    signature = model_of(registry, version) / "model.sig"
    bundle = json.loads(signature.read_text())
    change(bundle)
    signature.write_text(json.dumps(bundle))


def payload_of(bundle: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return payload


def test_without_a_key_it_is_only_reported(audited) -> None:  # type: ignore[no-untyped-def]
    done = audited(key=None)
    assert told(done) == (CLEAN, "not_verified", set())
    assert done.row["signature"] == "model.sig"
    assert "1 version carries a signature (model.sig): 1 not verified" in done.stdout
    assert "--signing-key" in done.stdout


@pytest.mark.parametrize("server", ["mlflow_local", "mlflow_a", "mlflow_s3"])
def test_verified(server: str, request: pytest.FixtureRequest, audit: Auditor, signer: Signer) -> None:
    """In place, through a server's proxy, and through one that stands before a bucket."""
    registry = Registry(request.getfixturevalue(server))
    signed, unsigned = registry.add(), registry.add()
    sign(registry, signed, signer.config())
    arguments = ("--model", signed.name, "--model", unsigned.name, "--signing-key", str(signer.public))
    done = audit(registry.server.uri, *arguments)
    rows = {row["name"]: row for row in done.rows}
    assert (done.exit_status, done.rules) == (CLEAN, set())
    assert rows[signed.name]["signature_status"] == "verified"
    assert f"{FILES} of {FILES} files" in rows[signed.name]["signature_reason"]
    assert (rows[unsigned.name]["signature"], rows[unsigned.name]["signature_status"]) == (None, None)
    with registry.server.artifacts.edit(signed.run_location) as model:
        damage.flip_byte(model)
    done = audit(registry.server.uri, *arguments)
    assert (done.exit_status, done.rules) == (FINDINGS, {"RA014"})


def test_every_rendering_tells_of_it(audited) -> None:  # type: ignore[no-untyped-def]
    done = audited()
    assert "\tnothing was compared; signature verified" in done.stdout
    for name in ("audit.html", "junit.xml"):
        assert "verified" in (done.report_dir / name).read_text(encoding="utf-8"), name
    assert "1 version carries a signature" in (done.report_dir / "audit.md").read_text(encoding="utf-8")
    csv = registry_audit("report", str(done.report_dir / "audit.json"), "--format", "csv")
    assert ",verified,signed by the key sha256:" in csv.stdout


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves(curve: ec.EllipticCurve, registry: Registry, audit: Auditor, tmp_path: Path) -> None:
    version, signer = registry.add(), make_signer(tmp_path / "keys", curve)
    sign(registry, version, signer.config())
    done = audit(registry.server.uri, "--model", version.name, "--signing-key", str(signer.public))
    assert told(done) == (CLEAN, "verified", set())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (damage.flip_byte, "'model.pkl' was changed"),
        (damage.change_nested_file, "'data/nested/weights.bin' was changed"),
        (damage.add_file, "was added"),
        (damage.delete_file, "is missing"),
        (damage.rename_file, "was added"),
        (damage.swap_two_files, "were changed"),
    ],
)
def test_files_that_are_not_those_signed(  # type: ignore[no-untyped-def]
    kind: damage.Damage, said: str, audited, registry: Registry, version: Registered
) -> None:
    kind(model_of(registry, version))
    done = audited()
    assert (done.exit_status, done.row["signature_status"]) == (FINDINGS, "invalid")
    (finding,) = [finding for finding in done.row["findings"] if finding["rule"] == "RA014"]
    assert said in finding["message"]
    assert (finding["severity"], finding["path"]) == ("high", "model.sig")


def test_another_key(audited, stranger: Signer) -> None:  # type: ignore[no-untyped-def]
    done = audited(key=stranger.public)
    assert told(done) == (FINDINGS, "invalid", {"RA014"})
    assert "made with another key" in done.row["signature_reason"]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"verificationMaterial": {}}'], ids=ascii
)
def test_no_signature_at_all(content: bytes, audited, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    (model_of(registry, version) / "model.sig").write_bytes(content)
    assert told(audited()) == (FINDINGS, "invalid", {"RA014"})


def _other_payload(bundle: dict[str, Any]) -> None:
    payload = payload_of(bundle)
    payload["predicate"]["serialization"]["ignore_paths"].append("data")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()


def _other_signature(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()


def _no_signature(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"] = []


def _other_kind(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["payloadType"] = "text/plain"


def _no_key(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"].pop("publicKey")


def _keyless_besides(bundle: dict[str, Any]) -> None:
    """Anybody can add that, and a keyless signature is only said to be not verified."""
    _other_signature(bundle)
    bundle["verificationMaterial"]["tlogEntries"] = [{"logIndex": "1"}]


@pytest.mark.parametrize(
    "change", [_other_payload, _other_signature, _no_signature, _other_kind, _no_key, _keyless_besides]
)
def test_a_signature_that_was_tampered_with(  # type: ignore[no-untyped-def]
    change: Callable[[dict[str, Any]], None], audited, registry: Registry, version: Registered
) -> None:
    change_bundle(registry, version, change)
    assert told(audited()) == (FINDINGS, "invalid", {"RA014"})


def test_a_hint_is_no_proof(audited, registry: Registry, version: Registered, stranger: Signer) -> None:  # type: ignore[no-untyped-def]
    """A stranger's signature that names our key is a stranger's."""
    hint: dict[str, Any] = {}
    change_bundle(registry, version, lambda bundle: hint.update(bundle["verificationMaterial"]["publicKey"]))
    (model_of(registry, version) / "model.sig").unlink()
    sign(registry, version, stranger.config())
    change_bundle(registry, version, lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint))
    done = audited()
    assert told(done) == (FINDINGS, "invalid", {"RA014"})
    assert "changed after it was signed" in done.row["signature_reason"]


def test_a_signature_without_a_hint(audited, registry: Registry, version: Registered, stranger: Signer) -> None:  # type: ignore[no-untyped-def]
    """As releases before 1.0 wrote it; the package would print a warning into our report."""
    change_bundle(registry, version, lambda bundle: bundle["verificationMaterial"]["publicKey"].pop("hint"))
    done = audited()
    assert told(done) == (CLEAN, "verified", set())
    assert "WARNING" not in done.stdout
    assert told(audited(key=stranger.public)) == (FINDINGS, "invalid", {"RA014"})
    # The package takes another name of the key, too.
    change_bundle(registry, version, lambda bundle: bundle["verificationMaterial"].update(public_key={"hint": None}))
    change_bundle(registry, version, lambda bundle: bundle["verificationMaterial"].pop("publicKey"))
    done = audited()
    assert (told(done), "WARNING" in done.stdout) == ((FINDINGS, "invalid", {"RA014"}), False)


def test_files_that_the_signer_left_out(registry: Registry, audit: Auditor, signer: Signer) -> None:
    version = registry.add()
    sign(registry, version, signer.config(), hashing.Config().set_ignored_paths(paths=["model.sig", "data"]))
    arguments = ("--model", version.name, "--signing-key", str(signer.public))
    done = audit(registry.server.uri, *arguments)
    assert told(done) == (CLEAN, "partial", set())
    assert f"{FILES - 2} of {FILES} files" in done.row["signature_reason"]
    assert "left out 'data/nested/weights.bin', 'data/vocabulary.txt'" in done.row["signature_reason"]
    damage.change_nested_file(model_of(registry, version))
    assert told(audit(registry.server.uri, *arguments)) == (CLEAN, "partial", set())
    damage.flip_byte(model_of(registry, version))
    assert told(audit(registry.server.uri, *arguments)) == (FINDINGS, "invalid", {"RA014"})


def test_files_that_need_not_be_signed(audited, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    """What was added is accepted where the options say so; what was signed and then changed never is."""
    (model_of(registry, version) / "cache.bin").write_bytes(b"added later")
    assert told(audited()) == (FINDINGS, "invalid", {"RA014"})
    options = (("--signing-ignore-path", "cache.bin"), ("--signing-ignore-unsigned-files",))
    for option in options:
        done = audited(*option)
        assert told(done) == (CLEAN, "partial", set())
        assert "not signed, and ignored as the options say: 'cache.bin'" in done.row["signature_reason"]
    damage.flip_byte(model_of(registry, version))
    for option in options:
        assert told(audited(*option)) == (FINDINGS, "invalid", {"RA014"})
    assert audited("--signing-ignore-unsigned-files", key=None).exit_status == USAGE


def test_a_file_of_git_is_never_taken_for_verified(audited, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    """The package leaves those out unless told otherwise, and whoever can write may add one."""
    (model_of(registry, version) / ".gitignore").write_bytes(b"*")
    assert told(audited()) == (CLEAN, "partial", set())


def test_a_signature_of_nothing(registry: Registry, audit: Auditor, signer: Signer) -> None:
    version = registry.add()
    sign(registry, version, signer.config(), hashing.Config().set_ignored_paths(paths=["."]))
    done = audit(registry.server.uri, "--model", version.name, "--signing-key", str(signer.public))
    assert told(done) == (FINDINGS, "invalid", {"RA014"})
    assert "has signed no file" in done.row["signature_reason"]


def test_shards(registry: Registry, audit: Auditor, signer: Signer) -> None:
    """A shard that is a whole file has the file's digest; of parts of files the audit knows none."""
    whole, parts = registry.add(), registry.add()
    sign(registry, whole, signer.config(), hashing.Config().use_shard_serialization(shard_size=10_000))
    sign(registry, parts, signer.config(), hashing.Config().use_shard_serialization(shard_size=4_000))
    key = ("--signing-key", str(signer.public))
    assert told(audit(registry.server.uri, "--model", whole.name, *key)) == (CLEAN, "verified", set())
    done = audit(registry.server.uri, "--model", parts.name, *key)
    assert told(done) == (INCOMPLETE, "unverifiable", {"RA009"})
    assert "shards of 'model.pkl'" in done.row["signature_reason"]
    # What can be decided is.
    damage.change_nested_file(model_of(registry, parts))
    assert told(audit(registry.server.uri, "--model", parts.name, *key)) == (FINDINGS, "invalid", {"RA014"})
    damage.flip_byte(model_of(registry, whole))
    assert told(audit(registry.server.uri, "--model", whole.name, *key)) == (FINDINGS, "invalid", {"RA014"})


def test_an_empty_file_has_no_shard(registry: Registry, audit: Auditor, signer: Signer) -> None:
    version = registry.add()
    sign(registry, version, signer.config(), hashing.Config().use_shard_serialization())
    (model_of(registry, version) / "sneaked.py").touch()
    done = audit(registry.server.uri, "--model", version.name, "--signing-key", str(signer.public))
    assert told(done) == (CLEAN, "partial", set())


@pytest.mark.parametrize("algorithm", ["blake2", "blake3"])
def test_other_digests(algorithm: Any, registry: Registry, audit: Auditor, signer: Signer) -> None:
    version = registry.add()
    sign(registry, version, signer.config(), hashing.Config().use_file_serialization(hashing_algorithm=algorithm))
    arguments = ("--model", version.name, "--signing-key", str(signer.public))
    done = audit(registry.server.uri, *arguments)
    assert told(done) == (INCOMPLETE, "unverifiable", {"RA009"})
    assert algorithm in done.row["signature_reason"]
    if algorithm == "blake3":
        assert "--digest blake3" in done.row["signature_reason"]
        assert told(audit(registry.server.uri, *arguments, "--digest", "blake3")) == (CLEAN, "verified", set())


def test_symlinks_inside_the_model_are_their_files(registry: Registry, audit: Auditor, signer: Signer) -> None:
    version = registry.add()
    (model_of(registry, version) / "alias.pkl").symlink_to("model.pkl")
    sign(registry, version, signer.config(), hashing.Config().set_allow_symlinks(True))
    arguments = ("--model", version.name, "--signing-key", str(signer.public))
    assert told(audit(registry.server.uri, *arguments)) == (CLEAN, "verified", set())
    (model_of(registry, version) / "other.pkl").symlink_to("model.pkl")
    assert told(audit(registry.server.uri, *arguments)) == (FINDINGS, "invalid", {"RA014"})


def test_a_model_that_was_not_read_whole(audited, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    (model_of(registry, version) / "escape").symlink_to("/etc/hostname")
    done = audited()
    assert (done.exit_status, done.row["signature_status"]) == (FINDINGS, "unverifiable")
    assert "RA014" not in done.rules


def test_two_copies(audited, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    """Of two copies the worse one speaks for the version."""
    location = registry.separate_copy(version.name, version.version)
    assert told(audited()) == (CLEAN, "verified", set())
    damage.flip_byte(registry.server.artifacts.path(location))
    done = audited()
    assert told(done) == (FINDINGS, "invalid", {"RA001", "RA014"})
    assert done.row["signature_reason"].startswith("registry model: ")
    damage.flip_byte(model_of(registry, version))
    assert audited().rules == {"RA014"}


def test_quick_never_says_verified(audited, registry: Registry, version: Registered, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ledger = ("--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")
    assert told(audited(*ledger, "--accept-new")) == (CLEAN, "verified", set())
    done = audited(*ledger, "--quick")
    assert (*told(done), done.row["baseline"]) == (CLEAN, "not_read", set(), "not_read")
    assert done.row["last_read_at"] in done.row["signature_reason"]
    damage.flip_byte(model_of(registry, version))
    assert told(audited(*ledger, "--quick")) == (FINDINGS, "invalid", {"RA002", "RA014"})


def test_an_invalid_signature_is_not_accepted_on_first_sight(  # type: ignore[no-untyped-def]
    audited, registry: Registry, version: Registered, tmp_path: Path
) -> None:
    ledger = ("--ledger", f"sqlite:///{tmp_path / 'ledger.db'}", "--accept-new")
    damage.flip_byte(model_of(registry, version))
    assert audited(*ledger).document["ledger"]["accepted_new"] == 0
    # What an audit with the key has found stands until one with the key no longer finds it.
    keyless = audited(*ledger, key=None)
    assert (keyless.document["ledger"]["accepted_new"], keyless.document["resolved"]) == (0, [])
    damage.flip_byte(model_of(registry, version))
    verified = audited(*ledger)
    assert [gone["rule"] for gone in verified.document["resolved"]] == ["RA014"]


def test_certificates(registry: Registry, audit: Auditor, signer: Signer, stranger: Signer) -> None:
    version = registry.add()
    sign(registry, version, signer.certified())

    def run(option: str, file: Path) -> Audited:
        return audit(registry.server.uri, "--model", version.name, option, str(file))

    done = run("--signing-certificate-chain", signer.root)
    assert told(done) == (CLEAN, "verified", set())
    assert told(run("--signing-certificate-chain", stranger.root)) == (FINDINGS, "invalid", {"RA014"})
    by_key = run("--signing-key", signer.public)
    assert told(by_key) == (FINDINGS, "invalid", {"RA014"})
    assert "with a certificate, not with a key" in by_key.row["signature_reason"]
    damage.flip_byte(model_of(registry, version))
    assert told(run("--signing-certificate-chain", signer.root)) == (FINDINGS, "invalid", {"RA014"})


def test_check(registry: Registry, version: Registered, signer: Signer, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    report = tmp_path / "report.json"
    command = ["check", "--model", version.name, "--version-or-stage", version.version, "--report-file", str(report)]
    command += ["--tracking-uri", registry.server.uri]
    unverified = registry_audit(*command)
    assert (unverified.exit_status, "Signature: not_verified" in unverified.stdout) == (CLEAN, True)
    monkeypatch.setenv("REGISTRY_AUDIT_SIGNING_KEY", str(signer.public))
    verified = registry_audit(*command)
    assert (verified.exit_status, "Signature: verified" in verified.stdout) == (CLEAN, True)
    assert json.loads(report.read_text())["signature"]["status"] == "verified"
    damage.flip_byte(model_of(registry, version))
    changed = registry_audit(*command)
    assert (changed.exit_status, "RA014 signature-invalid" in changed.stdout) == (FINDINGS, True)


def test_keys_that_are_none(audit: Auditor, registry: Registry, signer: Signer, tmp_path: Path) -> None:
    rsa_key = tmp_path / "rsa.pem"
    public = rsa.generate_private_key(65537, 2048).public_key()
    rsa_key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "text.pem").write_text("no key")
    for option, file, said in (
        ("--signing-key", tmp_path / "missing.pem", "No such file"),
        ("--signing-key", tmp_path, "directory"),
        ("--signing-key", tmp_path / "text.pem", "holds no PEM public key"),
        ("--signing-key", rsa_key, "P-256"),
        ("--signing-key", signer.private, "private key"),
        ("--signing-key", signer.certificate, "holds no PEM public key"),
        ("--signing-certificate-chain", signer.public, "holds no PEM certificates"),
        ("--signing-key", Path(), ""),
    ):
        done = audit(registry.server.uri, option, "" if file == Path() else str(file))
        assert (done.exit_status, said in done.stderr, done.stdout) == (USAGE, True, ""), (file, done.stderr)
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 3
        assert option in done.stderr
    both = ("--signing-key", str(signer.public), "--signing-certificate-chain", str(signer.root))
    assert audit(registry.server.uri, *both).exit_status == USAGE


def test_without_the_package(  # type: ignore[no-untyped-def]
    audited, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    done = audited()
    assert (done.exit_status, "mlflow-registry-audit[signing]" in done.stderr) == (USAGE, True)
    assert told(audited(key=None)) == (CLEAN, "not_verified", set())


def test_what_the_ledger_exports_can_be_signed(  # type: ignore[no-untyped-def]
    audited, registry: Registry, version: Registered, signer: Signer, tmp_path: Path
) -> None:
    """The statement of `baseline show --format model-signing`, signed by whoever has the key, verifies."""
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    audited("--ledger", ledger, "--accept-new")
    shown = registry_audit(
        "baseline", "show", f"{version.name}/{version.version}", "--format", "model-signing", "--ledger", ledger
    )
    private = load_pem_private_key(signer.private.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    payload = shown.stdout.encode()
    kind = "application/vnd.in-toto+json"
    signature = private.sign(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload, ec.ECDSA(hashes.SHA256()))

    def replace(bundle: dict[str, Any]) -> None:
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()

    change_bundle(registry, version, replace)
    assert told(audited()) == (CLEAN, "verified", set())
    model = model_of(registry, version)
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=signer.public)
    verifier.verify(model, model / "model.sig")
    damage.flip_byte(model)
    with pytest.raises(ValueError, match=r"model\.pkl"):
        verifier.verify(model, model / "model.sig")


def test_leaves_of_one_root_are_each_judged_by_themselves(registry: Registry, audit: Auditor, tmp_path: Path) -> None:
    """A yearly rotation: in one audit each signature holds, whatever the order."""
    now = datetime.now(UTC)
    leaves = [make_leaf(tmp_path, begins=now - timedelta(days=days)) for days in (1, 400, 800)]
    versions = [registry.add() for _ in leaves]
    for version, leaf in zip(versions, leaves, strict=True):
        sign(registry, version, leaf.certified())
    names = [word for version in versions for word in ("--model", version.name)]
    done = audit(registry.server.uri, *names, "--signing-certificate-chain", str(leaves[0].root))
    assert [row["signature_status"] for row in done.rows] == ["verified"] * 3


@pytest.mark.parametrize(
    ("begins_days", "ends_days", "status", "said"),
    [(-400, -35, "unverifiable", "certificate expired on"), (1, 400, "invalid", "is not valid before")],
)
def test_a_certificate_out_of_its_time_is_never_silently_verified(
    registry: Registry, audit: Auditor, tmp_path: Path, begins_days: int, ends_days: int, status: str, said: str
) -> None:
    now, version = datetime.now(UTC), registry.add()
    leaf = make_leaf(tmp_path, begins=now + timedelta(days=begins_days), ends=now + timedelta(days=ends_days))
    sign(registry, version, leaf.certified())
    done = audit(registry.server.uri, "--model", version.name, "--signing-certificate-chain", str(leaf.root))
    assert done.row["signature_status"] == status
    assert said in done.row["signature_reason"]
    assert done.exit_status in (FINDINGS, INCOMPLETE)
    damage.flip_byte(model_of(registry, version))
    done = audit(registry.server.uri, "--model", version.name, "--signing-certificate-chain", str(leaf.root))
    assert told(done) == (FINDINGS, "invalid", {"RA014"})


def test_the_signer_of_an_expired_authority_is_not_verified(registry: Registry, audit: Auditor, tmp_path: Path) -> None:
    """Whoever has the key of an authority that has expired can give out certificates that begin before it did."""
    now = datetime.now(UTC)

    def day(count: int) -> datetime:
        return now + timedelta(days=count)

    sound = make_leaf(tmp_path, begins=day(-500), between=(day(-800), day(400)))
    expired = make_leaf(tmp_path, begins=day(-500), between=(day(-800), day(-400)))
    versions = [registry.add() for _ in (sound, expired)]
    for version, leaf in zip(versions, (sound, expired), strict=True):
        sign(registry, version, leaf.certified())
    names = [word for version in versions for word in ("--model", version.name)]
    done = audit(registry.server.uri, *names, "--signing-certificate-chain", str(sound.root))
    rows = {row["name"]: row for row in done.rows}
    assert [rows[version.name]["signature_status"] for version in versions] == ["verified", "unverifiable"]
    assert "leads to none that is trusted today" in rows[versions[1].name]["signature_reason"]
    assert (done.exit_status, done.rules) == (INCOMPLETE, {"RA009"})
    without_root = audit(registry.server.uri, "--signing-certificate-chain", str(expired.between[0]))
    assert (without_root.exit_status, "holds no root certificate" in without_root.stderr) == (USAGE, True)


def test_what_mlflow_writes_when_a_model_is_loaded_by_its_name(  # type: ignore[no-untyped-def]
    audited, registry: Registry, version: Registered
) -> None:
    """It does so in a local store, in which the model was signed; nothing of the model itself may hide behind that."""
    meta = model_of(registry, version) / "registered_model_meta"
    meta.write_text(f"model_name: {version.name}\nmodel_version: '{version.version}'\n")
    done = audited()
    assert told(done) == (CLEAN, "partial", set())
    assert "not signed, and written by MLflow: 'registered_model_meta'" in done.row["signature_reason"]
    meta.write_text("import os")
    assert told(audited()) == (FINDINGS, "invalid", {"RA014"})


def _chain_by_its_other_name(material: dict[str, Any]) -> None:
    material["x509_certificate_chain"] = material.pop("x509CertificateChain")


def _bytes_by_their_other_name(material: dict[str, Any]) -> None:
    for certificate in material["x509CertificateChain"]["certificates"]:
        certificate["raw_bytes"] = certificate.pop("rawBytes")


@pytest.mark.parametrize("spell", [_chain_by_its_other_name, _bytes_by_their_other_name])
@pytest.mark.parametrize("ends_days", [-35, 400])
def test_a_certificate_whose_time_cannot_be_read_is_never_verified(
    registry: Registry, audit: Auditor, tmp_path: Path, spell: Callable[[dict[str, Any]], None], ends_days: int
) -> None:
    """Model-signing takes either name of a key, and holds the signature for good whatever the day."""
    now, version = datetime.now(UTC), registry.add()
    leaf = make_leaf(tmp_path, begins=now - timedelta(days=400), ends=now + timedelta(days=ends_days))
    sign(registry, version, leaf.certified())
    change_bundle(registry, version, lambda bundle: spell(bundle["verificationMaterial"]))
    done = audit(registry.server.uri, "--model", version.name, "--signing-certificate-chain", str(leaf.root))
    assert told(done) == (INCOMPLETE, "unverifiable", {"RA009"})
    assert "when its certificate is valid cannot be read" in done.row["signature_reason"]


def _twice(statement: dict[str, Any]) -> None:
    first = statement["predicate"]["resources"][0]
    statement["predicate"]["resources"].append(first | {"name": f"./{first['name']}"})


def _other_hash_type(statement: dict[str, Any]) -> None:
    statement["predicate"]["serialization"]["hash_type"] = "blake2b"


def _ignored_text(statement: dict[str, Any]) -> None:
    statement["predicate"]["serialization"]["ignore_paths"] = "model.pkl"


def _escaping(statement: dict[str, Any]) -> None:
    statement["predicate"]["resources"][0]["name"] = "../x"


@pytest.mark.parametrize("change", [_twice, _other_hash_type, _ignored_text, _escaping])
def test_a_statement_that_contradicts_itself_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    statement = {
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": []},
            "resources": [{"name": "a.bin", "algorithm": "sha256", "digest": "00"}],
        }
    }
    must_say_one_thing(_bundle_of(statement))
    must_say_one_thing(_bundle_of(statement, "-_"))
    change(statement)
    with pytest.raises(Contradiction):
        must_say_one_thing(_bundle_of(statement))


def _bundle_of(statement: dict[str, Any], skipped: str = "") -> bytes:
    """With letters that base64 does not have, which model-signing skips."""
    payload = skipped + base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps({"dsseEnvelope": {"payload": payload}}).encode()


def test_a_keyless_signature_is_not_verified(audited, registry: Registry, version: Registered) -> None:  # type: ignore[no-untyped-def]
    def keyless(bundle: dict[str, Any]) -> None:
        bundle["verificationMaterial"] = {"certificate": {"rawBytes": "AA=="}, "tlogEntries": [{"logIndex": "1"}]}

    change_bundle(registry, version, keyless)
    done = audited()
    assert told(done) == (CLEAN, "not_verified", set())
    assert "keyless" in done.row["signature_reason"]
