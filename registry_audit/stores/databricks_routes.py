"""Implements the ways to list a model of Databricks and to read its files, one for each of its services.

Paths are relative to the model's root; "" is the root.
"""

import contextlib
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import quote

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.listing import ListedFile
from registry_audit.net.http import Answer
from registry_audit.net.rest import Denied, Rest, entries_of
from registry_audit.printable import printable
from registry_audit.registry.mlflow_api import number_of, objects_of, text_of
from registry_audit.stores.base import Child

_MAX_DIRECT_BYTES = 5 << 30  # the Files API itself serves no larger file

Body = AbstractContextManager[Answer]


class Route(Protocol):
    """Lists a model's files and reads them in one way."""

    leaves_out_zeros: bool  # as Protobuf does: an empty file is listed without a size

    def children(self, directory: str) -> list[Child]:
        """List a directory. Raises: NotFound: the service says that there is no such directory. CouldNotVerify."""
        ...

    def body(self, file: ListedFile) -> Body: ...


class FilesRoute:
    """Uses the Files API: one request per directory and per file; it says when a file was last modified."""

    leaves_out_zeros = False

    def __init__(self, rest: Rest, root: str) -> None:
        self._rest, self._root = rest, root.rstrip("/")

    def children(self, directory: str) -> list[Child]:
        path = f"{self._root}/{directory}" if directory else self._root
        doing = f"list {printable(path)}"
        entries = self._rest.pages(f"/api/2.0/fs/directories{quote(path)}", {}, "contents", doing=doing)
        return [self._child(entry) for entry in entries]

    @contextlib.contextmanager
    def body(self, file: ListedFile) -> Iterator[Answer]:
        path, doing = f"{self._root}/{file.path}", f"read '{printable(file.path)}'"
        with contextlib.ExitStack() as opened:
            yield self._opened(opened, path, file.size, doing)

    def _opened(self, opened: contextlib.ExitStack, path: str, size: int | None, doing: str) -> Answer:
        refused: AuditError | None = None
        if self._rest.answers_with_files and (size or 0) <= _MAX_DIRECT_BYTES:
            try:
                return opened.enter_context(self._rest.content(f"/api/2.0/fs/files{quote(path)}", doing=doing))
            except (Transient, NotFound):
                raise
            except (CouldNotVerify, UsageError) as error:
                refused = error
        try:
            answer = opened.enter_context(signed_body(self._rest, self._signed_url, path, doing))
        except Denied:
            if isinstance(refused, Denied):
                raise refused from None
            raise
        if refused is not None:
            self._rest.answers_with_files = False  # later files skip the refused request
        return answer

    def _signed_url(self, path: str, doing: str) -> tuple[Any, Mapping[str, str]]:
        answer = self._rest.ask("/api/2.0/fs/create-download-url", {"path": path}, {"path": path}, doing=doing)
        return answer.get("url"), headers_of(answer)

    def _child(self, entry: Mapping[str, Any]) -> Child:
        path, is_directory = text_of(entry, "path"), entry.get("is_directory") is True
        size = None if is_directory else number_of(entry, "file_size")
        return Child(_below(self._root, path), is_directory, size, _change_token(entry, "last_modified"))


class RunRoute:
    """Reads the artifacts of a run, by the run's id: a listing, and a signed URL for each file."""

    leaves_out_zeros = True

    def __init__(self, rest: Rest, run_id: str, root: str) -> None:
        self._rest, self._run_id, self._root = rest, run_id, root.strip("/")

    def children(self, directory: str) -> list[Child]:
        path = posixpath.join(self._root, directory).rstrip("/")
        doing = f"list {printable(path)} of run {printable(self._run_id)}"
        query = {"run_id": self._run_id, "path": path or None}
        entries = self._rest.pages("/api/2.0/mlflow/artifacts/list", query, "files", doing=doing)
        return [child_of(entry, self._root) for entry in entries if entry.get("path") != path]

    def body(self, file: ListedFile) -> Body:
        path = posixpath.join(self._root, file.path)
        return signed_body(self._rest, self._signed_url, path, f"read '{printable(file.path)}'")

    def _signed_url(self, path: str, doing: str) -> tuple[Any, Mapping[str, str]]:
        wanted = {"run_id": self._run_id, "path": [path]}
        answer = self._rest.ask("/api/2.0/mlflow/artifacts/credentials-for-read", wanted, doing=doing)
        return _the_one(entries_of(answer, "credential_infos", doing), path, doing)


