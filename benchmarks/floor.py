"""Measures the minimum that any tool must do with the bytes, on all cores, without a registry.

python -m benchmarks.floor read LEFT [RIGHT]              reads every file of the trees
python -m benchmarks.floor sha256|blake3 LEFT [RIGHT]     the same, and digests the files under LEFT
python -m benchmarks.floor compare LEFT RIGHT             reads both trees in lockstep and compares their bytes
python -m benchmarks.floor all LEFT RIGHT                 the same, and takes the sha256 of the files under LEFT
"""

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.skipping import skip

_CHUNK_BYTES = 1 << 20
_local = threading.local()
_memcmp = ctypes.CDLL(None).memcmp  # releases the GIL, unlike a comparison of two bytes objects
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def main(mode: str, roots: list[Path]) -> int:
    if mode in ("compare", "all"):
        left, right = roots
        hasher = _hashers("sha256") if mode == "all" else None
        pairs = [(path, os.path.join(right, os.path.relpath(path, left)), hasher) for path in _files(left)]  # noqa: PTH118
        total, count = _sum(_compare, pairs), 2 * len(pairs)
    else:
        hasher = None if mode == "read" else _hashers(mode)
        jobs = [(path, hasher if root == roots[0] else None) for root in roots for path in _files(root)]
        total, count = _sum(_read, jobs), len(jobs)
    print(f"{total} bytes in {count} files")
    return 0


def _hashers(name: str) -> Callable[[], Any]:
    if name == "sha256":
        return hashlib.sha256
    try:
        from blake3 import blake3
    except ImportError as error:
        skip(f"the package blake3 cannot be imported: {error}")
    new: Callable[[], Any] = blake3
    return new


def _sum(work: Callable[[Any], int], jobs: list[Any]) -> int:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(work, jobs))


def _files(root: Path) -> list[str]:
    return [os.path.join(directory, name) for directory, _, names in os.walk(root) for name in names]  # noqa: PTH118


def _read(job: tuple[str, Callable[[], Any] | None]) -> int:
    path, new_hasher = job
    (buffer, _), _ = _buffers()
    hasher, total = new_hasher() if new_hasher else None, 0
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123 - called thousands of times
        while count := handle.readinto(buffer):
            total += count
            if hasher is not None:
                hasher.update(buffer[:count])
    if hasher is not None:
        hasher.digest()
    return total


def _compare(job: tuple[str, str, Callable[[], Any] | None]) -> int:
    left, right, new_hasher = job
    (one, one_address), (two, two_address) = _buffers()
    hasher, total = new_hasher() if new_hasher else None, 0
    with open(left, "rb", buffering=0) as first, open(right, "rb", buffering=0) as second:  # noqa: PTH123
        while count := first.readinto(one):
            if second.readinto(two) != count or _memcmp(one_address, two_address, count):
                raise SystemExit(f"{left} and {right} differ")
            total += 2 * count
            if hasher is not None:
                hasher.update(one[:count])
        if second.readinto(two):
            raise SystemExit(f"{left} and {right} differ")
    return total


def _buffers() -> Any:
    if not hasattr(_local, "buffers"):
        pair = [bytearray(_CHUNK_BYTES) for _ in range(2)]
        _local.buffers = tuple(
            (memoryview(buffer), ctypes.addressof(ctypes.c_char.from_buffer(buffer))) for buffer in pair
        )
    return _local.buffers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], [Path(root) for root in sys.argv[2:]]))
