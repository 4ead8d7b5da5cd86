"""Manages the work directory of one audit, where its readings outlive the process, and the seal that signs them."""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO

from registry_audit.errors import UsageError
from registry_audit.home import home_directory
from registry_audit.printable import printable

# The seal signs what an interrupted audit leaves for its continuation. Otherwise anybody who can write to the directory
# could put a reading there that nobody made. If a signature does not hold, the bytes are read again.

KEPT_FOR = timedelta(days=1)
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"  # UTC; sorts as text
KEY_FILE = "results.key"

_KEY_BYTES = 32
_CLOCKS_DIFFER = timedelta(minutes=5)


class Seal:
    """Signs and verifies with one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, place: str, content: bytes) -> str:
        """Return the hexadecimal signature of a content at a place: it holds for no other content or place."""
        where = place.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, b"%d\n%b\n%b" % (len(where), where, content), hashlib.sha256).hexdigest()

    def holds(self, signature: str, place: str, content: bytes) -> bool:
        return signature.isascii() and hmac.compare_digest(signature, self.sign(place, content))


def own_seal() -> Seal | None:
    """Return the seal with this user's secret key, which is created on first use; None if the key cannot be stored.

    A key file that others may read or write is replaced. Everything that the old key signed is then read again.
    """
    file = home_directory() / KEY_FILE
    with contextlib.suppress(OSError):
        key = _secret(file)
        if key is None:
            _make(file)
            key = _secret(file)
        return Seal(key) if key else None
    return None


def _secret(file: Path) -> bytes | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(opened.fileno())
        key = opened.read(_KEY_BYTES + 1)
    is_ours = os.name == "nt" or (found.st_uid == os.getuid() and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    if stat.S_ISREG(found.st_mode) and is_ours and len(key) == _KEY_BYTES:
        return key
    file.unlink()
    return None


def _make(file: Path) -> None:
    """Create the key file atomically. If two processes create it at the same time, the first one wins."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()


def now() -> str:
    return datetime.now(UTC).strftime(TIME_FORMAT)


def is_recent(at: str) -> bool:
    """Say whether a time was within the last day, with some tolerance for another machine's clock."""
    present = datetime.now(UTC)
    return (present - KEPT_FOR).strftime(TIME_FORMAT) <= at <= (present + _CLOCKS_DIFFER).strftime(TIME_FORMAT)


