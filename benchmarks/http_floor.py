"""How much of what a bare client gets out of a server the audit gets out of it.

    python -m benchmarks.http_floor --store proxy --versions 4 --file-bytes 268435456
    python -m benchmarks.http_floor --store proxy --versions 1 --files 20000 --file-bytes 2048
    python -m benchmarks.http_floor --store s3 --versions 4 --file-bytes 67108864

Starts an `mlflow server` (`proxy`: its artifact proxy over a local directory; `s3`: artifacts in a bucket of moto's
server, which the client reads itself), registers versions whose models lie there, and then takes turns, `--runs` times:

- floor: a bare client that reads the same files and drops the bytes. Threads, each with one kept connection; for
  `proxy` the standard library's http.client, for `s3` boto3, whole objects and ranges of 8 MiB. Of all thread counts
  in `--threads` (and of whole and ranged) the fastest counts.
- audit: `registry-audit audit` without a ledger, the whole process.
- start-up: the same for a registered model of one small version.

The ratio of a round is floor / (audit - start-up): 1.0 is as fast as the bare client, though the audit lists, digests
and asks the registry besides. Each is a process of its own; the floor times only its reading. `--json FILE` keeps all.
"""

import argparse
import http.client
import json
import os
import platform
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

_PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
_BUCKET = "models"
_PIECE = 1 << 20
_RANGE = 8 << 20
_MLMODEL = b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    data: data\n"
_SMALL = "small"  # the registered model that start-up is measured with
_MEASURED = "measured"


