"""Measures how fast a bare obstore client reads a bucket: it lists each model separately, and reads every object.

python -m benchmarks.bare_obstore URL LIST_FILE           receives every byte, without processing it
python -m benchmarks.bare_obstore URL LIST_FILE sha256    also computes the digest of each body

LIST_FILE has a line s3://BUCKET/KEY for each object. The credentials come from the environment.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_THREADS = 16
_CHUNK_BYTES = 256 << 10


def main(url: str, list_file: Path, digest: str | None = None) -> int:
    import obstore.store

    keys = [line.removeprefix("s3://").partition("/") for line in list_file.read_text().splitlines()]
    models = sorted({key.removesuffix("/MLmodel") for _, _, key in keys if key.endswith("/MLmodel")})
    (bucket,) = {bucket for bucket, _, _ in keys}
    store = obstore.store.S3Store(bucket, endpoint=url, client_options={"allow_http": url.startswith("http://")})
    with ThreadPoolExecutor(_THREADS) as pool:
        done = list(pool.map(_read_model(store, digest), models))
    print(f"{sum(size for size, _ in done)} bytes in {sum(count for _, count in done)} files")
    return 0


def _read_model(store: Any, digest: str | None) -> Callable[[str], tuple[int, int]]:
    import obstore

    def read(prefix: str) -> tuple[int, int]:
        total, count = 0, 0
        for page in obstore.list(store, prefix):
            for entry in page:
                sink = hashlib.new(digest) if digest else None
                for chunk in obstore.get(store, entry["path"]).stream(min_chunk_size=_CHUNK_BYTES):
                    total += len(chunk)
                    if sink is not None:
                        sink.update(chunk)
                count += 1
        return total, count

    return read


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
