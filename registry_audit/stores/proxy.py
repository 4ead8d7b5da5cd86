"""Models behind a tracking server's artifact proxy (`mlflow-artifacts:`), streamed: nothing touches the disk."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from registry_audit.errors import CouldNotVerify, Transient
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing
from registry_audit.printable import printable
from registry_audit.registry.memory import Where
from registry_audit.registry.storage import PROXY_PATH, StorageIdentity
from registry_audit.registry.transfers import Transfers
from registry_audit.registry.translate import translated
from registry_audit.stores.base import Chunks, whole_body
from registry_audit.stores.bounded import Child, only_root, walk

if TYPE_CHECKING:
    from registry_audit.registry.transport import Wire

# The server decodes a path once more than HTTP does, and MLflow's client strips newlines: another file's bytes
# come back, with a 200 (docs/mlflow.md section 5, table of names).
_NOT_CARRIED = re.compile(r"[%#?\x00-\x1f\x7f]")

_MAX_LISTING_BYTES = 128 * 2**20


class ProxyStore:
    directory: Path | None = None

    def __init__(self, wire: "Wire", transfers: Transfers, identity: StorageIdentity) -> None:
        """
        Args:
            wire: to the proxy's server.
        """
        self.transfers = transfers
        self._wire, self._root, self.identity = wire, identity.path, identity

    def root_listing(self) -> Listing:
        self._must_be_carried()
        return only_root(self._children)

    def listing(self, limits: Limits) -> Listing:
        self._must_be_carried()
        return walk(self._children, limits, cannot_carry=cannot_carry, transfers=self.transfers)

    def _must_be_carried(self) -> None:
        if reason := cannot_carry(self._root):
            raise CouldNotVerify(f"the storage '{printable(self._root)}' {reason}")

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        path = quote(f"{self._root}/{file.path}" if self._root else file.path)
        with translated(f"read '{printable(file.path)}'"), self._wire.get(f"{PROXY_PATH}/{path}") as answer:
            yield from whole_body(answer.chunks(where), file.path)

    def _children(self, directory: str) -> list[Child]:
        found = self._entries("/".join(part for part in (self._root, directory) if part))
        return [_child(entry, directory) for entry in found]

    def _entries(self, path: str) -> list[Any]:
        with (
            translated(f"list '{printable(path) or '.'}'"),
            self._wire.get(PROXY_PATH, {"path": path}) as answer,
        ):
            return _json(b"".join(_at_most(whole_body(answer.chunks(), path or "."))))


def _at_most(chunks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Raises: CouldNotVerify: the listing has no end."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > _MAX_LISTING_BYTES:
            raise CouldNotVerify(f"the listing of a directory is longer than {_MAX_LISTING_BYTES} bytes")
        yield chunk


def _json(body: bytes) -> list[Any]:
    """The proxy's list of files: `{"files": [{"path": name, "is_dir": bool, "file_size": n}]}`, or `{}` for none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise Transient("the listing is not JSON: is this an MLflow server, and not a login page?") from None
    files = answer.get("files", []) if isinstance(answer, dict) else None
    if not isinstance(files, list):
        raise CouldNotVerify("the listing is not what an MLflow server sends")
    return files


def _child(entry: Any, directory: str) -> Child:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        raise CouldNotVerify("the listing is not what an MLflow server sends")
    size = entry.get("file_size")
    try:
        size = int(size) if size is not None else None
    except (TypeError, ValueError):
        size = None
    path = f"{directory}/{entry['path']}" if directory else entry["path"]
    is_directory = bool(entry.get("is_dir"))
    # Protobuf leaves out zeros: a file without a size is an empty file.
    return Child(path, is_directory, None if is_directory else size or 0)


def cannot_carry(path: str) -> str | None:
    """Why the proxy cannot serve a path exactly, or does not list it at all."""
    if _NOT_CARRIED.search(path):
        return "holds a character (% # ? or a control character) that the artifact proxy cannot carry exactly"
    if any(part.startswith(".artifact.uploading.") for part in path.split("/")):
        return "is an upload that never ended"
    return None
