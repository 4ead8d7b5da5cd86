"""A copy of a model: listed, and once read, digested."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Base64Bytes

from registry_audit.model.listing import Listing, Problem
from registry_audit.model.manifest import Manifest, ManifestEntry, manifest_of
from registry_audit.model.mlmodel import MLMODEL
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
    """What reading every listed file of one root gave."""

    entries: tuple[ManifestEntry, ...]  # sorted by path; a file that could not be read is missing here
    mlmodel: Base64Bytes | None  # content of the root MLmodel; bytes, and only base64 in a file
    problems: tuple[Problem, ...] = ()
    files_read: int = 0
    bytes_read: int = 0
    signature: Base64Bytes | None = None  # content of the root model.sig
    meta: Base64Bytes | None = None  # content of the root registered_model_meta
    retryable: bool = False  # a problem may pass by itself: the server, or the way to it
    read_at: str | None = None  # UTC, to the microsecond; None where nothing was read
    trusted_since: str | None = None  # not read now: its fingerprint is that of a full reading at this time (UTC)


@dataclass(frozen=True, slots=True)
class ModelCopy:
    """One of a version's two copies."""

    role: Role
    location: Location
    identity: StorageIdentity  # of the storage that holds it
    listing: Listing
    reading: Reading | None  # None while it waits to be read together with the other copy
    directory: str | None = None  # where its files are on this machine: in place, or kept there on request
    native: str | None = None  # the one file or directory inside the model that this is narrowed to

    @property
    def has_mlmodel(self) -> bool:
        """Whether there is one that could say anything: an empty file is as good as none."""
        return any(file.path == MLMODEL and file.size != 0 for file in self.listing.files)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.listing.problems + (self.reading.problems if self.reading else ())

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, if every listed file was read and nothing is in doubt; else None: half a manifest is none."""
        if self.reading is None or any(problem.blocks for problem in self.problems):
            return None
        if len(self.reading.entries) != len(self.listing.files):
            return None
        return manifest_of(self.reading.entries)


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """A copy that could not be had: a value, so that one version never stops an audit."""

    role: Role
    location: Location
    reason: str  # one sentence, or empty where the location itself says what is lost
    retryable: bool = False  # may pass by itself
    not_seen: bool = False  # the model is not there, and nothing shows that it should be


Copy = ModelCopy | CopyFailure
