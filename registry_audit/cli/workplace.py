"""Directories a command writes to: checked before the work, not after."""

import os
import shutil
import tempfile
import uuid
from pathlib import Path

from registry_audit.errors import UsageError


def must_be_writable(directory: Path, option: str) -> None:
    """Make the directory if need be, and write to it once.

    Raises:
        UsageError: naming the option.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(f"{option} {directory} cannot be written: {error.strerror}") from error


def must_take_file(file: Path, option: str) -> None:
    """Raises: UsageError: the file cannot be made there."""
    if file.is_dir():
        raise UsageError(f"{option} {file} is a directory: name a file in it")
    if not file.parent.is_dir():
        raise UsageError(f"{option} {file} cannot be written: there is no directory {file.parent}")
    if not os.access(file.parent, os.W_OK):
        raise UsageError(f"{option} {file} cannot be written: permission denied")


class WorkDirectory:
    """Where the readings of one audit outlive its process; removed when the audit is complete."""

    def __init__(self, audit_id: str | None) -> None:
        from platformdirs import user_cache_path

        self.audit_id = audit_id or uuid.uuid4().hex[:12]
        if not all(char.isalnum() or char in "-_" for char in self.audit_id) or len(self.audit_id) > 100:
            raise UsageError("--audit-id takes letters, digits, - and _")
        root = os.environ.get("REGISTRY_AUDIT_CACHE_DIR")
        self.path = (Path(root) if root else user_cache_path("registry-audit")) / "audits" / self.audit_id

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
