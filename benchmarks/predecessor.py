"""Does what mlflow-tools' `check_version` does to one version, for all versions in one process.

    python -m benchmarks.predecessor sqlite:///mlflow.db SCRATCH_DIRECTORY

It makes the same calls in the same order (mlflow_tools/check_version, January 2024): get_model_version, both downloads
into a scratch directory, `filecmp.dircmp` on the top level, and a sha1 over each directory in 64 KiB blocks, as
`checksumdir` computes it. The loop over all versions is ours, because the predecessor has none. As in its notebook, the
scratch directory is emptied before each version. Its commands start a process per version, which takes several seconds
more for each.
"""

import filecmp
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
from mlflow import MlflowClient


def main(tracking_uri: str, scratch: Path) -> int:
    mlflow.set_tracking_uri(tracking_uri)  # the predecessor uses the process-wide client
    client = MlflowClient()
    equal = compared = 0
    for name, number in _labels(client):
        shutil.rmtree(scratch, ignore_errors=True)
        comparison = _check_version(client, name, number, scratch)
        print(json.dumps(comparison, indent=2))
        compared += 1
        equal += bool(comparison["equals"])
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"{equal} of {compared} equal")
    return 0


def _labels(client: MlflowClient) -> Iterator[tuple[str, str]]:
    token = None
    while True:
        page = client.search_model_versions(
            max_results=1_000, order_by=["name ASC", "version_number ASC"], page_token=token
        )
        yield from ((version.name, version.version) for version in page)
        token = page.token
        if not token:
            return


def _check_version(client: MlflowClient, name: str, number: str, scratch: Path) -> dict[str, object]:
    version = client.get_model_version(name, number)
    download_uri = client.get_model_version_download_uri(version.name, version.version)
    uris = {"run_model": version.source, "reg_model": download_uri}
    paths = {
        role: mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=str(scratch / role), tracking_uri=client._tracking_client.tracking_uri
        )
        for role, uri in uris.items()
    }
    directories = filecmp.dircmp(paths["run_model"], paths["reg_model"])
    return {
        "equals": not (directories.left_only or directories.right_only or directories.diff_files),
        **{
            role: {"download_uri": uris[role], "local_path": {"path": path, "hash": _dirhash(path)}}
            for role, path in paths.items()
        },
    }


def _dirhash(directory: str) -> str:
    hashes = []
    for root, directories, files in os.walk(directory):
        directories.sort()
        hashes += [_filehash(Path(root, name)) for name in sorted(files)]
    return hashlib.sha1("".join(sorted(hashes)).encode()).hexdigest()


def _filehash(path: Path) -> str:
    hasher = hashlib.sha1()
    with path.open("rb") as handle:
        while block := handle.read(64 * 1024):
            hasher.update(block)
    return hasher.hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
