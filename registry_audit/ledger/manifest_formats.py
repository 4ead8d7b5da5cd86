"""An accepted manifest in forms that other tools check: `sha256sum -c`, and OpenSSF Model Signing."""

import hashlib
import json

from registry_audit.audit.signatures import SIGNATURE
from registry_audit.errors import UsageError
from registry_audit.model.manifest import Manifest

_LEFT_OUT = (".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)


def sha256sum_listing(manifest: Manifest) -> str:
    """For `sha256sum -c` in the model's directory; names with a backslash or newline are escaped as coreutils does."""
    _must_be_sha256(manifest)
    return "".join(_sha256sum_line(entry.path, entry.digest.partition(":")[2]) for entry in manifest.entries)


def model_signing_listing(manifest: Manifest, name: str) -> str:
    """The statement that OpenSSF Model Signing v1.0 signs: an in-toto statement with one resource a file.

    Its subject digest is the sha256 over the files' raw digests, in the order of their paths by Unicode code point
    (section 5.2.1 of the specification): `a.txt` before `a/b`. Left out is what model-signing itself leaves out where
    it verifies: the signature, which cannot sign itself, and git's files. It takes a symlink inside the model for its
    file only where the statement says so; the ledger does not know of symlinks, so a model that has some is to be
    signed in its directory.
    Source: https://github.com/sigstore/model-transparency, `signing.Payload` and `hashing.Config`.
    """
    _must_be_sha256(manifest)
    listed = (entry for entry in manifest.entries if entry.path.partition("/")[0] not in _LEFT_OUT)
    ordered = sorted(listed, key=lambda entry: entry.path)
    root = hashlib.sha256()
    for entry in ordered:
        root.update(bytes.fromhex(entry.digest.partition(":")[2]))
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(_LEFT_OUT),
            },
            "resources": [
                {"name": entry.path, "algorithm": "sha256", "digest": entry.digest.partition(":")[2]}
                for entry in ordered
            ],
        },
    }
    return json.dumps(statement, indent=2) + "\n"


def _sha256sum_line(path: str, digest: str) -> str:
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n"


def _must_be_sha256(manifest: Manifest) -> None:
    if manifest.algorithm != "sha256":
        raise UsageError(f"the baseline's digests are {manifest.algorithm}; this form needs sha256")
