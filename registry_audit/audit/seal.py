"""Signs what an interrupted audit leaves for the one that goes on with it.

Whoever can write where it lies could otherwise put a reading there that nobody made. What does not hold is read again.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from registry_audit.home import home_directory

KEPT_FOR = timedelta(days=1)
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"  # UTC; sorts as text
KEY_FILE = "results.key"

_KEY_BYTES = 32
_CLOCKS_DIFFER = timedelta(minutes=5)


class Seal:
    """Signatures under one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, place: str, content: bytes) -> str:
        """The signature of a content at a place, in hexadecimal: it holds for no other content and no other place."""
        where = place.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, b"%d\n%b\n%b" % (len(where), where, content), hashlib.sha256).hexdigest()

    def holds(self, signature: str, place: str, content: bytes) -> bool:
        return signature.isascii() and hmac.compare_digest(signature, self.sign(place, content))


def own_seal() -> Seal | None:
    """Under the secret of this user, which is made when it is first asked for; None where it cannot be kept.

    A file that others may read or write is no secret any more, and is replaced: what it signed is read again.
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
    """Whole or not at all; of two processes that make one at the same time, the first is right."""
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
    """Whether it was within the last day, by a clock that is not too far from this one."""
    present = datetime.now(UTC)
    return (present - KEPT_FOR).strftime(TIME_FORMAT) <= at <= (present + _CLOCKS_DIFFER).strftime(TIME_FORMAT)


@cache
def code_digest(*packages: str) -> str:
    """Tells one state of the code of these packages, and of MLflow, from every other one; hex sha256.

    What other code has read may mean something else, whatever its version is called.
    """
    digest = hashlib.sha256(version("mlflow-skinny").encode())  # of mlflow's own version, where there is mlflow
    for package in sorted(packages):
        root = Path(str(import_module(package).__file__)).parent
        for file in sorted(root.rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{package}/{file.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()