class LoggedModelRoute:
    """Reads the artifacts of a LoggedModel, by its id."""

    leaves_out_zeros = True

    def __init__(self, rest: Rest, model_id: str, root: str) -> None:
        self._rest, self._root = rest, root.strip("/")
        self._api = f"/api/2.0/mlflow/logged-models/{quote(model_id, safe='')}/artifacts"
        self._model_id = model_id

    def children(self, directory: str) -> list[Child]:
        path = posixpath.join(self._root, directory).rstrip("/")
        doing = f"list {printable(path) or '.'} of the LoggedModel {printable(self._model_id)}"
        query = {"artifact_directory_path": path or None}
        entries = self._rest.pages(f"{self._api}/directories", query, "files", doing=doing)
        return [child_of(entry, self._root) for entry in entries if entry.get("path") != path]

    def body(self, file: ListedFile) -> Body:
        path = posixpath.join(self._root, file.path)
        return signed_body(self._rest, self._signed_url, path, f"read '{printable(file.path)}'")

    def _signed_url(self, path: str, doing: str) -> tuple[Any, Mapping[str, str]]:
        answer = self._rest.ask(f"{self._api}/credentials-for-download", {"paths": [path]}, doing=doing)
        infos = [info for found in entries_of(answer, "credentials", doing) if (info := found.get("credential_info"))]
        return _the_one([info for info in infos if isinstance(info, dict)], path, doing)


class VersionRoute:
    """Reads the copy of a version that the Workspace Model Registry made."""

    leaves_out_zeros = False

    def __init__(self, rest: Rest, name: str, version: str) -> None:
        self._rest, self._which = rest, {"name": name, "version": version}
        self._label = f"{printable(name)}/{printable(version)}"

    def children(self, directory: str) -> list[Child]:
        query = {**self._which, "path": directory or None}
        path, doing = "/api/2.0/mlflow/model-versions/list-artifacts", f"list the files of {self._label}"
        entries = self._rest.pages(path, query, "files", doing=doing)
        return [child_of(entry, "") for entry in entries]

    def body(self, file: ListedFile) -> Body:
        return signed_body(self._rest, self._signed_url, file.path, f"read '{printable(file.path)}'")

    def _signed_url(self, path: str, doing: str) -> tuple[Any, Mapping[str, str]]:
        route = "/api/2.0/mlflow/model-versions/get-signed-download-uri"
        answer = self._rest.get(route, {**self._which, "path": path}, doing=doing)
        return answer.get("signed_uri"), headers_of(answer)


class DbfsRoute:
    """Reads a directory of DBFS that does not belong to a run or LoggedModel."""

    leaves_out_zeros = False

    def __init__(self, rest: Rest, root: str) -> None:
        self._rest, self._root = rest, "/" + root.strip("/")

    def children(self, directory: str) -> list[Child]:
        path = f"{self._root}/{directory}" if directory else self._root
        doing = f"list dbfs:{printable(path)}"
        entries = entries_of(self._rest.get("/api/2.0/dbfs/list", {"path": path}, doing=doing), "files", doing)
        found = []
        for entry in entries:
            path, is_directory = text_of(entry, "path"), entry.get("is_dir") is True
            size = None if is_directory else number_of(entry, "file_size")
            found.append(Child(_below(self._root, path), is_directory, size, _change_token(entry, "modification_time")))
        return found

    @contextlib.contextmanager
    def body(self, file: ListedFile) -> Iterator[Answer]:
        path = quote(f"/dbfs{self._root}/{file.path}")
        with self._rest.content(path, doing=f"read '{printable(file.path)}'") as answer:
            yield answer


def _change_token(entry: Mapping[str, Any], key: str) -> str:
    """Return when a file was last modified, in milliseconds; empty if the entry does not say."""
    return str(number_of(entry, key) or "")


@contextlib.contextmanager
def signed_body(rest: Rest, signed_url: Any, path: str, doing: str) -> Iterator[Answer]:
    """Yield the response to a signed URL; if the URL is no longer valid, to a new one."""
    with contextlib.ExitStack() as opened:
        url, headers = signed_url(path, doing)
        try:
            answer = opened.enter_context(rest.signed(url, headers, doing=doing))
        except Denied:
            url, headers = signed_url(path, doing)
            answer = opened.enter_context(rest.signed(url, headers, doing=doing))
        yield answer


def child_of(entry: Mapping[str, Any], root: str) -> Child:
    """Convert an entry in the form of MLflow's `FileInfo`.

    Args:
        root: precedes the model's own paths.
    """
    is_directory = entry.get("is_dir") is True
    return Child(
        _below(root, text_of(entry, "path")), is_directory, None if is_directory else number_of(entry, "file_size")
    )


def headers_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that the request to a signed URL needs."""
    found = {}
    for header in objects_of(answer, "headers"):
        if name := text_of(header, "name"):
            found[name] = text_of(header, "value")
    return found


def _the_one(infos: list[dict[str, Any]], path: str, doing: str) -> tuple[Any, Mapping[str, str]]:
    for info in infos:
        if info.get("path") == path:
            return info.get("signed_uri"), headers_of(info)
    raise CouldNotVerify(f"could not {doing}: the workspace gives no signed URL for it")


def _below(root: str, path: str) -> str:
    """Return the path relative to the root; a path that is not below the root becomes one that `walk` refuses."""
    if not root:
        return path
    return path[len(root) + 1 :] if path.startswith(f"{root}/") else f"/{path.lstrip('/')}"
