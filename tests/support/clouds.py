"""Object stores of one's own, one process each: S3 on SeaweedFS and moto, the others on emulators."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import requests

from support.processes import free_port, server_process
from support.s3 import S3Endpoint

_HTTP_SECONDS = 10


class Cloud(Protocol):
    url: str
    listings: str  # regular expression of a listing's target

    def environment(self, url: str) -> Mapping[str, str]:
        """What a client needs to reach it at `url`: its own, or that of a proxy before it."""
        ...

    @property
    def bucket(self) -> str:
        """One for all tests: a test takes a key of its own."""
        ...

    def uri(self, key: str) -> str: ...
    def put(self, key: str, content: bytes, *, encoding: str | None = None) -> None: ...
    def delete(self, key: str) -> None: ...
    def empty_page(self, key: str, *, token: str | None) -> bytes:
        """A listing of one object that says it goes on, and how unless `token` is None."""
        ...


@dataclass(frozen=True)
class S3Cloud:
    endpoint: S3Endpoint
    listings: str = r"list-type=2"

    @property
    def url(self) -> str:
        return self.endpoint.url

    @cached_property
    def client(self) -> Any:
        return self.endpoint.client()

    def environment(self, url: str) -> Mapping[str, str]:
        return {**self.endpoint.environment, "MLFLOW_S3_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_S3": url}

    @cached_property
    def bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        return name

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, key: str, content: bytes, *, encoding: str | None = None) -> None:
        more = {"ContentEncoding": encoding} if encoding else {}
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content, **more)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def empty_page(self, key: str, *, token: str | None) -> bytes:
        more = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
        entry = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
        return f"<ListBucketResult>{entry}<IsTruncated>true</IsTruncated>{more}</ListBucketResult>".encode()


@contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Cloud]:
    """Its parts take a port each, and another one for gRPC."""
    ports = {part: free_port() for part in ("master", "volume", "filer", "s3")}
    command = [str(Path(sys.executable).with_name("weed")), "server", "-dir", str(directory), "-ip=127.0.0.1", "-s3"]
    command += [f"-{part}.port={port}" for part, port in ports.items()]
    command += [f"-{part}.port.grpc={free_port()}" for part in ports]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=100"]
    command += ["-master.volumeSizeLimitMB=64"]
    url, log = f"http://127.0.0.1:{ports['s3']}", directory / "seaweedfs.log"

    def ready() -> bool:
        try:
            # A bucket can be made from the moment on when the volume server has said hello to the master.
            return (
                requests.put(f"{url}/ready", timeout=_HTTP_SECONDS).ok
                and requests.put(f"{url}/ready/object", data=b"x", timeout=_HTTP_SECONDS).ok
            )
        except requests.ConnectionError:
            return False

    with server_process(command, log=log, ready=ready, environment={"HOME": str(directory)}, directory=directory):
        yield S3Cloud(S3Endpoint(url, log))
