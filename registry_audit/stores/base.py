"""What every store can do. Fakes in the tests implement this same protocol."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from registry_audit.errors import AuditError, BodyEndedEarly, CouldNotVerify
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, Problem
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.registry.storage import StorageIdentity

_Chunk = TypeVar("_Chunk", bytes, memoryview, bytes | memoryview)

Chunks = Generator[bytes | memoryview, None, None]  # to be closed by who leaves it before its end

CHUNK_BYTES = 1 << 20


class Store(Protocol):
    """One model's root storage."""

    identity: StorageIdentity
    directory: Path | None  # the root, where it is a directory of this machine

    def listing(self, limits: Limits) -> Listing:
        """Every file under the root. A root that is gone lists as empty; stores cannot always tell the two apart.

        Raises:
            CouldNotVerify: the listing cannot be had whole.
        """
        ...

    def root_listing(self) -> Listing:
        """Only what lies directly under the root, for who asks no more than whether a model is there.

        Raises:
            CouldNotVerify: it cannot be had.
        """
        ...

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        """The content in chunks, from the first byte to the last.

        Args:
            where: memory that a store may use for them: a chunk then holds until the second one after it is asked for.

        Raises:
            Unreadable: it is not the regular file that was listed.
            CouldNotVerify: it cannot be had whole.
        """
        ...


def transfers_of(store: Store) -> Transfers | None:
    """The threads for reading several of its files at once; None where one after the other is as fast."""
    return getattr(store, "transfers", None)


class NotSeen(CouldNotVerify):
    """The model is not there, and nothing shows that it should be: the place may be on another machine."""


class Unreadable(AuditError):
    """A file that was listed and cannot be read as listed; becomes a problem of the model."""

    def __init__(self, rule: str, message: str, path: str) -> None:
        super().__init__(message)
        self.rule, self.path = rule, path

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.rule, self.message, self.path)

    def problem(self) -> Problem:
        return Problem(self.rule, self.message, self.path)


def whole_body(chunks: Iterator[_Chunk], path: str) -> Iterator[_Chunk]:
    """The chunks of an answer's body. Raises: BodyEndedEarly: the connection broke before its end."""
    try:
        yield from chunks
    except AuditError:
        raise
    except Exception as error:
        raise BodyEndedEarly(f"the answer for '{printable(path)}' broke off ({type(error).__name__})") from error
