"""Identifies a model's bytes: a manifest is a sorted list of (path, size, digest), with a digest of its own.

Laws, tested as properties: `parse_manifest(manifest.text()) == manifest` for any legal path; two manifests have the
same digest exactly when they are equal.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from registry_audit.errors import AuditError, Stopped, UsageError


@dataclass(frozen=True, slots=True, order=True)
class ManifestEntry:
    path: str
    size: int  # bytes read, not the size listed
    digest: str  # "algorithm:hex"


@dataclass(frozen=True, slots=True)
class Manifest:
    entries: tuple[ManifestEntry, ...]  # sorted by path
    algorithm: str = "sha256"

    def text(self) -> str:
        """Write a line per file: digest, size, and the path as a JSON string, so that no path can end a line early."""
        return "".join(f"{entry.digest} {entry.size} {json.dumps(entry.path)}\n" for entry in self.entries)

    def digest(self) -> str:
        hasher = new_hasher(self.algorithm)
        hasher.update(self.text().encode("ascii"))
        return digest_text(self.algorithm, hasher)


def manifest_of(entries: tuple[ManifestEntry, ...]) -> Manifest:
    """Make a manifest of entries that are sorted by path and were all digested with one algorithm."""
    return Manifest(entries, entries[0].digest.partition(":")[0]) if entries else Manifest(())


def parse_manifest(text: str, algorithm: str = "sha256") -> Manifest:
    """Parse what `Manifest.text` has written.

    Raises:
        AuditError: a line does not belong to a manifest.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            digest, size, quoted = line.split(" ", 2)
            path = json.loads(quoted)
            if not isinstance(path, str):
                raise TypeError("a path is a text")
            entries.append(ManifestEntry(path, int(size), digest))
        except (ValueError, TypeError, RecursionError) as error:
            raise AuditError(f"line {number} of the manifest is not 'digest size \"path\"'") from error
    return Manifest(tuple(entries), algorithm)


ALGORITHMS = ("sha256", "blake3")


# Digests of the contents.


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


def new_hasher(algorithm: str) -> Hasher:
    """Return a fresh hasher. Both algorithms release the GIL on large buffers.

    Raises:
        UsageError: the algorithm is unknown or its package is not installed.
    """
    if algorithm == "sha256":
        return hashlib.sha256()
    if algorithm == "blake3":
        try:
            from blake3 import blake3
        except ImportError as error:
            raise UsageError(
                "--digest blake3 needs the package blake3: pip install 'mlflow-registry-audit[blake3]'"
            ) from error
        hasher: Hasher = blake3()
        return hasher
    raise UsageError(f"'{algorithm}' is no digest algorithm: use one of {', '.join(ALGORITHMS)}")


class DigestedApart:
    """Digests each chunk in another thread, if that is faster, while its caller waits for the next chunk.

    A chunk must not change until the next one is handed over.
    """

    def __init__(self, hasher: Hasher, pool: Executor, pays: Callable[[], bool]) -> None:
        self._hasher, self._pool, self._pays = hasher, pool, pays
        self._running: Future[object] | None = None

    def update(self, data: bytes | memoryview, /) -> None:
        self._finish()
        if not self._pays():
            self._hasher.update(data)
            return
        try:
            self._running = self._pool.submit(self._hasher.update, data)
        except RuntimeError:  # the pool was shut down
            raise Stopped("the audit was stopped") from None

    def hexdigest(self) -> str:
        self._finish()
        return self._hasher.hexdigest()

    def _finish(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None


def digest_text(algorithm: str, hasher: Hasher) -> str:
    return f"{algorithm}:{hasher.hexdigest()}"
