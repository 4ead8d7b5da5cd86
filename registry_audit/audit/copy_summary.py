"""What an audit keeps of a copy once the version is judged: all that a report or the ledger says of it, and no more."""

from dataclasses import dataclass, replace

from registry_audit.audit.copies import ModelCopy
from registry_audit.audit.registered_model_meta import is_written_by_mlflow
from registry_audit.model.manifest import Manifest


@dataclass(frozen=True, slots=True)
class CopySummary:
    uri: str  # as the registry records it
    roots: tuple[str, ...]
    identity: str  # the key of the storage that holds it
    file_count: int  # listed
    listed_bytes: int
    fingerprint: str | None  # of the listing, where an overwrite of the same size would show in it
    manifest: Manifest | None  # None where not every listed file was read
    manifest_digest: str | None
    was_read: bool
    files_read: int
    bytes_read: int
    trusted_since: str | None  # UTC; not read now: its fingerprint is that of a full reading at this time
    directory: str | None  # where its files are on this machine
    read_at: str | None = None  # UTC; when the reading began; None where no byte was read, or the bytes are trusted
    meta_is_mlflows: bool = False  # its registered_model_meta was read, and says exactly what MLflow writes


def summary_of(copy: ModelCopy) -> CopySummary:
    listing, reading, manifest = copy.listing, copy.reading, copy.manifest
    return CopySummary(
        uri=copy.location.uri,
        roots=copy.location.roots,
        identity=copy.identity.key,
        file_count=len(listing.files),
        listed_bytes=listing.bytes,
        fingerprint=listing.fingerprint() if listing.tells_changes else None,
        manifest=manifest,
        manifest_digest=manifest.digest() if manifest else None,
        was_read=reading is not None,
        files_read=reading.files_read if reading else 0,
        bytes_read=reading.bytes_read if reading else 0,
        read_at=reading.read_at if reading and not reading.trusted_since else None,
        trusted_since=reading.trusted_since if reading else None,
        directory=copy.directory,
        meta_is_mlflows=reading is not None and is_written_by_mlflow(reading.meta, reading.mlmodel),
    )


def same_under_another_name(summary: CopySummary, copy: ModelCopy) -> CopySummary:
    """The summary of a copy that is the very reading already summed up."""
    return replace(summary, uri=copy.location.uri, roots=copy.location.roots)
