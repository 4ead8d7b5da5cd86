"""Whether two storage URIs are one place, decided without reading it."""

import os
import posixpath
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from registry_audit.redact import redact

LOCAL = "file:"  # before the path, in the identity of a local storage
PROXY_PATH = "/api/2.0/mlflow-artifacts/artifacts"


@lru_cache(maxsize=1_024)  # each location of a version is asked about several times
def local_path(uri: str) -> Path | None:
    """The path that a plain path or `file:` URI means on this machine; None for any other scheme.

    MLflow decodes percent signs in both (mlflow.utils.file_utils.local_file_uri_to_path), so this must too.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            return None
        return Path(url2pathname(parts.path))
    # One letter is a drive on Windows. A path may hold a colon, but no URI scheme holds a slash.
    if scheme == "" or len(scheme) == 1 or "/" in uri.split(":", 1)[0]:
        return Path(url2pathname(uri))
    return None


def storage_identity(uri: str, tracking_uri: str) -> str:
    """A text that is equal for two spellings of one storage, and never for two storages.

    A local path loses its symlinks; a proxy's path gets its server before `//`. Elsewhere only a trailing slash
    goes: the keys of a bucket are literal, and what stands before `@` may be a container. Passwords are left out.
    """
    path = local_path(uri)
    if path is not None:
        return LOCAL + os.path.realpath(path)
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme == "mlflow-artifacts":
        return f"mlflow-artifacts://{host or _server(tracking_uri)}/{_clean(parts.path)}"
    if parts.scheme in ("http", "https"):
        base, proxied, path_text = parts.path.partition(PROXY_PATH)
        if proxied:
            return f"mlflow-artifacts://{host}{base}/{_clean(path_text)}"
        return f"{parts.scheme}://{host}{parts.path}"
    scheme = {"s3a": "s3", "s3n": "s3"}.get(parts.scheme, parts.scheme)
    path_text = parts.path.rstrip("/") or "/"
    return redact(f"{scheme}://{parts.netloc}{path_text}" + (f"?{parts.query}" if parts.query else ""))


def comparable(first: str, second: str) -> bool:
    """Whether different identities are surely different places.

    A proxy keeps its bytes somewhere that the client cannot see: perhaps in the very bucket or directory beside it,
    and one server may have two names.
    """
    one, two = urlsplit(first), urlsplit(second)
    if one.scheme == two.scheme == "mlflow-artifacts":
        return first.split("//")[1] == second.split("//")[1]
    return "mlflow-artifacts" not in (one.scheme, two.scheme)


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/")).replace("//", "/")


def _server(tracking_uri: str) -> str:
    parts = urlsplit(tracking_uri)
    return parts.netloc.rpartition("@")[2].lower() + parts.path.rstrip("/")
