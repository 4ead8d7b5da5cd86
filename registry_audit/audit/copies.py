"""Describes a version's two copies: as the store lists them, and as they were read, with every file's digest."""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec

import yaml
from pydantic import Base64Bytes

from registry_audit.model.listing import Listing, Problem
from registry_audit.model.manifest import Manifest, ManifestEntry, manifest_of
from registry_audit.model.mlmodel import MLMODEL, InvalidMLmodel, parse_mlmodel
from registry_audit.model.yaml_text import UnreadableYaml, read_yaml
from registry_audit.registry.resolve import Location
from registry_audit.registry.storage import StorageIdentity


class Role(StrEnum):
    RUN_MODEL = "run_model"
    REG_MODEL = "reg_model"

    @property
    def words(self) -> str:
        return "run model" if self is Role.RUN_MODEL else "registry model"


@dataclass(frozen=True, slots=True)
class Reading:
    """Holds the result of reading every listed file of one root."""

    entries: tuple[ManifestEntry, ...]  # sorted by path; a file that could not be read is missing here
    mlmodel: Base64Bytes | None  # content of the root MLmodel; bytes, and only base64 in a file
    problems: tuple[Problem, ...] = ()
    files_read: int = 0
    bytes_read: int = 0
    signature: Base64Bytes | None = None  # content of the root model.sig
    meta: Base64Bytes | None = None  # content of the root registered_model_meta
    retryable: bool = False  # a problem may pass by itself: the server, or the way to it
    read_at: str | None = None  # UTC, to the microsecond; None if nothing was read
    trusted_since: str | None = None  # not read now: its fingerprint is that of a full reading at this time (UTC)


@dataclass(frozen=True, slots=True)
class ModelCopy:
    """Describes one of a version's two copies."""

    role: Role
    location: Location
    identity: StorageIdentity  # of the storage that holds it
    listing: Listing
    reading: Reading | None  # None while it waits to be read together with the other copy
    directory: str | None = None  # where its files are on this machine: in place, or kept there on request
    native: str | None = None  # the one file or directory inside the model to which this copy is narrowed

    @property
    def has_mlmodel(self) -> bool:
        """Say whether the copy has an MLmodel that is not empty."""
        return any(file.path == MLMODEL and file.size != 0 for file in self.listing.files)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.listing.problems + (self.reading.problems if self.reading else ())

    @property
    def manifest(self) -> Manifest | None:
        """Return the manifest, if every listed file was read and nothing is in doubt; else None."""
        if self.reading is None or any(problem.blocks for problem in self.problems):
            return None
        if len(self.reading.entries) != len(self.listing.files):
            return None
        return manifest_of(self.reading.entries)


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """Says why a copy could not be listed or read: as a value, so that one version never stops an audit."""

    role: Role
    location: Location
    reason: str  # one sentence, or empty if the location itself says what is lost
    retryable: bool = False  # may pass by itself
    not_seen: bool = False  # the model is not there, and nothing shows that it should be


Copy = ModelCopy | CopyFailure


# `registered_model_meta`: the file that MLflow writes into a model that is loaded by its registered name.
#
# Source: mlflow ModelsArtifactRepository.download_artifacts; docs/mlflow.md section 6.

META_FILE = "registered_model_meta"
META_MAX_BYTES = 4096  # a name and a number; anything larger was not written by MLflow

_KEYS = {"model_name", "model_version"}


def is_written_by_mlflow(meta: bytes | None, mlmodel: bytes | None) -> bool:
    """Say whether the file holds exactly what MLflow writes into it, and is no part of the model.

    Args:
        meta: content of the file; None if it was not read.
        mlmodel: content of the root MLmodel beside it; nothing in it may name the file.
    """
    if meta is None or len(meta) > META_MAX_BYTES or mlmodel is None:
        return False
    try:
        said = read_yaml(meta.decode("utf-8"))
        named = META_FILE in repr(parse_mlmodel(mlmodel).fields)
    except (UnicodeDecodeError, UnreadableYaml, InvalidMLmodel):
        return False
    if named or not isinstance(said, dict) or set(said) != _KEYS:
        return False
    return all(value is None or type(value) is str for value in said.values())


def is_mlflows_text(digest: str, name: str, version: str) -> bool:
    """Say whether a digest belongs to the text that MLflow writes for this version, if the content is not available."""
    algorithm, _, hexadecimal = digest.partition(":")
    # MLflow writes null for both if the version was loaded by the id of its LoggedModel.
    for named, number in ((name, version), (None, None)):
        text = yaml.safe_dump({"model_name": named, "model_version": number}, default_flow_style=False).encode()
        if algorithm == "sha256" and hashlib.sha256(text).hexdigest() == hexadecimal:
            return True
        if algorithm == "blake3" and find_spec("blake3"):
            from blake3 import blake3

            if blake3(text).hexdigest() == hexadecimal:
                return True
    return False


# What an audit keeps of a copy after the version is judged: everything that a report or the ledger needs, and no more.


@dataclass(frozen=True, slots=True)
class CopySummary:
    uri: str  # as the registry records it
    roots: tuple[str, ...]
    identity: str  # the key of the storage that holds it
    file_count: int  # listed
    listed_bytes: int
    fingerprint: str | None  # of the listing, if an overwrite of the same size would change it
    manifest: Manifest | None  # None if not every listed file was read
    manifest_digest: str | None
    was_read: bool
    files_read: int
    bytes_read: int
    trusted_since: str | None  # UTC; not read now: its fingerprint is that of a full reading at this time
    directory: str | None  # where its files are on this machine
    read_at: str | None = None  # UTC; when the reading began; None if no byte was read, or the bytes are trusted
    meta_is_mlflows: bool = False  # its registered_model_meta was read, and holds exactly what MLflow writes


def summary_of(copy: ModelCopy) -> CopySummary:
    listing, reading, manifest = copy.listing, copy.reading, copy.manifest
    return CopySummary(
        uri=copy.location.uri,
        roots=copy.location.roots,
        identity=copy.identity.key,
        file_count=len(listing.files),
        listed_bytes=listing.bytes,
        fingerprint=listing.fingerprint() if listing.tells_changes else None,
        manifest=manifest,
        manifest_digest=manifest.digest() if manifest else None,
        was_read=reading is not None,
        files_read=reading.files_read if reading else 0,
        bytes_read=reading.bytes_read if reading else 0,
        read_at=reading.read_at if reading and not reading.trusted_since else None,
        trusted_since=reading.trusted_since if reading else None,
        directory=copy.directory,
        meta_is_mlflows=reading is not None and is_written_by_mlflow(reading.meta, reading.mlmodel),
    )


def same_under_another_name(summary: CopySummary, copy: ModelCopy) -> CopySummary:
    """Return the summary of a copy that is the same reading as the one summarised already."""
    return replace(summary, uri=copy.location.uri, roots=copy.location.roots)
