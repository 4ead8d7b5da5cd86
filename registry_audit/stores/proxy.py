"""Reads models behind a tracking server's artifact proxy (`mlflow-artifacts:`) as streams, without using the disk."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from registry_audit.errors import CouldNotVerify
from registry_audit.model.listing import Limits, ListedFile, Listing
from registry_audit.net.http import Answer
from registry_audit.net.rest import Rest, SignedOnly, entries_of
from registry_audit.net.transfers import Transfers, Where
from registry_audit.printable import printable
from registry_audit.registry.mlflow_api import number_of
from registry_audit.registry.storage import PROXY_PATH, StorageIdentity, respelled
from registry_audit.registry.translate import translated
from registry_audit.stores.base import Child, Chunks, only_root, walk, whole_body
from registry_audit.stores.databricks_routes import signed_body

# The server decodes a path once more than HTTP does, and MLflow's client strips newlines: another file's bytes
# come back, with a 200 (docs/mlflow.md section 5, table of names).
_NOT_CARRIED = re.compile(r"[%#?\x00-\x1f\x7f]")
_SIGNED_PATH = "/api/2.0/mlflow-artifacts/presigned"
_DOUBTFUL = re.compile(r"(^|/)\s|[:;]")  # the only spellings that a URI may be rewritten for; most names contain none


class ProxyStore:
    directory: Path | None = None

    def __init__(self, rest: Rest, transfers: Transfers, identity: StorageIdentity) -> None:
        """
        Args:
            rest: the server of the proxy.
        """
        self.transfers = transfers
        self._rest, self._root, self.identity = rest, identity.path, identity

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
        path, doing = quote(f"{self._root}/{file.path}" if self._root else file.path), f"read '{printable(file.path)}'"
        with translated(doing), ExitStack() as opened:
            yield from whole_body(self._opened(opened, path, doing).chunks(), file.path)

    def _opened(self, opened: ExitStack, path: str, doing: str) -> Answer:
        if self._rest.answers_with_files:
            try:
                return opened.enter_context(self._rest.content(f"{PROXY_PATH}/{path}", doing=doing))
            except SignedOnly:
                self._rest.answers_with_files = False  # later files skip the refused request
        return opened.enter_context(signed_body(self._rest, self._signed_url, path, doing))

    def _signed_url(self, path: str, doing: str) -> tuple[Any, dict[str, str]]:
        """Ask for the bucket's own address of a file. Source: MLflow's `PresignedDownloadUrlResponse`."""
        answer = self._rest.get(f"{_SIGNED_PATH}/{path}", doing=doing)
        headers = answer.get("headers")
        return answer.get("url"), {
            str(name): str(value) for name, value in (headers.items() if isinstance(headers, dict) else ())
        }

    def _children(self, directory: str) -> list[Child]:
        found = self._entries("/".join(part for part in (self._root, directory) if part))
        return [_child(entry, directory) for entry in found]

    def _entries(self, path: str) -> list[dict[str, Any]]:
        """Return the proxy's list of files: `{"files": [{"path": name, "is_dir": bool, "file_size": n}]}`, or `{}`."""
        doing = f"list '{printable(path) or '.'}'"
        return entries_of(self._rest.get(PROXY_PATH, {"path": path}, doing=doing), "files", doing)


def _child(entry: dict[str, Any], directory: str) -> Child:
    is_directory, size = entry.get("is_dir", False), number_of(entry, "file_size")
    has_strange_size = size is None and entry.get("file_size") is not None
    if not isinstance(entry.get("path"), str) or not isinstance(is_directory, bool | None) or has_strange_size:
        raise CouldNotVerify("the listing is not what an MLflow server sends")
    path = f"{directory}/{entry['path']}" if directory else entry["path"]
    # Protobuf leaves out zeros: a file without a size is an empty file.
    return Child(path, bool(is_directory), None if is_directory else size or 0)


def cannot_carry(path: str) -> str | None:
    """Return why the proxy cannot serve a path exactly, or does not list it at all; else None."""
    if _NOT_CARRIED.search(path):
        return "holds a character (% # ? or a control character) that the artifact proxy cannot carry exactly"
    if _DOUBTFUL.search(path) and any(respelled(part) != part for part in path.split("/")):
        return "is not spelled as MLflow's client asks the artifact proxy for it"
    if any(part.startswith(".artifact.uploading.") for part in path.split("/")):
        return "is an upload that never ended"
    return None
