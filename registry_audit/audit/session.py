"""Defines the session of an audit: the connection, caches and threads that its steps share in one process."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

from registry_audit.audit.copies import META_FILE, META_MAX_BYTES, ModelCopy, Reading
from registry_audit.audit.reading import read_all
from registry_audit.audit.shared_readings import ReadingCache
from registry_audit.audit.signatures import SIGNATURE, SignatureVerifier
from registry_audit.audit.turns import Turns
from registry_audit.errors import Stopped
from registry_audit.model.listing import Limits, ListedFile
from registry_audit.model.manifest import Manifest, new_hasher
from registry_audit.model.mlmodel import MLMODEL
from registry_audit.net import deadline
from registry_audit.net.deadline import Deadline
from registry_audit.net.throttle import Throttle
from registry_audit.net.transfers import Transfers
from registry_audit.registry.connection import Connection, Server, answers, connect
from registry_audit.registry.mounts import times_tell
from registry_audit.registry.queries import DownloadUris
from registry_audit.registry.runs import Runs
from registry_audit.registry.version import RegisteredVersion
from registry_audit.stores.base import Store

_ASKED_EVERY_SECONDS = 2.0


class Trusted(Protocol):
    """Finds earlier readings of storages that a quick audit may reuse."""

    def prefetch(self, keys: Iterable[tuple[str, str]]) -> None:
        """Fetch with few queries what these versions (name, number) will need."""
        ...

    def __call__(self, identity: str, fingerprint: str) -> tuple[Manifest, str] | None:
        """Return the manifest of a storage with this fingerprint, and when it was last read in full (UTC); or None."""
        ...


class NothingTrusted:
    """Trusts no earlier reading. Readings are trusted only in a quick audit."""

    def prefetch(self, keys: Iterable[tuple[str, str]]) -> None:
        return

    def __call__(self, identity: str, fingerprint: str) -> tuple[Manifest, str] | None:
        return None


class Session:
    """Holds one audit's connection, its knowledge about runs, and its readings. Safe to share between threads.

    `stop` ends its threads; `close`, or the end of its `with` statement, also closes its connections.
    """

    def __init__(
        self,
        server: Server,
        *,
        limits: Limits | None = None,
        algorithm: str = "sha256",
        work_directory: Path | None = None,
        only_list: bool = False,
        on_bytes: Callable[[int], None] = lambda count: None,
        signatures: SignatureVerifier | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        """
        Args:
            only_list: whether to use only listings, and read no byte.
            work_directory: where this audit's readings outlive the process, so that it can be resumed.
            signatures: verifies the signatures in models; None only reports them.
            on_bytes: called with each number of bytes read, from any thread.
            throttle: limits for requests to the servers; its `around` applies limits that processes share.
        """
        new_hasher(algorithm)  # reports a missing package before a server is asked
        self.connection: Connection = connect(server, Transfers(throttle))
        self.runs = Runs(self.connection)
        self.downloads = DownloadUris(self.connection)
        self.turns = Turns()
        self.readings = ReadingCache(work_directory, self.turns)
        self.limits = limits or Limits()
        self.algorithm = algorithm
        self.only_list = only_list
        self.trusted: Trusted = NothingTrusted()  # set for a quick audit
        self.signatures = signatures
        self._on_bytes = on_bytes
        self._stopping = threading.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prefetch(self, versions: Iterable[RegisteredVersion]) -> None:
        """Ask with few requests for everything that auditing these versions, some hundreds, will need."""
        listed = tuple(versions)
        keys = [(version.name, version.version) for version in listed]
        # A failure here only costs speed: the single requests then report what is wrong.
        with contextlib.suppress(Exception):
            self.runs.prefetch({version.run_id for version in listed if version.run_id})
        with contextlib.suppress(Exception):
            self.downloads.prefetch(keys)
        self.trusted.prefetch(keys)

    def threads(self, workers: int) -> ThreadPoolExecutor:
        """Return the threads for the steps of versions: `workers` of them, however many batches are running."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(workers, thread_name_prefix="audit")
            return self._threads

    def deadline(self) -> Deadline:
        """Return a new deadline for the steps of one version, starting now."""
        return Deadline(self.limits.max_version_seconds, "--max-version-seconds")

    def listing_deadline(self) -> Deadline:
        """Return a new deadline for listing the registry, starting now."""
        return Deadline(self.limits.max_listing_seconds, "--max-listing-seconds")

    def wait_for_server(self, seconds: float) -> bool:
        """Wait for the tracking server, at most so many seconds, and say whether it answers.

        Raises:
            Stopped: the audit is being stopped.
        """
        until = time.monotonic() + seconds
        while not answers(self.connection):
            if time.monotonic() > until:
                return False
            self._stopping.wait(_ASKED_EVERY_SECONDS)
            self.pulse(0)
        return True

    def stop(self) -> None:
        """Make every reading end at its next chunk, and every wait for a server end now."""
        self._stopping.set()
        self.connection.transfers.stop()
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False)  # a waiter for a cancelled call would not be told

    def close(self) -> None:
        """Stop, and close the kept connections: a process with many audits would keep those of every audit."""
        self.stop()
        self.connection.http.close()

    def pulse(self, count: int) -> None:
        """Report bytes that were read. Raises: Stopped: the audit is being stopped. OutOfTime."""
        if self._stopping.is_set():
            raise Stopped("the audit was stopped")
        deadline.check()
        self._on_bytes(count)


# `--quick`: if the fingerprint of a storage is that of its last full reading, the bytes are not read again.


def trusted_reading(session: Session, store: Store, copy: ModelCopy) -> Reading | None:
    """Return the last full reading of a copy, if it may be trusted; None if the bytes must be read.

    The result is `not_read`, never `unchanged`. Only the files that rules inspect are read again: the root MLmodel, a
    signature, and a `registered_model_meta` of the size that MLflow writes.
    """
    listing = copy.listing
    # A listing without ETags or times would look the same after an overwrite of the same size.
    if not listing.tells_changes or any(problem.blocks for problem in listing.problems):
        return None
    # Checks every directory that the files may be read from, even behind other stores.
    if not all(times_tell(storage.path) for storage in copy.location.storages if storage.is_directory):
        return None
    found = session.trusted(copy.identity.key, listing.fingerprint())
    if found is None:
        return None
    manifest, read_at = found
    if [(entry.path, entry.size) for entry in manifest.entries] != [(file.path, file.size) for file in listing.files]:
        return None
    fresh = Reading((), None)
    looked_into = tuple(file for file in listing.files if _is_looked_into(file))
    if looked_into:
        fresh = read_all(store, replace(listing, files=looked_into), session.algorithm, pulse=session.pulse)
        if fresh.problems or any(entry not in manifest.entries for entry in fresh.entries):
            return None
    return replace(fresh, entries=manifest.entries, trusted_since=read_at)


def _is_looked_into(file: ListedFile) -> bool:
    if file.path == META_FILE:
        return file.size is not None and file.size <= META_MAX_BYTES
    return file.path in (MLMODEL, SIGNATURE)