@cache
def code_digest(*packages: str) -> str:
    """Return a hex sha256 that identifies the code of these packages and of MLflow.

    Readings of other code are not reused, even if its version number is the same: they may mean something else.
    """
    digest = hashlib.sha256(version("mlflow-skinny").encode())  # has the version of mlflow itself, if that is installed
    for package in sorted(packages):
        root = Path(str(import_module(package).__file__)).parent
        for file in sorted(root.rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{package}/{file.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


READINGS = "readings.jsonl"
LEASE_FILE, RUN_FILE = "prefect-lease", "prefect-run"  # written by a flow run
_LOCK, _REGISTRY = "running", "registry"
_FILES = re.compile(rf"{_REGISTRY}(\.\d+)?|{READINGS}|{LEASE_FILE}|{RUN_FILE}")
# Readings of one registry of a comparison, or of an audit that ended before and began again.
_DIRECTORIES = re.compile(r"source|target|\d{8}T\d{12}|[0-9a-f]{16}")
_READINGS_BEGIN = re.compile(rb"\n?([0-9a-f]{64} [0-9a-f]{64} |$)")
_BEGIN_BYTES = 200
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # neither follow a symlink nor wait for a pipe
_MAX_ID_CHARACTERS = 100
_held: set[Path] = set()  # held by this process: a flow that runs in it is part of the command that started it


class WorkDirectory:
    """Manages a directory named by the audit's id, so that the same id finds the readings of an interrupted audit.

    Only an audit that could answer everything removes it. An audit that cannot go on, or is incomplete, leaves
    everything in place for a day.
    """

    def __init__(self, audit_id: str | None) -> None:
        """
        Args:
            audit_id: id of the audit to resume, or to start under that id; None makes a new one.

        Raises:
            UsageError: the id is no plain name.
        """
        self.audit_id = audit_id or uuid.uuid4().hex[:12]
        plain = all(char.isascii() and (char.isalnum() or char in "-_") for char in self.audit_id)
        if not plain or len(self.audit_id) > _MAX_ID_CHARACTERS:
            raise UsageError(f"an audit id has up to {_MAX_ID_CHARACTERS} letters, digits, - and _")
        self.path = cache_directory() / "audits" / self.audit_id
        self._is_resumed = os.path.exists(self.path)  # noqa: PTH110 - never raises

    @contextlib.contextmanager
    def held(self, registry: str) -> Iterator[None]:
        """Hold the lock of this audit, so that no other process resumes it meanwhile.

        Args:
            registry: identity of the audited address.

        Raises:
            UsageError: the audit of this id is running, or is of another registry, or the directory cannot be made, or
                is not an audit's.
        """
        if self.path in _held:
            yield
            return
        self._must_be_of(registry)
        try:
            self.must_be_own()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _opened_lock(self.path)
        except OSError as error:
            message = (
                f"the audit's working directory {self.path} is not writable: {error.strerror or error}. Set "
                "REGISTRY_AUDIT_CACHE_DIR to a directory that is"
            )
            raise UsageError(message) from error
        with lock:
            if not _locked(lock.fileno()):
                raise UsageError(
                    f"the audit {self.audit_id} is running in another process: wait for its end, or give another "
                    "--audit-id. Nothing was changed"
                )
            _held.add(self.path)
            try:
                self._sweep_others()
                yield
            finally:
                _held.discard(self.path)

    def must_be_own(self) -> None:
        """Check that the directory is missing, empty or an audit's. Raises: UsageError: it is somebody else's."""
        if os.path.lexists(self.path) and not _is_audits(self.path) and not _is_empty(self.path):
            raise UsageError(f"{self.path} was not made by an audit: give another --audit-id. Nothing was changed")

    def belongs_to(self, registry: str) -> None:
        """Note which registry was listed, so that the audit cannot be resumed with the address of another."""
        file = self.path / _REGISTRY
        draft = file.with_name(f"{_REGISTRY}.{os.getpid()}")
        with contextlib.suppress(OSError):  # it only protects from a mistake
            # Written atomically: half a name, after a full disk or a killed process, would be read as another registry.
            draft.write_text(registry, encoding="utf-8", errors="surrogatepass")
            draft.replace(file)

    @property
    def has_readings(self) -> bool:
        """Say whether anything was read: of one registry, or of either of the two that are compared."""
        with contextlib.suppress(OSError):
            return any(readings.stat().st_size > 0 for readings in self.path.rglob(READINGS))
        return False

    def leave(self) -> None:
        """Keep the directory of an interrupted audit, unless the audit is new and has read nothing."""
        if not self._is_resumed and not self.has_readings:
            self.remove()

    def remove(self) -> None:
        _remove_own(self.path)

    def _sweep_others(self) -> None:
        """Remove the directories of other audits that are too old to be resumed."""
        oldest = time.time() - KEPT_FOR.total_seconds()
        with contextlib.suppress(OSError):
            for other in self.path.parent.iterdir():
                with contextlib.suppress(OSError):  # one unreadable entry must not keep the others
                    if other != self.path and _is_audits(other) and _last_written(other) < oldest:
                        _remove_unless_held(other)

    def _must_be_of(self, registry: str) -> None:
        file = self.path / _REGISTRY
        try:
            if not file.is_file():  # reading a named pipe would hang
                return
            other = file.read_text(encoding="utf-8", errors="surrogatepass")
        except OSError:
            return
        except ValueError as error:
            raise UsageError(
                f"the audit {self.audit_id} does not say which registry it is of: give another id"
            ) from error
        if other != registry:
            raise UsageError(
                f"the audit {self.audit_id} is of the registry {printable(other)}, and {printable(registry)} is "
                "another address: resume it with the address it was started with. Nothing was changed"
            )


def cache_directory() -> Path:
    """Return `REGISTRY_AUDIT_CACHE_DIR`, or the platform's user cache directory if it is not set."""
    chosen = os.environ.get("REGISTRY_AUDIT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("registry-audit")


def _opened_lock(directory: Path) -> IO[str]:
    """Open the lock file. Raises: OSError: it cannot be opened, or is a named pipe, on which others would hang."""

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | _AS_IT_IS, 0o600)

    return open(directory / _LOCK, "a", encoding="ascii", opener=opener)


def _last_written(directory: Path) -> float:
    return max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))


def _remove_unless_held(directory: Path) -> None:
    with _opened_lock(directory) as lock:
        if _locked(lock.fileno()):
            _remove_own(directory)


def _remove_own(directory: Path) -> None:
    """Remove what audits write there, and then the directory. It stays if it holds anything else."""
    if directory.is_symlink():
        return
    with contextlib.suppress(OSError):
        for entry in list(directory.iterdir()):
            with contextlib.suppress(OSError):
                if _FILES.fullmatch(entry.name):
                    entry.unlink()
                elif _DIRECTORIES.fullmatch(entry.name) and not entry.is_symlink():
                    (entry / READINGS).unlink(missing_ok=True)
                    entry.rmdir()
        if _is_plain_file(directory / _LOCK):
            (directory / _LOCK).unlink()
        directory.rmdir()


def _is_audits(directory: Path) -> bool:
    """Say whether an audit made the directory. Raises: OSError: it cannot be read."""
    if directory.is_symlink() or not directory.is_dir():
        return False
    if _is_plain_file(lock := directory / _LOCK):
        return lock.stat().st_size == 0
    if _is_empty(directory):  # left by an audit that was killed before it took the lock
        return directory.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) == 0
    # A worker on another machine takes no lock, and makes nothing but readings.
    return all(_holds_only_readings(entry) for entry in directory.iterdir())


def _holds_only_readings(entry: Path) -> bool:
    if _DIRECTORIES.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
        return all(inner.name == READINGS and _are_readings(inner) for inner in entry.iterdir())
    return entry.name == READINGS and _are_readings(entry)


def _are_readings(file: Path) -> bool:
    with os.fdopen(os.open(file, os.O_RDONLY | _AS_IT_IS), "rb") as opened:
        is_file = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
        return is_file and _READINGS_BEGIN.match(opened.read(_BEGIN_BYTES)) is not None


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir())


def _locked(descriptor: int) -> bool:
    """Take the lock, and say whether it was free. The system releases it when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
