"""What an audit has read, in a file of signed lines: an audit that goes on after an interruption reads only the rest.

Kept for a day, and only for the audit that read it: a reading says when it was made, and a line is taken up by the same
code in the same directory. The listing of the storage must still be what it was. An artifact proxy's listing would not
show an overwrite of the same size: there the time of the reading says what was not looked at again.
"""

import contextlib
import hashlib
import weakref
from pathlib import Path
from typing import BinaryIO

from registry_audit.audit.copies import Reading
from registry_audit.audit.rows import Codec
from registry_audit.audit.workdir import READINGS, Seal, code_digest, is_recent, own_seal
from registry_audit.errors import UsageError

Readings = tuple[Reading, ...]

_CODEC = Codec[Readings](Readings)
_LINE_PARTS = 3  # signature, digest of the key, readings


class KeptReadings:
    """One file in the audit's directory. Not safe to share between threads."""

    def __init__(self, directory: Path) -> None:
        """Raises: UsageError: the directory cannot be written."""
        self._lines: dict[str, int] = {}  # by the digest of the key: where its last line begins
        self._seal: Seal | None = own_seal()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._place = f"{directory.resolve()}\n{code_digest('registry_audit')}"
            path = directory / READINGS
            path.touch(mode=0o600)
            self._file: BinaryIO | None = path.open("r+b")
            # Closed with the last who holds this: an audit's callers may outlive it.
            weakref.finalize(self, self._file.close)
            self._index(self._file)
        except OSError as error:
            message = f"the audit's working directory {directory} is not writable: {error.strerror or error}"
            raise UsageError(message) from error

    def get(self, key: str) -> Readings | None:
        """What was read under this key, at most a day ago; None where nobody has, or where it does not hold."""
        digest = _digest(key)
        begin = self._lines.get(digest)
        if begin is None or self._file is None or self._seal is None:
            return None
        try:
            self._file.seek(begin)
            signature, _, text = self._file.readline().decode("ascii").rstrip("\n").split(" ", _LINE_PARTS - 1)
            if not self._seal.holds(signature, self._place_of(digest), text.encode("ascii")):
                return None
            readings = _CODEC.decode(text)
        except (OSError, ValueError):
            return None
        return readings if all(is_recent(reading.read_at or "") for reading in readings) else None

    def put(self, key: str, readings: Readings) -> None:
        """Flushed with every line: a killed process loses at most the one it is writing.

        A disk that is full costs the resumption, not the audit.
        """
        if self._file is None or self._seal is None:
            return
        digest, text = _digest(key), _CODEC.encode(readings)
        signature = self._seal.sign(self._place_of(digest), text.encode("ascii"))
        try:
            begin = self._file.seek(0, 2)
            self._file.write(f"{signature} {digest} {text}\n".encode("ascii"))
            self._file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        else:
            self._lines[digest] = begin

    def _place_of(self, digest: str) -> str:
        return f"{self._place}\n{digest}"

    def _index(self, file: BinaryIO) -> None:
        """Where each line begins; what it says is looked at when it is asked for."""
        begin, line = 0, b"\n"
        for line in file:
            parts = line.split(b" ", _LINE_PARTS - 1)
            if len(parts) == _LINE_PARTS and line.endswith(b"\n"):
                self._lines[parts[1].decode("latin-1")] = begin
            begin += len(line)
        if not line.endswith(b"\n"):  # so that it does not swallow the next line
            file.write(b"\n")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
