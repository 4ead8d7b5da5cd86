"""A manifest as `sha256sum` writes it, so that a copy of the model can be checked with `sha256sum -c`."""

from registry_audit.model.manifest import Manifest

_SHA256 = "sha256:"


def sha256sum_listing(manifest: Manifest) -> bytes | None:
    """One line a file, sorted by path; None where another digest was used, which `sha256sum` cannot check."""
    if not all(entry.digest.startswith(_SHA256) for entry in manifest.entries):
        return None
    return b"".join(_line(entry.digest.removeprefix(_SHA256), entry.path) for entry in manifest.entries)


def _line(digest: str, path: str) -> bytes:
    # GNU coreutils, "File names with special characters": a backslash before the line says that the name is escaped.
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != path else ""
    return f"{mark}{digest}  {escaped}\n".encode("utf-8", "surrogateescape" if _is_escaped_bytes(path) else "replace")


def _is_escaped_bytes(path: str) -> bool:
    return all(not "\ud800" <= char <= "\udfff" or "\udc80" <= char <= "\udcff" for char in path)
