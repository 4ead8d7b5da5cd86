"""What the steps of one audit share in one process."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from registry_audit.audit.readings import ReadingCache
from registry_audit.errors import Stopped
from registry_audit.model.limits import Limits
from registry_audit.model.manifest import Manifest
from registry_audit.registry.connection import Connection, Server, connect
from registry_audit.registry.downloads import DownloadUris
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.runs import Runs
from registry_audit.registry.transfers import Transfers
from registry_audit.registry.versions import RegisteredVersion

# Identity and fingerprint of a storage to its manifest and when it was last read in full, if that may be trusted.
Trusted = Callable[[str, str], tuple[Manifest, str] | None]


class Session:
    """One audit's connection, what it knows of runs, and what it has read. Safe to share between threads."""

    def __init__(
        self,
        server: Server,
        *,
        limits: Limits | None = None,
        algorithm: str = "sha256",
        work_directory: Path | None = None,
        on_bytes: Callable[[int], None] = lambda count: None,
        politeness: Politeness | None = None,
    ) -> None:
        """
        Args:
            work_directory: where this audit's readings outlive the process, so that it can be resumed.
            on_bytes: told of every so many bytes read, from any thread.
            politeness: bounds on what is asked of the servers; its `around` keeps to those that processes share.
        """
        self.connection: Connection = connect(server, Transfers(politeness))
        self.runs = Runs(self.connection)
        self.downloads = DownloadUris(self.connection)
        self.readings = ReadingCache(work_directory)
        self.limits = limits or Limits()
        self.algorithm = algorithm
        self.trusted: Trusted = lambda identity, fingerprint: None  # set for a quick audit
        self._on_bytes = on_bytes
        self._stopping = threading.Event()

    def prefetch(self, versions: Iterable[RegisteredVersion]) -> None:
        """Ask with few requests what resolving these versions will want to know."""
        listed = tuple(versions)
        self.runs.prefetch({version.run_id for version in listed if version.run_id})
        self.downloads.prefetch((version.name, version.version) for version in listed)

    def stop(self) -> None:
        """Make every reading end at its next chunk, and whatever waits for a server end now."""
        self._stopping.set()
        self.connection.transfers.stop()

    def pulse(self, count: int) -> None:
        """Raises: Stopped: the audit is being stopped."""
        if self._stopping.is_set():
            raise Stopped("the audit was stopped")
        self._on_bytes(count)
