"""The identity of a model's bytes: a sorted list of (path, size, digest), with a digest of its own.

Laws, tested as properties: `parse_manifest(manifest.text()) == manifest` for any legal path; two manifests
have one digest exactly when they are equal.
"""

import json
from dataclasses import dataclass

from registry_audit.errors import AuditError
from registry_audit.model.digest import digest_text, new_hasher


@dataclass(frozen=True, slots=True, order=True)
class ManifestEntry:
    path: str
    size: int  # bytes read, not the size listed
    digest: str  # "algorithm:hex"


@dataclass(frozen=True, slots=True)
class Manifest:
    entries: tuple[ManifestEntry, ...]  # sorted by path
    algorithm: str = "sha256"

    def text(self) -> str:
        """One line a file: digest, size, and the path as a JSON string, so that no path can end a line early."""
        return "".join(f"{entry.digest} {entry.size} {json.dumps(entry.path)}\n" for entry in self.entries)

    def digest(self) -> str:
        hasher = new_hasher(self.algorithm)
        hasher.update(self.text().encode("ascii"))
        return digest_text(self.algorithm, hasher)


def manifest_of(entries: tuple[ManifestEntry, ...]) -> Manifest:
    """The manifest of files that were all digested with one algorithm; sorted by path already."""
    return Manifest(entries, entries[0].digest.partition(":")[0]) if entries else Manifest(())


def parse_manifest(text: str, algorithm: str = "sha256") -> Manifest:
    """The reverse of `Manifest.text`.

    Raises:
        AuditError: a line is not one of a manifest.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            digest, size, quoted = line.split(" ", 2)
            path = json.loads(quoted)
            if not isinstance(path, str):
                raise TypeError("a path is a text")
            entries.append(ManifestEntry(path, int(size), digest))
        except (ValueError, TypeError, RecursionError) as error:
            raise AuditError(f"line {number} of the manifest is not 'digest size \"path\"'") from error
    return Manifest(tuple(entries), algorithm)
