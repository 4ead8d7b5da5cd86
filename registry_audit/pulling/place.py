"""Makes a directory appear completely or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.model.manifest import ManifestEntry
from registry_audit.model.mlmodel import must_not_be_in_a_model

_MARK = ".registry-audit-pull-"
# Errors of network file systems and FUSE programs that cannot flush directories, or cannot flush on request.
_NOT_OFFERED = frozenset({errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_NAME_CHARACTERS = 100  # of the output's name, so that the scratch directory's name is not too long


class Place:
    """Holds downloads in a hidden directory that becomes the output with one rename, once every file is verified."""

    def __init__(self, output: Path, files: Path) -> None:
        self.output = output
        self.files = files  # a plain, empty directory on the output's file system

    def publish(self, entries: Iterable[ManifestEntry]) -> None:
        """Flush the files to the disk, and give their directory its final name with one rename.

        Args:
            entries: every file that must be there; the paths were checked to stay inside the directory.

        Raises:
            CouldNotVerify: other files are there, or the system refuses.
            UsageError: somebody has put something into the output meanwhile.
        """
        wanted = {entry.path: entry.size for entry in entries}
        try:
            if dict(_flushed(self.files)) != wanted:
                raise CouldNotVerify(f"{self.files} does not hold the files that were written to it")
            self.files.rename(self.output)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise UsageError(_why_not_replaced(self.output)) from error
            raise CouldNotVerify(f"the files cannot be kept in {self.output}: {error.strerror}") from error
        with contextlib.suppress(OSError):  # after a power failure the name may be lost, but half a model never appears
            _flush(self.output.parent)


@contextlib.contextmanager
def place_for(output: Path) -> Iterator[Place]:
    """Make a hidden scratch directory beside the output, and remove it at the end.

    Directories that killed processes left are removed first.

    Raises:
        UsageError: the output exists and is not empty, or cannot be made.
    """
    try:
        output = output.resolve()
        _must_be_free(output)
        must_not_be_in_a_model(output, str(output))
        made = [parent for parent in output.parents if not parent.exists()]
        output.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # ValueError: a NUL byte
        raise UsageError(f"{output} cannot be made: {getattr(error, 'strerror', error)}") from error
    prefix = f".{output.name[:_NAME_CHARACTERS]}{_MARK}"
    _remove_stale(output.parent, prefix)
    try:
        with _scratch(output.parent, prefix) as scratch:
            files = scratch / "model"  # inside a directory that only its owner may enter; its own mode is the usual one
            files.mkdir()
            yield Place(output, files)
    finally:
        with contextlib.suppress(OSError):  # directories with contents stay
            for parent in made:
                parent.rmdir()


def _must_be_free(output: Path) -> None:
    try:
        with os.scandir(output) as entries:
            if any(entries):
                raise UsageError(f"{output} is not empty: name an empty directory, or one that does not exist yet")
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UsageError(f"{output} is a file: name a directory") from error
    if output.samefile(os.curdir):
        raise UsageError(f"{output} is the current directory, which would be replaced: name a directory in it")
    if os.path.ismount(output):
        raise UsageError(f"{output} is a mount point, which cannot be replaced: name a directory in it")


@contextlib.contextmanager
def _scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a directory of this process alone, locked for as long as it is used."""
    while True:
        descriptor = None
        try:
            scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(scratch, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"{parent} cannot be written: {error.strerror}") from error
        if descriptor is None:  # another process took it for a stale one before it was locked
            continue
        _lock(descriptor, wait=True)
        if scratch.exists():
            break
        os.close(descriptor)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(descriptor)


def _remove_stale(parent: Path, prefix: str) -> None:
    """Remove directories that killed processes of this user left; a directory in use is locked."""
    try:
        with os.scandir(parent) as entries:
            found = [entry for entry in entries if entry.name.startswith(prefix)]
    except OSError:
        return
    for entry in found:
        with contextlib.suppress(OSError):
            if not entry.is_dir(follow_symlinks=False) or entry.stat().st_uid != os.geteuid():
                continue
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if _lock(descriptor, wait=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Say whether the lock was taken. The system releases it when the process ends, however it ends."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):  # held by another process, or a system without locks: then nothing counts as stale
        return False
    return True


def _flushed(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of every file after flushing it; directories are flushed too, the innermost first."""
    for here, _, names in os.walk(directory, topdown=False):
        for name in names:
            file = Path(here, name)
            yield file.relative_to(directory).as_posix(), _flush(file)
        _flush(Path(here))


def _flush(path: Path) -> int:
    """Flush a file or directory, and return its size. Symlinks are not followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _why_not_replaced(output: Path) -> str:
    with contextlib.suppress(OSError):
        if not any(output.iterdir()):
            return f"{output} is on a file system that does not replace an empty directory: name one that is not there"
    return f"{output} was filled by somebody else meanwhile"
