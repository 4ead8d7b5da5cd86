"""For `--quick`: which full readings the ledger remembers, found by a storage's identity and fingerprint."""

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from registry_audit.ledger.chain import TIME_FORMAT, Kind
from registry_audit.ledger.memory import Key, last_reading
from registry_audit.ledger.store import Ledger
from registry_audit.model.manifest import Manifest
from registry_audit.printable import storable

_KEPT_MANIFESTS = 4_000  # some tens of megabytes at the most of what models are


class TrustedReadings:
    """The newest reading of each version, as of now. Safe to share between threads: what it keeps can only be equal."""

    def __init__(self, ledger: Ledger, registry: str, full_every: int | None) -> None:
        """
        Args:
            full_every: days after which a full reading is no longer trusted; None trusts any.
        """
        self._ledger, self._registry = ledger, registry
        self._known: dict[bytes, tuple[str, str]] = {}  # -> digest of the manifest, when it was read in full
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        now = datetime.now(UTC)
        newest = now.strftime(TIME_FORMAT)
        oldest = "" if full_every is None else (now - timedelta(days=full_every)).strftime(TIME_FORMAT)
        with ledger.reading() as reader:
            for entry in reader.latest_of_versions(Kind.READING, registry):
                for identity, fingerprint, manifest, read_at in last_reading(entry).storages:
                    if oldest <= read_at <= newest:  # one from the future was dated by a clock that was wrong
                        self._known[_key(identity, fingerprint)] = manifest, sys.intern(read_at)

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Fetch with few questions what these versions will want."""
        wanted = [(storable(name), version) for name, version in keys]
        with self._ledger.reading() as reader:
            entries = reader.latest_of_versions(Kind.READING, self._registry, wanted)
            digests = {storage[2] for entry in entries for storage in last_reading(entry).storages}
            for digest, manifest in reader.manifests(digests - self._manifests.keys()).items():
                self._keep(digest, manifest)

    def __call__(self, identity: str, fingerprint: str) -> tuple[Manifest, str] | None:
        """The manifest of a storage with this fingerprint, and when it was last read in full (UTC)."""
        digest, read_at = self._known.get(_key(identity, fingerprint), (None, ""))
        if digest is None:
            return None
        manifest = self._manifests.get(digest)
        if manifest is None:
            with self._ledger.reading() as reader:
                manifest = reader.manifest(digest)
            self._keep(digest, manifest)
        return manifest, read_at

    def _keep(self, digest: str, manifest: Manifest) -> None:
        self._manifests[digest] = manifest
        while len(self._manifests) > _KEPT_MANIFESTS:
            self._manifests.popitem(last=False)


def _key(identity: str, fingerprint: str) -> bytes:
    text = f"{fingerprint}\n{identity}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()[:20]
