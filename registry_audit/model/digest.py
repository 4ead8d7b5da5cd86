"""Content digests, written `algorithm:hex`."""

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Protocol

from registry_audit.errors import Stopped, UsageError

ALGORITHMS = ("sha256", "blake3")


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


def new_hasher(algorithm: str) -> Hasher:
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
        hasher: Hasher = blake3()
        return hasher
    raise UsageError(f"'{algorithm}' is no digest algorithm: use one of {', '.join(ALGORITHMS)}")


class DigestedApart:
    """A hasher that digests one chunk in another thread, where that pays, while its caller waits for the next one.

    The chunk must hold until the next one is handed over.
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
