"""`--quick`: where the fingerprint of a storage is the one of its last full reading, that reading stands for its bytes.

The result is `not_read`, never `unchanged`. Only what rules look into is read again: the root MLmodel, a signature, and
a `registered_model_meta` of the size that MLflow writes.
"""

from dataclasses import replace

from registry_audit.audit.copies import META_FILE, META_MAX_BYTES, ModelCopy, Reading
from registry_audit.audit.reading import read_all
from registry_audit.audit.session import Session
from registry_audit.audit.signatures import SIGNATURE
from registry_audit.model.listing import ListedFile
from registry_audit.model.mlmodel import MLMODEL
from registry_audit.registry.mounts import times_tell
from registry_audit.stores.base import Store


def trusted_reading(session: Session, store: Store, copy: ModelCopy) -> Reading | None:
    """The last full reading of a copy, if it may be trusted; None if the bytes must be read."""
    listing = copy.listing
    # A listing without ETags or times would look the same after an overwrite of the same size.
    if not listing.tells_changes or any(problem.blocks for problem in listing.problems):
        return None
    # Every directory that it may be read from, whichever stores stand before it.
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
