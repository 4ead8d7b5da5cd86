"""Whether two storage URIs are one place, decided without reading it."""

import os
import posixpath
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

PROXY_PATH = "/api/2.0/mlflow-artifacts/artifacts"


def local_path(uri: str) -> Path | None:
    """The path that a plain path or `file:` URI means on this machine; None for any other scheme."""
    scheme = urlsplit(uri).scheme
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            return None
        return Path(url2pathname(unquote(parts.path)) if os.name == "nt" else unquote(parts.path))
    # One letter is a drive on Windows. A path may hold a colon, but no URI scheme holds a slash.
    if scheme == "" or len(scheme) == 1 or "/" in uri.split(":", 1)[0]:
        return Path(uri)
    return None


def storage_identity(uri: str, tracking_uri: str) -> str:
    """A text that is equal for two spellings of one storage.

    A local path loses its symlinks; a proxy's path gets its server; elsewhere doubled and trailing slashes go.
    Credentials are left out.
    """
    path = local_path(uri)
    if path is not None:
        return "file:" + os.path.realpath(path)
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower() if parts.scheme not in ("dbfs", "runs", "models") else parts.netloc
    if parts.scheme == "mlflow-artifacts":
        return f"mlflow-artifacts://{host or _host(tracking_uri)}{_clean(parts.path)}"
    if parts.scheme in ("http", "https") and PROXY_PATH in parts.path:
        return f"mlflow-artifacts://{host}{_clean(parts.path.split(PROXY_PATH, 1)[1])}"
    scheme = {"s3a": "s3", "s3n": "s3"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{host}{_clean(parts.path)}" + (f"?{parts.query}" if parts.query else "")


def comparable(first: str, second: str) -> bool:
    """Whether different identities are surely different places.

    A proxy keeps its bytes somewhere that the client cannot see: perhaps in the very bucket or directory beside it.
    """
    return (first.split(":", 1)[0] == "mlflow-artifacts") == (second.split(":", 1)[0] == "mlflow-artifacts")


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/")).replace("//", "/")


def _host(tracking_uri: str) -> str:
    return urlsplit(tracking_uri).netloc.rpartition("@")[2].lower()
