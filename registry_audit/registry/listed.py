"""The versions that a listing showed: in the order of a report, on disk where there are many."""

import hashlib
import json
import secrets
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, overload

from registry_audit.registry.version import Key, RegisteredVersion
from registry_audit.spool import Spool


class ListedVersions(Sequence[RegisteredVersion]):
    """Each version once, sorted by name, then number. To a reader a tuple; `choose` gives some of them."""

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
    """Names and numbers, held as digests: a hundred thousand of them are a few megabytes."""

    def __init__(self) -> None:
        self._digests: set[int] = set()

    def add(self, key: Key) -> bool:
        """Whether it was not there before."""
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
        """How many of these are not among the others."""
        return len(self._digests - other._digests)


def version_spool(in_memory: int | None = None) -> Spool[RegisteredVersion]:
    return Spool(encode_version, decode_version, in_memory=in_memory)


def _digest(key: tuple[Any, ...]) -> int:
    # 96 bits: no two keys of any registry meet by chance; and under a key of this process nobody can choose two names
    # that do, one of which would then go unseen.
    return int.from_bytes(hashlib.blake2b(json.dumps(key).encode(), digest_size=12, key=_KEY).digest(), "big")


_KEY = secrets.token_bytes(32)


def encode_version(version: RegisteredVersion) -> str:
    return json.dumps([getattr(version, name) for name in RegisteredVersion.__slots__])


def decode_version(line: str) -> RegisteredVersion:
    values = dict(zip(RegisteredVersion.__slots__, json.loads(line), strict=True))
    values["aliases"] = tuple(values["aliases"])
    values["tags"] = tuple((key, value) for key, value in values["tags"])
    return RegisteredVersion(**values)
