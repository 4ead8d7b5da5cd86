"""Reads a model in a directory of this machine in place: nothing is copied, nothing is written."""

import errno
import io
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from registry_audit.errors import CouldNotVerify
from registry_audit.model.listing import Limits, ListedFile, Listing, Problem, make_listing
from registry_audit.net.transfers import Where
from registry_audit.printable import printable
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import CHUNK_BYTES, Chunks, NotSeen, Tally, Unreadable


class LocalStore:
    """Reads a directory. Symlinks are followed only while they stay inside it; special files are never opened."""

    def __init__(self, directory: Path, places: Callable[[], Iterable[str]] = tuple) -> None:
        """
        Args:
            directory: symlinks on the way to it are followed, once, when the store is made.
            places: returns the directories that the registry records for its run and its experiment; called if it is
                missing.
        """
        self.identity = StorageIdentity.of_directory(directory)
        self._root = self.identity.path
        self.directory: Path | None = Path(self._root)
        self._places = places

    def listing(self, limits: Limits) -> Listing:
        return _Walk(self._root, limits).listing() if self._is_directory() else make_listing([])

    def root_listing(self) -> Listing:
        if not self._is_directory():
            return make_listing([])
        tally, found = Tally(Limits()), list[tuple[str, os.stat_result]]()
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    if entry.is_file():
                        tally.add(0)
                        found.append((entry.name, entry.stat()))
        except OSError as error:
            raise CouldNotVerify(f"{printable(self._root)} cannot be listed: {error.strerror}") from error
        return make_listing([ListedFile(name, status.st_size, _marker(status)) for name, status in found])

    def _is_directory(self) -> bool:
        """Say whether the root is a directory. Raises: NotSeen: it may be on another machine. CouldNotVerify."""
        root = self._root
        try:
            root_status = os.stat(root)  # noqa: PTH116 - one call, where Path makes several
        except (FileNotFoundError, NotADirectoryError):
            if not is_place_seen(root, self._places):
                raise NotSeen(
                    f"{printable(root)} is not on this machine, nor is the directory of its run or experiment: "
                    "run the audit where the artifact store is mounted"
                ) from None
            return False
        except OSError as error:
            raise CouldNotVerify(f"{printable(root)} cannot be read: {error.strerror}") from error
        return stat.S_ISDIR(root_status.st_mode)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        """See `Store`. Before and after reading, the file is checked to be the one that was listed."""
        path = os.path.join(self._root, file.path)  # noqa: PTH118
        try:
            descriptor = os.open(path, _READ)
        except OSError as error:
            raise _cannot_open(error, file.path) from error
        try:
            _must_be(file, descriptor, "changed between listing and reading")
            yield from _chunks(file, descriptor, where)
            _must_be(file, descriptor, "changed while it was read")
        finally:
            os.close(descriptor)


# Non-blocking: a FIFO put in the file's place must not hang the audit.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def _chunks(file: ListedFile, descriptor: int, where: Where | None) -> Chunks:
    """Read to the current end of the file, which may differ from its listed size. Raises: CouldNotVerify."""
    left = file.size or 0
    into = io.FileIO(descriptor, closefd=False).readinto if where is not None else None
    while True:
        # Ask for one byte more than is left: a shorter reading shows the end without another call.
        wanted = min(CHUNK_BYTES, max(left, 0) + 1)
        chunk: bytes | memoryview
        try:
            if where is None or into is None:
                chunk = os.read(descriptor, wanted)
            else:
                piece = where()[:wanted]
                wanted, chunk = len(piece), piece[: into(piece) or 0]
        except OSError as error:
            raise CouldNotVerify(f"'{printable(file.path)}' cannot be read: {error.strerror}") from error
        left -= len(chunk)
        if chunk:
            yield chunk
        if not chunk or (left == 0 and len(chunk) < wanted):
            return


