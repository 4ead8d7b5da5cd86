"""Reads any other store through MLflow's artifact repository for it, file by file into a scratch directory.

Only one file is fetched at a time, because each takes its size on the disk.
"""

import tempfile
from pathlib import Path
from typing import Any

from registry_audit.errors import CouldNotVerify
from registry_audit.model.listing import Limits, ListedFile, Listing
from registry_audit.net.origin import urlsplit
from registry_audit.net.throttle import Throttle
from registry_audit.net.transfers import Where
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.mlflow_environment import importing_mlflow
from registry_audit.registry.mlflow_private import fetch_file
from registry_audit.registry.storage import PROXY, StorageIdentity, is_sent_elsewhere
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES, Child, Chunks, only_root, walk


class RepositoryStore:
    """Uses one repository per root: MLflow's repositories hold thread pools that they never shut down."""

    directory: Path | None = None

    def __init__(
        self, uri: str, identity: StorageIdentity, tracking_uri: str, registry_uri: str, throttle: Throttle
    ) -> None:
        """Open the repository of a location. Raises: CouldNotVerify: MLflow has no way to read it."""
        with importing_mlflow():
            from mlflow.store.artifact.artifact_repository_registry import (
                get_artifact_repository,
                get_registered_artifact_repositories,
            )

        self.identity, self._throttle = identity, throttle
        self._shown = printable(redact_location(uri))
        self._host = f"{identity.kind}://{identity.endpoint or identity.container}"
        scheme = urlsplit(uri).scheme
        if scheme not in get_registered_artifact_repositories():
            raise CouldNotVerify(
                f"MLflow here knows no way to read {printable(scheme)}: storage: install the plugin that brings it "
                "beside registry-audit"
            )
        if is_sent_elsewhere(identity):
            raise CouldNotVerify(f"credentials for {printable(scheme)}: storage are not sent to {identity.endpoint}")
        if scheme in ("http", "https", PROXY):
            raise CouldNotVerify("an http(s) location is never read with the environment's credentials")
        with translated(f"open the storage {self._shown}"):
            self._repository: Any = get_artifact_repository(uri, tracking_uri=tracking_uri, registry_uri=registry_uri)

    def root_listing(self) -> Listing:
        return only_root(self._children)

    def listing(self, limits: Limits) -> Listing:
        return walk(self._children, limits, cannot_carry=lambda path: None)

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        with tempfile.TemporaryDirectory(prefix="registry-audit-") as scratch:
            fetched = Path(scratch) / "file"
            with (
                translated(f"read '{printable(file.path)}' of {self._shown}"),
                self._throttle.permit(self._host) as permit,
            ):
                fetch_file(self._repository, file.path, fetched)
                with fetched.open("rb") as handle:
                    while chunk := handle.read(CHUNK_BYTES):
                        permit.read(len(chunk))
                        yield chunk

    def _children(self, directory: str) -> list[Child]:
        with translated(f"list '{printable(directory) or '.'}' of {self._shown}"), self._throttle.permit(self._host):
            found = self._repository.list_artifacts(directory or None)
        return [Child(entry.path, bool(entry.is_dir), None if entry.is_dir else entry.file_size) for entry in found]
