"""Content digests, written `algorithm:hex`."""

import hashlib
from typing import Protocol

from registry_audit.errors import UsageError

ALGORITHMS = ("sha256", "blake3")


class Hasher(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> "Hasher": ...


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
            raise UsageError("--digest blake3 needs the package blake3: pip install blake3") from error
        hasher: Hasher = blake3()
        return hasher
    raise UsageError(f"'{algorithm}' is no digest algorithm: use one of {', '.join(ALGORITHMS)}")


def digest_text(algorithm: str, hasher: Hasher) -> str:
    return f"{algorithm}:{hasher.hexdigest()}"