class _Walk:
    def __init__(self, root: str, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._tally = Tally(limits)
        # A clock that ticks every 10 ms gives two writes within one tick the same change time.
        self._young_ns = time.time_ns() - _YOUNG_NS
        self._settled = True
        self._files: list[ListedFile] = []
        self._empty: list[str] = []
        self._unsafe: list[str] = []
        self._problems: list[Problem] = []
        self._waiting: list[_Directory] = []

    def listing(self) -> Listing:
        self._later(self._root, "", (self._root,))
        while self._waiting:
            self._directory(*self._waiting.pop())
        return make_listing(
            self._files,
            empty_directories=self._empty,
            unsafe=self._unsafe,
            problems=self._problems,
            settled=self._settled,
        )

    def _later(self, directory: str, prefix: str, ancestors: tuple[str, ...]) -> None:
        """Queue a directory. It is counted before it is listed: symlinks can turn a few directories into any number."""
        self._tally.directory()
        self._tally.depth(prefix)
        self._waiting.append((directory, prefix, ancestors))

    def _directory(self, directory: str, prefix: str, ancestors: tuple[str, ...]) -> None:
        try:
            with os.scandir(directory) as entries:
                found = list(islice(entries, self._limits.max_files + self._limits.max_directories + 1))
        except OSError as error:
            self._refuse(prefix.rstrip("/"), "RA009", f"cannot be listed: {error.strerror}")
            return
        if not found and prefix:
            self._empty.append(prefix.rstrip("/"))
        for entry in found:
            self._entry(entry, prefix + entry.name, ancestors)

    def _entry(self, entry: os.DirEntry[str], path: str, ancestors: tuple[str, ...]) -> None:
        if entry.is_symlink():
            self._symlink(entry.path, path, ancestors)
        elif entry.is_dir(follow_symlinks=False):
            self._later(entry.path, path + "/", (*ancestors, entry.path))
        else:
            try:
                self._file(entry.stat(follow_symlinks=False), path)
            except OSError as error:
                self._refuse(path, "RA009", f"cannot be looked at: {error.strerror}")

    def _symlink(self, absolute: str, path: str, ancestors: tuple[str, ...]) -> None:
        try:
            target = os.path.realpath(absolute, strict=True)
            status = os.stat(target)  # noqa: PTH116
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                loops = error.errno == errno.ELOOP
                self._refuse(path, "RA013", "is a symlink " + ("to itself" if loops else "to nothing"))
            else:
                self._refuse(path, "RA009", f"is a symlink that cannot be followed: {error.strerror}")
            return
        if target != self._root and not target.startswith(self._root + os.sep):
            self._refuse(path, "RA013", "is a symlink that leaves the model")
        elif not stat.S_ISDIR(status.st_mode):
            self._file(status, path)
        elif any(ancestor == target or ancestor.startswith(target + os.sep) for ancestor in ancestors):
            self._refuse(path, "RA013", "is a symlink to a directory that holds it")
        else:
            self._later(target, path + "/", (*ancestors, target))

    def _file(self, status: os.stat_result, path: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            self._refuse(path, "RA013", f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no regular file')}")
            return
        self._tally.add(status.st_size)
        self._settled &= status.st_ctime_ns < self._young_ns
        self._files.append(ListedFile(path, status.st_size, _marker(status)))

    def _refuse(self, path: str, rule: str, why: str) -> None:
        self._tally.add(0)
        self._unsafe.append(path)
        self._problems.append(Problem(rule, f"'{printable(path) or '.'}' {why}", path))


_Directory = tuple[str, str, tuple[str, ...]]  # its path, its path in the model with a slash, directories around it

_YOUNG_NS = 100_000_000

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _marker(status: os.stat_result) -> str:
    """Join device, inode, modification and change time: whoever overwrites the bytes cannot set back the last one."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def inode(file: ListedFile) -> str:
    """Return inode and both times of a local file: equal under every name (a hard link) and in every mount.

    The device is left out: it differs if a file system is mounted twice, or below an overlay. Two different files with
    the same values would have been written in the same nanosecond.
    """
    return file.change_token.partition(":")[2]


def same_file(first: ListedFile, second: ListedFile) -> bool:
    """Say whether two local files are one file under two names, which is no second copy."""
    return bool(first.change_token) and inode(first) == inode(second)


def _must_be(file: ListedFile, descriptor: int, otherwise: str) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != file.size or _marker(status) != file.change_token:
        raise Unreadable("RA008", f"'{printable(file.path)}' {otherwise}", file.path)


def _cannot_open(error: OSError, path: str) -> Unreadable:
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENOTDIR, errno.ELOOP):
        return Unreadable("RA008", f"'{printable(path)}' changed between listing and reading", path)
    return Unreadable("RA009", f"'{printable(path)}' cannot be read: {error.strerror}", path)


_ID = re.compile(r"(m-)?[0-9a-f]{32}")


def is_place_seen(root: str, places: Callable[[], Iterable[str]]) -> bool:
    """Say whether a missing directory is certainly gone, because the place that it belongs to is there.

    That place is the directory of its run or experiment, as the registry records it or as the ids in its path show.
    Else it is the directory that held it, unless that one and the one around it hold nothing else: then they may be an
    unmounted file system. `/` and the directories directly in it exist on every machine.
    """
    parents = [parent for parent in Path(root).parents if len(parent.parts) > 2]
    for parent in parents:
        if _ID.fullmatch(parent.name) and (parent.is_dir() or parent.parent.is_dir()) and parent.parent in parents:
            return True
        # A LoggedModel is kept in EXPERIMENT/models/m-ID/artifacts.
        if parent.name == "models" and parent.parent in parents and parent.parent.is_dir() and _ID.search(root):
            return True
    if parents and parents[0].is_dir():
        beside = len(parents) > 1 and _holds_anything(parents[1], besides=parents[0].name)
        if beside or _holds_anything(parents[0]):
            return True
    recorded = (Path(place) for place in places())
    return any(place.is_dir() for place in recorded if place in Path(root).parents or place == Path(root))


def _holds_anything(directory: Path, besides: str = "") -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.name != besides for entry in entries)
    except OSError:
        return False