def main() -> None:
    options = _options()
    if options.client:
        print(json.dumps(_floor(options)))
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.work_dir, prefix="http-floor-")))
        environment = dict(os.environ) | {"MLFLOW_DISABLE_TELEMETRY": "true", "REGISTRY_AUDIT_LEDGER": "none"}
        if options.store == "s3":
            environment |= stack.enter_context(_s3_server(directory))
        uri = stack.enter_context(_mlflow_server(directory, options, environment))
        os.environ.update(environment)
        names = _fill(directory, uri, options)
        (directory / "names.json").write_text(json.dumps(names), encoding="utf-8")
        result = _measure(directory, uri, options, environment)
    _show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["proxy", "s3"], default="proxy")
    parser.add_argument("--versions", type=int, default=4)
    parser.add_argument("--files", type=int, default=1, help="of --file-bytes each, in a version")
    parser.add_argument("--file-bytes", type=int, default=64 << 20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--server-workers", type=int, default=4, help="processes of the mlflow server")
    parser.add_argument("--audit-options", nargs=argparse.REMAINDER, default=[], help="for the audit; must come last")
    parser.add_argument("--work-dir", type=Path, help="where the registry is made, and removed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--client", nargs=2, metavar=("URI", "NAMES"), help=argparse.SUPPRESS)
    parser.add_argument("--ranged", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- servers


@contextmanager
def _server(command: list[str], log: Path, environment: dict[str, str], port: int, up: str) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=log.parent)
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", up)
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            if process.poll() is not None:
                break
            time.sleep(0.2)
        else:
            process.kill()
        if process.poll() is not None:
            raise SystemExit(f"{command[2]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _mlflow_server(directory: Path, options: argparse.Namespace, environment: dict[str, str]) -> Iterator[str]:
    port = _free_port()
    (directory / "artifacts").mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(options.server_workers), "--artifacts-destination", str(directory / "artifacts")]
    command += ["--backend-store-uri", f"sqlite:///{directory / 'mlflow.db'}"]
    with _server(command, directory / "mlflow.log", environment, port, "/health"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _s3_server(directory: Path) -> Iterator[dict[str, str]]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "MLFLOW_S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _server(command, directory / "s3.log", dict(os.environ), port, "/moto-api/"):
        yield environment


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# ---- models


def _fill(directory: Path, uri: str, options: argparse.Namespace) -> list[tuple[str, int]]:
    """Write and register the versions; names (below the artifact root or the bucket) and sizes of their files."""
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    put, root = _s3_put() if options.store == "s3" else (_local_put(directory / "artifacts"), "mlflow-artifacts:")
    names = []
    for name, versions, files, size in (
        (_SMALL, 1, 1, 1),
        (_MEASURED, options.versions, options.files, options.file_bytes),
    ):
        client.create_registered_model(name)
        for version in range(versions):
            source, run_id = f"{root}/{name}/{version}/model", None
            if options.store == "proxy":  # the server takes only what belongs to a run
                run = client.create_run("0").info
                source, run_id = f"{run.artifact_uri}/model", run.run_id
            model = source.removeprefix(root).strip("/")
            paths = {f"{model}/MLmodel": _MLMODEL} | {
                # Directories of a thousand, as large models have them. Noise of few bytes: making it takes long.
                f"{model}/data/{n // 1000:03}/part-{n:06}": secrets.token_bytes(min(size, _PIECE))
                for n in range(files)
            }
            for path, content in paths.items():
                whole = content if path.endswith("MLmodel") else (content * (size // len(content) + 1))[:size]
                put(path, whole)
                if name == _MEASURED:
                    names.append((path, len(whole)))
            client.create_model_version(name, source, run_id, await_creation_for=0)
    return names


def _local_put(root: Path) -> Callable[[str, bytes], None]:
    def put(path: str, content: bytes) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return put


def _s3_put() -> tuple[Callable[[str, bytes], None], str]:
    client = _s3_client()
    client.create_bucket(Bucket=_BUCKET)
    return lambda path, content: client.put_object(Bucket=_BUCKET, Key=path, Body=content), f"s3://{_BUCKET}"


def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    url = os.environ["MLFLOW_S3_ENDPOINT_URL"]
    return boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=64))


# ---- measuring


def _measure(directory: Path, uri: str, options: argparse.Namespace, environment: dict[str, str]) -> dict[str, Any]:
    def audit(name: str) -> float:
        command = [sys.executable, "-m", "registry_audit", "audit", "--tracking-uri", uri, "--model", name, "--quiet"]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, *options.audit_options], env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            raise SystemExit(f"the audit ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return seconds

    rounds = []
    audit(_SMALL)  # caches, and compiled modules
    for _ in range(options.runs):
        floors = {
            f"{threads} threads{', ranged' if ranged else ''}": _client(directory, uri, options, threads, ranged)
            for threads in options.threads
            for ranged in ([False, True] if options.store == "s3" else [False])
        }
        start_up, whole = audit(_SMALL), audit(_MEASURED)
        floor = min(floors.values())
        rounds.append(
            {
                "floor": floor,
                "floors": floors,
                "start_up": start_up,
                "audit": whole,
                "ratio": floor / (whole - start_up),
            }
        )
    size = sum(size for _, size in json.loads((directory / "names.json").read_text(encoding="utf-8")))
    return {
        "shape": {
            name: getattr(options, name) for name in ("store", "versions", "files", "file_bytes", "server_workers")
        },
        "bytes": size,
        "rounds": rounds,
        "ratio": statistics.median(one["ratio"] for one in rounds),  # type: ignore[type-var]
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
        "command": f"python -m benchmarks.http_floor {' '.join(sys.argv[1:])}",
    }


def _client(directory: Path, uri: str, options: argparse.Namespace, threads: int, ranged: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.http_floor", "--client", uri, str(directory / "names.json")]
    command += ["--store", options.store, "--threads", str(threads), *(["--ranged"] if ranged else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def _floor(options: argparse.Namespace) -> float:
    """Seconds in which `--threads` threads read all files."""
    uri, names = options.client
    files = json.loads(Path(names).read_text(encoding="utf-8"))
    files.sort(key=lambda file: -file[1])
    if options.store == "s3":
        work, read = deque(_s3_work(files, options.ranged)), _s3_reader(_s3_client())
        readers = [read] * options.threads[0]
    else:
        work, readers = deque(files), [_http_reader(uri) for _ in range(options.threads[0])]

    def drain(read: Callable[[Any], None]) -> None:
        while True:
            try:
                item = work.popleft()
            except IndexError:
                return
            read(item)

    threads = [threading.Thread(target=drain, args=(read,)) for read in readers]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _http_reader(uri: str) -> Callable[[Any], None]:
    connection = http.client.HTTPConnection(urlsplit(uri).netloc)

    def read(file: tuple[str, int]) -> None:
        connection.request("GET", _PROXY + quote(file[0]))
        _drain(connection.getresponse().read, file[1])

    return read


def _s3_work(files: list[tuple[str, int]], ranged: bool) -> Iterator[tuple[str, int, int]]:
    """Name, start and end (not included)."""
    for name, size in files:
        step = _RANGE if ranged else max(size, 1)
        for start in range(0, max(size, 1), step):
            yield name, start, min(start + step, size)


def _s3_reader(client: Any) -> Callable[[Any], None]:
    def read(part: tuple[str, int, int]) -> None:
        name, start, end = part
        header = {"Range": f"bytes={start}-{end - 1}"} if end else {}
        _drain(client.get_object(Bucket=_BUCKET, Key=name, **header)["Body"].read, end - start)

    return read


def _drain(read: Callable[[int], bytes], size: int) -> None:
    got = 0
    while piece := read(_PIECE):
        got += len(piece)
    if got != size:
        raise SystemExit(f"{got} bytes came where {size} were asked for")


def _show(result: dict[str, Any]) -> None:
    print(json.dumps(result["shape"]), f"{result['bytes'] / 1e6:,.1f} MB")
    print(f"{'':24}{'seconds':>9}{'MB/s':>9}")
    for name in ("floor", "start_up", "audit"):
        seconds = statistics.median(one[name] for one in result["rounds"])
        rate = f"{result['bytes'] / seconds / 1e6:9,.0f}" if name == "floor" else ""
        print(f"{name:24}{seconds:9.2f}{rate}")
    for name in result["rounds"][0]["floors"]:
        print(f"  {name:22}{statistics.median(one['floors'][name] for one in result['rounds']):9.2f}")
    print(f"ratio (median of {len(result['rounds'])}): {result['ratio']:.2f}; target: 0.85 or more")


if __name__ == "__main__":
    main()
