"""The least that anybody could do: read both copies once, on all cores, with no registry and no comparison.

    python -m benchmarks.floor read LEFT RIGHT      reads every file of both trees
    python -m benchmarks.floor digest LEFT RIGHT    the same, and takes the sha256 of those under LEFT
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def main(mode: str, left: Path, right: Path) -> int:
    files = [(path, mode == "digest") for path in _files(left)] + [(path, False) for path in _files(right)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        total = sum(pool.map(_read, files, chunksize=64))
    print(f"{total} bytes in {len(files)} files")
    return 0


def _files(root: Path) -> list[str]:
    return [os.path.join(directory, name) for directory, _, names in os.walk(root) for name in names]  # noqa: PTH118


def _read(job: tuple[str, bool]) -> int:
    path, digest = job
    hasher, total = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            total += len(chunk)
            if digest:
                hasher.update(chunk)
    finally:
        os.close(descriptor)
    if digest:
        hasher.hexdigest()
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
