"""Describes the files that a store lists for a model, before a byte is read."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from registry_audit.printable import printable

_MAX_DIRECTORIES_ABOVE = 2_048  # of a path: as many as a file system can open
_MAX_NAME_CHARACTERS = 1_024  # of a file or directory: a whole key of an object store, four names of a file system


@dataclass(frozen=True, slots=True)
class ListedFile:
    """Describes one regular file of a model."""

    path: str  # relative to the model's root, POSIX separators on every platform so that copies compare
    size: int | None  # bytes; None if the store does not say
    change_token: str = ""  # changes when the content does (ETag, or inode and times); empty if the store has none


@dataclass(frozen=True, slots=True)
class Problem:
    """Describes something in a model that keeps it from being verified."""

    rule: str
    message: str
    path: str | None = None
    blocks: bool = True  # whether bytes stayed unread because of it, so that no verdict may pass
    remedy: str | None = None  # what to do, if that is more than the rule says


@dataclass(frozen=True, slots=True)
class Listing:
    files: tuple[ListedFile, ...]  # sorted by path, each path once
    empty_directories: tuple[str, ...] = ()  # sorted
    unsafe: tuple[str, ...] = ()  # sorted paths of entries that are not regular files of this model
    problems: tuple[Problem, ...] = ()
    settled: bool = True  # False while a file is so young that an overwrite could leave its times unchanged
    # Computed on first use:
    _fingerprint: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _unknown: list[frozenset[str]] = field(default_factory=list, init=False, repr=False, compare=False)

    def is_unknown(self, path: str) -> bool:
        """Say whether the path, or a directory that it lies in, could not be looked at.

        An unknown path is never a difference, and never missing.
        """
        if not self._unknown:
            self._unknown.append(frozenset(p.path for p in self.problems if p.rule == "RA009" and p.path is not None))
        unknown = self._unknown[0]
        return bool(unknown) and ("" in unknown or not unknown.isdisjoint(itself_and_above(path)))

    @property
    def bytes(self) -> int:
        return sum(file.size or 0 for file in self.files)

    @property
    def tells_changes(self) -> bool:
        """Say whether the fingerprint would show an overwrite that keeps the size."""
        return self.settled and all(file.change_token for file in self.files)

    def fingerprint(self) -> str:
        """Return a hex sha256 that is equal for equal listings: paths, sizes, change tokens and problems."""
        if not self._fingerprint:
            digest = hashlib.sha256()
            for file in self.files:
                digest.update(repr((file.path, file.size, file.change_token)).encode())
            digest.update(repr((self.empty_directories, self.unsafe, self.problems)).encode())
            self._fingerprint.append(digest.hexdigest())
        return self._fingerprint[0]


def make_listing(
    files: list[ListedFile],
    *,
    empty_directories: list[str] | None = None,
    unsafe: list[str] | None = None,
    problems: list[Problem] | None = None,
    settled: bool = True,
) -> Listing:
    """Sort the files, and turn names that cannot be trusted into problems."""
    found = list(problems or ())
    by_path: dict[str, ListedFile] = {}
    for file in files:
        # A proxy that decodes percent signs lists one file under another's name (docs/mlflow.md, trap 5).
        if file.path in by_path:
            found.append(Problem("RA009", f"'{printable(file.path)}' is listed twice", file.path))
        by_path[file.path] = file
    found += _collisions(by_path)
    found += _files_that_are_directories(by_path)
    return Listing(
        files=tuple(by_path[path] for path in sorted(by_path)),
        empty_directories=tuple(sorted(empty_directories or ())),
        unsafe=tuple(sorted(unsafe or ())),
        settled=settled,
        problems=tuple(sorted(found, key=lambda problem: (problem.rule, problem.path or "", problem.message))),
    )


def itself_and_above(path: str) -> Iterator[str]:
    """Yield the directories that the path lies in, at most 2,048 of them, outermost first, and then the path."""
    at = path.find("/")
    for _ in range(_MAX_DIRECTORIES_ABOVE):
        if at < 0:
            break
        yield path[:at]
        at = path.find("/", at + 1)
    yield path


def illegal_path(path: str) -> str | None:
    """Return why a relative path from a listing must not be used, or None."""
    if not path or path.startswith(("/", "\\")) or path[1:3] in (":\\", ":/"):
        return "is not a relative path"
    if "\0" in path:
        return "holds a NUL character"
    # Folding a name also takes time in the square of its length.
    if any(len(part) > _MAX_NAME_CHARACTERS for part in path.split("/")):
        return f"has a name of more than {_MAX_NAME_CHARACTERS} characters, which no store holds"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "leaves the model or is not in its shortest form"
    if any(part in ("..", ".") for part in path.replace("\\", "/").split("/")):
        return "leaves the model on a system that reads \\ as a separator"
    return None


def _collisions(paths: dict[str, ListedFile]) -> list[Problem]:
    """Find names that differ only by case or Unicode form: a file system that folds these hides one of them."""
    folded: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folded[path if path.isascii() and path.islower() else _fold(path)].append(path)
    return [
        Problem(
            "RA013",
            f"'{printable(group[0])}' and '{printable(other)}' differ only by case or Unicode form",
            other,
            blocks=False,
        )
        for group in (sorted(group) for group in folded.values() if len(group) > 1)
        for other in group[1:]
    ]


def _files_that_are_directories(paths: dict[str, ListedFile]) -> list[Problem]:
    """Find paths that are both file and directory (`data` and `data/x` in a bucket): MLflow cannot load them."""
    above = {path.rpartition("/")[0] for path in paths}
    for directory in list(above):
        above.update(itself_and_above(directory))
    return [
        Problem(
            "RA013", f"'{printable(path)}' is a file and a directory: no file system holds both", path, blocks=False
        )
        for path in sorted(above & paths.keys())
    ]


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


# The largest values that may be given. Anything above is a typing error, and much larger sums of times overflow.
MOST = 10**15
MOST_SECONDS = 10**9
MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Limits:
    """Sets inclusive upper bounds: the first four for a model, the fifth for a version, the others for the registry."""

    max_files: int = 200_000
    max_directories: int = 100_000  # as listed: a symlink to a directory lists all of that directory once more
    max_depth: int = 64  # directories between the root and a file
    max_bytes: int = 16 * 2**40
    max_version_seconds: int = 6 * 3600  # for all requests and reading of a version
    max_listing_seconds: int = 6 * 3600  # for the listing of the registry
    max_versions: int = 2_000_000  # versions that the registry lists
