"""Holds what one registry says about a version and about its bytes: everything that the comparison needs."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter

from registry_audit.audit.comparing import MLMODEL_PROVENANCE, REGISTERED_MODEL_META, typed_value
from registry_audit.audit.copies import META_FILE
from registry_audit.audit.judging import VersionAudit
from registry_audit.model.manifest import Manifest, ManifestEntry
from registry_audit.model.mlmodel import MLMODEL, InvalidMLmodel, parse_mlmodel
from registry_audit.registry.runs import RunState
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.version import RegisteredVersion

# Rules for what may differ between a version and its migrated copy. A rule whose meaning changes gets a higher number.
RULE_VERSIONS = {MLMODEL_PROVENANCE: 1, REGISTERED_MODEL_META: 1}


@dataclass(frozen=True, slots=True)
class Inner:
    """A complete model lies below the root of a version, where nobody loads it from."""

    directory: str
    content: str  # like `VersionFacts.content`, for the files under the directory
    file_count: int


@dataclass(frozen=True, slots=True)
class VersionFacts:
    audit: VersionAudit
    run: RunState | None  # None if its state is not known
    storages: tuple[StorageIdentity, ...]  # all storages of the version, sorted
    manifest: Manifest | None  # of the registry model; None if it was not read in full
    mlmodel: str | None  # text of its root MLmodel; undecodable bytes as lone surrogates
    content: str | None  # equal for two versions that differ by no more than a migration explains; None: not known
    meta_is_mlflows: bool = False  # whether its root registered_model_meta holds only what MLflow writes there
    places: tuple[str, ...] = ()  # the `inode` of each of its files, if they are on this machine
    inner: tuple[Inner, ...] = ()  # only if the root holds no MLmodel
    retryable: bool = False

    @property
    def version(self) -> RegisteredVersion:
        return self.audit.version

    @property
    def is_gone(self) -> bool:
        """Say whether it is certain that there is no model, as opposed to not known."""
        rules = {finding.rule for finding in self.audit.findings}
        return "RA003" in rules and "RA009" not in rules

    @property
    def manifest_digest(self) -> str | None:
        return self.manifest.digest() if self.manifest else None


def content_of(manifest: Manifest, mlmodel: str | None, *, meta_is_mlflows: bool) -> str | None:
    """Return the digest of a model without what a migration rewrites; None if there is no MLmodel at its root.

    Law: equal for two models exactly when every difference between them is explained by a rule of `RULE_VERSIONS`.
    """
    if mlmodel is None:
        return None
    digest = hashlib.sha256()
    for entry in manifest.entries:
        if entry.path == MLMODEL:
            digest.update(f"{MLMODEL} {_mlmodel_key(entry, mlmodel)}\n".encode("ascii"))
        elif entry.path != META_FILE or not meta_is_mlflows:
            digest.update(f"{entry.digest} {json.dumps(entry.path)}\n".encode("ascii"))
    return digest.hexdigest()


def without_provenance(text: str | None) -> str | None:
    """Return the canonical text of an MLmodel without its provenance; None if it is not a valid MLmodel."""
    try:
        return repr(typed_value(parse_mlmodel(encoded(text)).without_provenance())) if text is not None else None
    except (InvalidMLmodel, RecursionError):
        return None


def _mlmodel_key(entry: ManifestEntry, text: str) -> str:
    said = without_provenance(text)
    if said is None:
        return entry.digest  # no difference in it can be explained
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def encode_facts(facts: VersionFacts) -> str:
    """Encode facts as one line of ASCII. Law: `decode_facts(encode_facts(facts)) == facts`."""
    return json.dumps(_adapter().dump_python(facts, mode="json"))


def decode_facts(line: str) -> VersionFacts:
    return _adapter().validate_python(json.loads(line))


@cache
def _adapter() -> TypeAdapter[VersionFacts]:
    return TypeAdapter(VersionFacts)
