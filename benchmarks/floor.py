"""The least that anybody could do: read both copies once, on all cores, with no registry and no comparison.

python -m benchmarks.floor read LEFT RIGHT      reads every file of both trees
python -m benchmarks.floor digest LEFT RIGHT    the same, and takes the sha256 of those under LEFT
"""

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_local = threading.local()


def main(mode: str, left: Path, right: Path) -> int:
    jobs = [(path, mode == "digest") for path in _files(left)] + [(path, False) for path in _files(right)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        total = sum(pool.map(_read, jobs))
    print(f"{total} bytes in {len(jobs)} files")
    return 0


def _files(root: Path) -> list[str]:
    return [os.path.join(directory, name) for directory, _, names in os.walk(root) for name in names]  # noqa: PTH118


def _read(job: tuple[str, bool]) -> int:
    path, digest = job
    if not hasattr(_local, "buffer"):
        _local.buffer = memoryview(bytearray(_CHUNK_BYTES))
    buffer: memoryview = _local.buffer
    hasher, total = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123 - thousands of them
        while count := handle.readinto(buffer):
            total += count
            if digest:
                hasher.update(buffer[:count])
    hasher.digest()
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
