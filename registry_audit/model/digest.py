"""Content digests, written `algorithm:hex`."""

import hashlib
from concurrent.futures import Executor, Future
from typing import Protocol

from registry_audit.errors import Stopped, UsageError

ALGORITHMS = ("sha256", "blake3")


class Hasher(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


class CopyableHasher(Hasher, Protocol):
    def copy(self) -> "CopyableHasher": ...


def new_hasher(algorithm: str) -> CopyableHasher:
    """A fresh hasher; both release the interpreter lock on large buffers.

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
        hasher: CopyableHasher = blake3()
        return hasher
    raise UsageError(f"'{algorithm}' is no digest algorithm: use one of {', '.join(ALGORITHMS)}")


class DigestedApart:
    """A hasher that digests one chunk in another thread while its caller waits for the next one."""

    def __init__(self, hasher: Hasher, pool: Executor) -> None:
        self._hasher, self._pool = hasher, pool
        self._running: Future[object] | None = None

    def update(self, data: bytes, /) -> None:
        self._finish()
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


def digest_text(algorithm: str, hasher: Hasher) -> str:
    return f"{algorithm}:{hasher.hexdigest()}"
