"""Measures how fast a bare concurrent client receives the same files from a server, without processing them.

python -m benchmarks.bare_http proxy BASE_URL LIST_FILE    from an `mlflow server`, by http.client
python -m benchmarks.bare_http s3 URL LIST_FILE            by boto3, large objects in concurrent ranges
python -m benchmarks.bare_http ... sha256                  the same, and the digest of each received body

LIST_FILE has one path per line: below the server's artifact root, or s3://BUCKET/KEY. The credentials for S3 come from
the environment.
"""

import hashlib
import http.client
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

_THREADS = 16
_CHUNK_BYTES = 1 << 20
_RANGE_BYTES = 16 << 20
_ROUTE = "/api/2.0/mlflow-artifacts/artifacts/"
_local = threading.local()


def main(kind: str, url: str, list_file: Path, digest: str | None = None) -> int:
    lines = list_file.read_text().splitlines()
    new_sink = _Ignored if digest is None else partial(hashlib.new, digest)
    with ThreadPoolExecutor(_THREADS) as pool:
        if kind == "proxy":
            total = sum(pool.map(_proxied(url, new_sink), lines))
        else:
            client = _s3_client(url)
            parts = [part for found in pool.map(_parts(client), lines) for part in found]
            total = sum(pool.map(_ranged(client, new_sink), parts))
    print(f"{total} bytes in {len(lines)} files")
    return 0


class _Ignored:
    def update(self, data: bytes | memoryview, /) -> None:
        return


def _proxied(url: str, new_sink: Callable[[], Any]) -> Callable[[str], int]:
    parts = urlsplit(url)

    def get(path: str) -> int:
        if not hasattr(_local, "connection"):
            _local.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
            _local.buffer = memoryview(bytearray(_CHUNK_BYTES))
        connection: http.client.HTTPConnection = _local.connection
        connection.request("GET", parts.path.rstrip("/") + _ROUTE + quote(path))
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"{path}: {answer.status} {answer.reason}")
        total, sink = 0, new_sink()
        while count := answer.readinto(_local.buffer):
            total += count
            sink.update(_local.buffer[:count])
        return total

    return get


def _s3_client(url: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=_THREADS))


def _parts(client: Any) -> Callable[[str], list[tuple[str, str, str | None]]]:
    """Return a function that splits an object into ranges.

    Its size is taken from a listing; only large objects are split.
    """
    sizes: dict[str, dict[str, int]] = {}
    lock = threading.Lock()

    def parts(line: str) -> list[tuple[str, str, str | None]]:
        bucket, _, key = line.removeprefix("s3://").partition("/")
        with lock:
            if bucket not in sizes:
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
                sizes[bucket] = {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}
        size = sizes[bucket][key]
        if size <= _RANGE_BYTES:
            return [(bucket, key, None)]
        return [
            (bucket, key, f"bytes={start}-{min(start + _RANGE_BYTES, size) - 1}")
            for start in range(0, size, _RANGE_BYTES)
        ]

    return parts


def _ranged(client: Any, new_sink: Callable[[], Any]) -> Callable[[tuple[str, str, str | None]], int]:
    def get(part: tuple[str, str, str | None]) -> int:
        bucket, key, byte_range = part
        asked = {} if byte_range is None else {"Range": byte_range}
        body = client.get_object(Bucket=bucket, Key=key, **asked)["Body"]
        total, sink = 0, new_sink()
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            total += len(chunk)
            sink.update(chunk)
        return total

    return get


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:]))
