"""A model version as the registry describes it."""

import re
from dataclasses import dataclass

from registry_audit.printable import storable

Key = tuple[str, str]  # name, version
_MAX_VERSION_CHARACTERS, _MAX_NAME_BYTES = 32, 2_000
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def number_of(version: str) -> int | None:
    """The number of a version; None for anything that MLflow never calls one: `abc`, `1.0`, `-1`, `²`, `007`."""
    return int(version) if _NUMBER.fullmatch(version) else None


def has_storable_name(name: str, version: str) -> bool:
    """Whether a ledger can know a version by its name: databases bound what they index, and MLflow what it registers.

    MLflow's own names have up to 256 characters, those of Unity Catalog three times that.
    """
    return len(version) <= _MAX_VERSION_CHARACTERS and len(storable(name).encode()) <= _MAX_NAME_BYTES


def version_key(name: str, version: str) -> tuple[str, int, str]:
    """Sorts by name, then by number; what is no number comes first. Never two versions the same."""
    return name, number_of(version) or 0, version


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A model version as the registry describes it. Every text in it is hostile."""

    name: str
    version: str  # decimal, unless `doubt` says otherwise
    status: str  # READY, PENDING_REGISTRATION, FAILED_REGISTRATION
    stage: str | None  # None where the registry has none or says 'None'
    aliases: tuple[str, ...]  # sorted
    run_id: str | None
    source: str
    creation_time_ms: int | None = None
    last_updated_ms: int | None = None
    description: str | None = None
    user_id: str | None = None
    run_link: str | None = None
    status_message: str | None = None
    tags: tuple[tuple[str, str], ...] = ()  # sorted
    run_workspace: str | None = None  # id of the Databricks workspace that its run is in, where the registry says so
    doubt: str | None = None  # why the registry's own word on it cannot be used: nothing can be verified then

    @property
    def key(self) -> tuple[str, int, str]:
        """See `version_key`."""
        return version_key(self.name, self.version)

    @property
    def ledger_key(self) -> Key:
        """Name and number as a ledger has them: see `storable`."""
        return storable(self.name), storable(self.version)

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"
