"""Models in an S3-compatible bucket, read with the client's own credentials: exact names, ETags, streamed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry_audit.errors import UsageError
from registry_audit.model.limits import Limits
from registry_audit.model.listing import ListedFile, Listing, Problem, illegal_path, make_listing
from registry_audit.printable import printable
from registry_audit.registry.translate import translated
from registry_audit.stores.base import CHUNK_BYTES, Unreadable, whole_body
from registry_audit.stores.bounded import Tally


class S3Store:
    directory: Path | None = None

    def __init__(self, uri: str, identity: str) -> None:
        parts = urlsplit(uri)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self.identity = identity
        self._client = s3_client()

    def root_listing(self) -> Listing:
        prefix = f"{self._prefix}/" if self._prefix else ""
        with translated(f"list s3://{printable(self._bucket)}/{printable(self._prefix)}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            found = [entry for page in pages for entry in page.get("Contents", ()) if entry["Key"] != prefix]
        return make_listing([ListedFile(entry["Key"][len(prefix) :], entry["Size"]) for entry in found])

    def listing(self, limits: Limits) -> Listing:
        tally = Tally(limits)
        files: list[ListedFile] = []
        unsafe: list[str] = []
        problems: list[Problem] = []
        prefix = f"{self._prefix}/" if self._prefix else ""
        with translated(f"list s3://{printable(self._bucket)}/{printable(self._prefix)}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", ()):
                    path = entry["Key"][len(prefix) :]
                    if not path or (path.endswith("/") and entry["Size"] == 0):
                        continue  # the marker of a directory
                    tally.depth(path)
                    tally.add(entry["Size"])
                    if reason := illegal_path(path):
                        unsafe.append(path)
                        problems.append(Problem("RA013", f"'{printable(path)}' {reason}", path))
                    else:
                        marker = f"{entry.get('ETag', '')}:{entry.get('LastModified', '')}"
                        files.append(ListedFile(path, entry["Size"], marker))
        return make_listing(files, unsafe=unsafe, problems=problems)

    def read(self, file: ListedFile) -> Iterator[bytes]:
        key = f"{self._prefix}/{file.path}" if self._prefix else file.path
        with translated(f"read '{printable(file.path)}'"):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            if file.marker and answer.get("ETag", "") != file.marker.partition(":")[0]:
                answer["Body"].close()
                raise Unreadable("RA008", f"'{printable(file.path)}' changed between listing and reading", file.path)
            yield from whole_body(answer["Body"].iter_chunks(CHUNK_BYTES), file.path)


def s3_client() -> Any:
    """MLflow's own S3 client, so that MLFLOW_S3_ENDPOINT_URL and the like mean the same here."""
    try:
        import boto3  # noqa: F401
    except ImportError as error:
        raise UsageError("reading s3:// needs boto3: pip install 'mlflow-registry-audit[s3]'") from error
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    return S3ArtifactRepository("s3://-/")._get_s3_client()
