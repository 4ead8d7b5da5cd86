"""Defines a model version as the registry describes it, doubts about that description, and lists of versions."""

import hashlib
import json
import re
import secrets
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from registry_audit.printable import printable, storable
from registry_audit.spool import Spool

Key = tuple[str, str]  # name, version
_MAX_VERSION_CHARACTERS, _MAX_NAME_BYTES = 32, 2_000
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_STATUSES = ("READY", "PENDING_REGISTRATION", "FAILED_REGISTRATION")  # mlflow.entities.ModelVersionStatus
_NO_TIME = 2**53  # milliseconds


def number_of(version: str) -> int | None:
    """Return the number of a version; None for a text that MLflow never uses: `abc`, `1.0`, `-1`, `²`, `007`."""
    return int(version) if _NUMBER.fullmatch(version) else None


def has_storable_name(name: str, version: str) -> bool:
    """Say whether a ledger can store a version's name: databases limit what they index, and MLflow what it registers.

    MLflow's own names have up to 256 characters, those of Unity Catalog three times that.
    """
    return len(version) <= _MAX_VERSION_CHARACTERS and len(storable(name).encode()) <= _MAX_NAME_BYTES


def version_key(name: str, version: str) -> tuple[str, int, str]:
    """Return a sort key: by name, then number; other texts first. Two versions never have the same key."""
    return name, number_of(version) or 0, version


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """Holds a model version as the registry describes it. Every text in it is hostile."""

    name: str
    version: str  # decimal, unless `doubt` says otherwise
    status: str  # READY, PENDING_REGISTRATION, FAILED_REGISTRATION
    stage: str | None  # None if the registry has no stages or says 'None'
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
    run_workspace: str | None = None  # id of the Databricks workspace that its run is in, if the registry says so
    doubt: str | None = None  # why the registry's own description cannot be used: nothing can be verified then

    @property
    def key(self) -> tuple[str, int, str]:
        """Return the sort key: see `version_key`."""
        return version_key(self.name, self.version)

    @property
    def ledger_key(self) -> Key:
        """Return name and number as a ledger has them: see `storable`."""
        return storable(self.name), storable(self.version)

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


# Conversion from a registry's description.


def registered_version(version: Any) -> RegisteredVersion:
    """Convert an MLflow entity, or our own type with the same fields."""
    stage, status = text_of(version.current_stage), text_of(version.status) or "READY"
    name, number = text_of(version.name) or "", text_of(version.version) or ""
    no_text = () if isinstance(version.name, str | None) else ("name",)  # bytes, which SQLite accepts in any column
    return RegisteredVersion(
        name=name,
        version=number,
        status=status,
        stage=None if stage in (None, "", "None") else stage,
        aliases=tuple(sorted(map(str, version.aliases or ()))),
        run_id=text_of(version.run_id) or None,
        source=text_of(version.source) or "",
        creation_time_ms=_time(version.creation_timestamp),
        last_updated_ms=_time(version.last_updated_timestamp),
        description=text_of(version.description) or None,
        user_id=text_of(version.user_id) or None,
        run_link=text_of(version.run_link) or None,
        status_message=text_of(version.status_message) or None,
        tags=tuple(sorted((str(key), str(value)) for key, value in dict(version.tags or {}).items())),
        run_workspace=text_of(getattr(version, "run_workspace", None)) or None,
        doubt=_doubt(name, number, status, (*no_text, *getattr(version, "nonsense", ()))),
    )


def text_of(value: object) -> str | None:
    """Return any value as text: a database accepts any value in any column, and a server may send anything."""
    return value if value is None or isinstance(value, str) else str(value)


def _time(value: object) -> int | None:
    return value if type(value) is int and abs(value) < _NO_TIME else None


def _doubt(name: str, number: str, status: str, nonsense: tuple[str, ...]) -> str | None:
    if number_of(number) is None:
        return f"the registry calls its version '{printable(number[:100])}', which is no version number"
    if not name:
        return "the registry gives it no name"
    if not has_storable_name(name, number):
        return f"the registry gives it a name of {len(name)} characters, which MLflow never does"
    if status not in _STATUSES:
        return f"the registry calls its status '{printable(status[:100])}', which MLflow does not know"
    if nonsense:
        return f"what the registry says as its {', '.join(nonsense)} is not what MLflow's protocol has there"
    return None


# The versions that a listing showed: in the order of a report, on disk if there are many.


class ListedVersions(Sequence[RegisteredVersion]):
    """Holds each version once, sorted by name, then number. It reads like a tuple; `choose` returns some of them."""

    def __init__(self, spool: Spool[RegisteredVersion], positions: "array[int]") -> None:
        self._spool, self._positions = spool, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[RegisteredVersion]:
        return (self._spool.at(position) for position in self._positions)

    @overload
    def __getitem__(self, index: int) -> RegisteredVersion: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RegisteredVersion, ...]: ...
    def __getitem__(self, index: int | slice) -> RegisteredVersion | tuple[RegisteredVersion, ...]:
        if isinstance(index, slice):
            return tuple(self._spool.at(position) for position in self._positions[index])
        return self._spool.at(self._positions[index])

    def choose(self, indexes: Iterator[int]) -> "ListedVersions":
        return ListedVersions(self._spool, array("q", (self._positions[index] for index in indexes)))


class KeySet:
    """Holds names and numbers as digests: a hundred thousand of them are a few megabytes."""

    def __init__(self) -> None:
        self._digests: set[int] = set()

    def add(self, key: Key) -> bool:
        """Add a key. Return whether it was new."""
        before = len(self._digests)
        self._digests.add(_digest(key))
        return len(self._digests) > before

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and _digest(key) in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and self._digests == other._digests

    __hash__ = None  # type: ignore[assignment]  # it grows

    def update(self, other: "KeySet") -> None:
        self._digests |= other._digests

    def missing_from(self, other: "KeySet") -> int:
        """Return how many of these keys are not in the other set."""
        return len(self._digests - other._digests)


def version_spool(in_memory: int | None = None) -> Spool[RegisteredVersion]:
    return Spool(encode_version, decode_version, in_memory=in_memory)


def _digest(key: tuple[Any, ...]) -> int:
    # With 96 bits no two keys of any registry collide by chance. The key of this process prevents anybody from choosing
    # two names that collide, one of which would then be missed.
    return int.from_bytes(hashlib.blake2b(json.dumps(key).encode(), digest_size=12, key=_KEY).digest(), "big")


_KEY = secrets.token_bytes(32)


def encode_version(version: RegisteredVersion) -> str:
    return json.dumps([getattr(version, name) for name in RegisteredVersion.__slots__])


def decode_version(line: str) -> RegisteredVersion:
    values = dict(zip(RegisteredVersion.__slots__, json.loads(line), strict=True))
    values["aliases"] = tuple(values["aliases"])
    values["tags"] = tuple((key, value) for key, value in values["tags"])
    return RegisteredVersion(**values)
