"""The artifact store behind a tracking server, from behind: where the bytes of a location really are."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from support.s3 import S3Endpoint


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """A store at `root` whose locations begin with `visible_as` in the registry.

    `root` is a directory (a plain path) or an `s3://bucket/prefix` URI. `visible_as` is the same where clients
    read the store themselves, and `mlflow-artifacts:` where the server stands between.
    """

    root: str
    visible_as: str
    s3: S3Endpoint | None = None

    def location(self, relative: str) -> str:
        """The URI that the registry would record for the directory `relative` of this store."""
        return f"{self.visible_as}/{relative}"

    def relative(self, location: str) -> str:
        prefix = f"{self.visible_as}/"
        assert location.startswith(prefix), f"{location} is not in {prefix}"
        return location.removeprefix(prefix)

    def path(self, location: str) -> Path:
        """The directory on disk behind `location`."""
        assert self.s3 is None, f"{location} is in a bucket: use edit()"
        return Path(self.root, self.relative(location))

    @contextmanager
    def edit(self, location: str) -> Iterator[Path]:
        """A directory with the bytes of `location`; what is done to it is done to the store.

        A bucket cannot keep everything that a directory can: links, pipes and empty directories do not arrive.
        """
        if self.s3 is None:
            yield self.path(location)
            return
        with tempfile.TemporaryDirectory() as scratch:
            mirror = Path(scratch, "model")
            mirror.mkdir()
            bucket, prefix, client = self._bucket(location)
            before = _keys(client, bucket, prefix)
            for key in before:
                target = mirror / key.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(bucket, key, str(target))
            yield mirror
            after = {prefix + path.relative_to(mirror).as_posix(): path for path in mirror.rglob("*") if path.is_file()}
            for key, path in after.items():
                client.upload_file(str(path), bucket, key)
            for key in before:
                if key not in after:
                    client.delete_object(Bucket=bucket, Key=key)

    def copy(self, source: str, target: str) -> None:
        """Copy the bytes of the location `source` to the new location `target`."""
        with self.edit(source) as source_directory:
            if self.s3 is None:
                shutil.copytree(source_directory, self.path(target), symlinks=True)
                return
            with self.edit(target) as target_directory:
                shutil.copytree(source_directory, target_directory, dirs_exist_ok=True)

    def files(self, location: str) -> dict[str, bytes]:
        """Content by relative POSIX path, sorted."""
        with self.edit(location) as directory:
            return read_files(directory)

    def _bucket(self, location: str) -> tuple[str, str, Any]:
        assert self.s3 is not None
        parts = urlsplit(self.root)
        key = PurePosixPath(parts.path.strip("/"), self.relative(location))
        return parts.netloc, f"{key}/", self.s3.client()


def read_files(directory: Path) -> dict[str, bytes]:
    """Content of the regular files by relative POSIX path, sorted."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def _keys(client: Any, bucket: str, prefix: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]
