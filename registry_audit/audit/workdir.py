"""Where the readings of one audit outlive its process."""

import os
import shutil
import uuid
from pathlib import Path

from registry_audit.errors import UsageError

_MAX_ID_CHARACTERS = 100


class WorkDirectory:
    """Named by the audit's id, so that the same id finds what an interrupted audit has read; removed when complete."""

    def __init__(self, audit_id: str | None) -> None:
        """
        Args:
            audit_id: of the audit to resume, or to start under that id; None makes a new one.

        Raises:
            UsageError: it is no plain name.
        """
        from platformdirs import user_cache_path

        self.audit_id = audit_id or uuid.uuid4().hex[:12]
        plain = all(char.isascii() and (char.isalnum() or char in "-_") for char in self.audit_id)
        if not plain or len(self.audit_id) > _MAX_ID_CHARACTERS:
            raise UsageError(f"an audit id has up to {_MAX_ID_CHARACTERS} letters, digits, - and _")
        root = os.environ.get("REGISTRY_AUDIT_CACHE_DIR")
        self.path = (Path(root) if root else user_cache_path("registry-audit")) / "audits" / self.audit_id

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
