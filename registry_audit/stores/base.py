"""Defines the protocol that every store implements (fakes in the tests too), and what the implementations share."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from registry_audit.errors import AuditError, BodyEndedEarly, CouldNotVerify
from registry_audit.model.listing import Limits, ListedFile, Listing, Problem, illegal_path, make_listing
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.registry.storage import StorageIdentity

_Chunk = TypeVar("_Chunk", bytes, memoryview, bytes | memoryview)

Chunks = Generator[bytes | memoryview, None, None]  # close it, if it is left before its end

CHUNK_BYTES = 1 << 20


class Store(Protocol):
    """Lists and reads the root storage of one model."""

    identity: StorageIdentity
    directory: Path | None  # the root, if it is a directory of this machine

    def listing(self, limits: Limits) -> Listing:
        """List every file under the root. A root that is gone lists as empty; stores cannot always tell the two apart.

        Raises:
            CouldNotVerify: the complete listing cannot be read.
        """
        ...

    def root_listing(self) -> Listing:
        """List only the entries directly under the root, to see whether a model is there.

        Raises:
            CouldNotVerify: the listing cannot be read.
        """
        ...

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        """Yield the content in chunks, from the first byte to the last.

        Args:
            where: memory that a store may use for the chunks: a chunk then stays valid until the second one after it is
                requested.

        Raises:
            Unreadable: it is not the regular file that was listed.
            CouldNotVerify: the file cannot be read completely.
        """
        ...


def transfers_of(store: Store) -> Transfers | None:
    """Return the threads for reading several files of a store at once; None if one after the other is as fast."""
    return getattr(store, "transfers", None)


class NotSeen(CouldNotVerify):
    """The model was not found, and nothing shows that it should be there: it may be on another machine."""


class Unreadable(AuditError):
    """A listed file cannot be read as listed; this becomes a problem of the model."""

    def __init__(self, rule: str, message: str, path: str) -> None:
        super().__init__(message)
        self.rule, self.path = rule, path

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.rule, self.message, self.path)

    def problem(self) -> Problem:
        return Problem(self.rule, self.message, self.path)


def whole_body(chunks: Iterator[_Chunk], path: str) -> Iterator[_Chunk]:
    """Yield the chunks of a body. Raises: BodyEndedEarly: the connection broke before the end."""
    try:
        yield from chunks
    except AuditError:
        raise
    except Exception as error:
        raise BodyEndedEarly(f"the answer for '{printable(path)}' broke off ({type(error).__name__})") from error


_DIRECTORIES_AT_ONCE = 32


# Walking a store directory by directory, within limits, without trusting any name it returns.


@dataclass(frozen=True, slots=True)
class Child:
    path: str  # relative to the model's root
    is_directory: bool
    size: int | None = None
    change_token: str = ""


class Tally:
    """Counts what was listed, and stops a listing that does not end."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._files, self._directories, self._bytes = limits, 0, 0, 0

    def add(self, size: int | None) -> None:
        """Count a file. Raises: CouldNotVerify: a limit is exceeded."""
        self._files += 1
        self._bytes += size or 0
        if self._files > self._limits.max_files:
            raise CouldNotVerify(f"the model lists more than {self._limits.max_files} files (--max-files)")
        if self._bytes > self._limits.max_bytes:
            raise CouldNotVerify(f"the model lists more than {self._limits.max_bytes} bytes (--max-bytes)")

    def directory(self) -> None:
        """Count a directory that was listed, or an empty page of a listing.

        Raises: CouldNotVerify: the limit is exceeded.
        """
        self._directories += 1
        if self._directories > self._limits.max_directories:
            raise CouldNotVerify(
                f"the model lists more than {self._limits.max_directories} directories, those counted again that "
                "symlinks lead to (--max-directories)"
            )

    def depth(self, path: str) -> None:
        """Check the depth of a path. Raises: CouldNotVerify: the limit is exceeded."""
        if path.count("/") > self._limits.max_depth:
            raise CouldNotVerify(f"the model nests more than {self._limits.max_depth} directories (--max-depth)")


def only_root(children: Callable[[str], Iterable[Child]]) -> Listing:
    """List the entries directly under the root, for a store that lists one directory at a time."""
    tally, files = Tally(Limits()), list[ListedFile]()
    for child in children(""):
        if not child.is_directory and illegal_path(child.path) is None:
            tally.add(child.size)
            files.append(ListedFile(child.path, child.size, child.change_token))
    return make_listing(files)


def walk(
    children: Callable[[str], Iterable[Child]],
    limits: Limits,
    *,
    cannot_carry: Callable[[str], str | None],
    transfers: Transfers | None = None,
) -> Listing:
    """List a store that answers one directory at a time.

    Args:
        children: returns the direct children of a directory; "" is the root.
        cannot_carry: returns why this store cannot transport a name exactly, or None.
        transfers: threads to list several directories at once.
    """
    tally, waiting = Tally(limits), [""]
    files: list[ListedFile] = []
    unsafe: list[str] = []
    problems: list[Problem] = []
    while waiting:
        together, waiting = waiting[:_DIRECTORIES_AT_ONCE], waiting[_DIRECTORIES_AT_ONCE:]
        for _ in together:
            tally.directory()
        for directory, inside_it in _listed(children, together, transfers):
            for child in inside_it:
                tally.depth(child.path)
                prefix = directory + "/" if directory else ""
                direct = child.path.startswith(prefix) and "/" not in child.path[len(prefix) :]
                reason = illegal_path(child.path) or (None if direct else "is not inside the directory listed")
                if reason is not None:
                    unsafe.append(child.path)
                    problems.append(Problem("RA013", f"'{printable(child.path)}' {reason}", child.path))
                    tally.add(0)
                    continue
                reason = cannot_carry(child.path)
                if reason is not None:
                    tally.add(0)
                    problems.append(Problem("RA009", f"'{printable(child.path)}' {reason}", child.path))
                    unsafe.append(child.path)
                elif child.is_directory:
                    waiting.append(child.path)
                else:
                    tally.add(child.size)
                    files.append(ListedFile(child.path, child.size, child.change_token))
    return make_listing(files, unsafe=unsafe, problems=problems)


def _listed(
    children: Callable[[str], Iterable[Child]], directories: list[str], transfers: Transfers | None
) -> Iterator[tuple[str, list[Child]]]:
    """Yield directories with their children, in order: listed one by one, or all at once if `transfers` is given."""
    if transfers is None or len(directories) == 1:
        for directory in directories:
            yield directory, list(children(directory))
        return
    found: dict[str, list[Child]] = {}
    transfers.for_each(directories, lambda directory: found.update({directory: list(children(directory))}))
    for directory in directories:
        yield directory, found[directory]
