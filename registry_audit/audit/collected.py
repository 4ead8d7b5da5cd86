"""What is gathered while one copy is read: by several threads, in any order."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import ClassVar

from registry_audit.audit import signatures
from registry_audit.audit.copies import Reading
from registry_audit.audit.registered_model_meta import META_FILE, META_MAX_BYTES
from registry_audit.audit.seal import now
from registry_audit.errors import CouldNotVerify, Transient, UsageError
from registry_audit.model.digest import Hasher, digest_text
from registry_audit.model.listing import ListedFile, Problem
from registry_audit.model.manifest import ManifestEntry
from registry_audit.model.mlmodel import MAX_BYTES, MLMODEL
from registry_audit.printable import printable
from registry_audit.stores.base import Unreadable

Pulse = Callable[[int], None]  # told of every so many bytes read; may raise to stop the reading


class Collected:
    """Of one copy."""

    def __init__(self, algorithm: str, pulse: Pulse) -> None:
        self.algorithm, self.pulse = algorithm, pulse
        self._entries: list[ManifestEntry] = []
        self._problems: list[Problem] = []
        self._kept: dict[str, bytes] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._is_retryable = False
        self._began_at = now()

    def add(self, file: ListedFile, size: int, hasher: Hasher, content: bytes | None) -> None:
        """A file that was read to its end; `content` where that is looked into later."""
        with self._lock:
            self._bytes += size
        if file.size is not None and size != file.size:
            message = f"'{printable(file.path)}' is listed with {file.size} bytes, {size} were read"
            self._problems.append(Problem("RA008", message, file.path))
            return
        self._entries.append(ManifestEntry(file.path, size, digest_text(self.algorithm, hasher)))
        if content is not None:
            self._kept[file.path] = content

    @contextlib.contextmanager
    def problems_of(self, file: ListedFile) -> Iterator[None]:
        """Why it could not be read becomes a problem of the copy."""
        try:
            yield
        except Unreadable as error:
            self._problems.append(error.problem())
        # UsageError: a store that no longer has what it listed, or now asks for other credentials.
        except (CouldNotVerify, UsageError) as error:
            self._is_retryable |= isinstance(error, Transient)
            self._problems.append(Problem("RA009", error.message, file.path))

    def reading(self) -> Reading:
        return Reading(
            entries=tuple(sorted(self._entries)),
            mlmodel=self._kept.get(MLMODEL),
            # Files end in any order.
            problems=tuple(sorted(self._problems, key=lambda problem: problem.path or "")),
            files_read=len(self._entries),
            bytes_read=self._bytes,
            signature=self._kept.get(signatures.SIGNATURE),
            meta=self._kept.get(META_FILE),
            retryable=self._is_retryable,
            read_at=self._began_at,
        )


class Kept:
    """The content of the root MLmodel, of a signature and of MLflow's own mark beside it, kept while it passes."""

    _LIMITS: ClassVar[dict[str, int]] = {
        MLMODEL: MAX_BYTES,
        signatures.SIGNATURE: signatures.MAX_BYTES,
        META_FILE: META_MAX_BYTES,
    }

    def __init__(self, file: ListedFile) -> None:
        self._chunks: list[bytes] | None = [] if file.path in self._LIMITS else None
        self._room = self._LIMITS.get(file.path, 0) + 1

    def add(self, chunk: bytes | memoryview) -> None:
        if self._chunks is not None and self._room > 0:
            self._chunks.append(bytes(chunk[: self._room]))
            self._room -= len(chunk)

    def content(self) -> bytes | None:
        return None if self._chunks is None else b"".join(self._chunks)
