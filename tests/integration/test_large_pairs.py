"""Two large copies behind a real server: whatever one of them lacks or holds more is said."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import faults
from support.auditing import Auditor
from support.faulty_proxy import Fault, FaultyProxy
from support.registry import Registered, Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

from registry_audit.audit import reading

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
LARGE = "weights.bin"
SIZE = reading._LARGE_BYTES + 1_000_003
SERVERS = ("mlflow_a", "mlflow_s3_direct")  # through the artifact proxy; from the bucket itself


@pytest.fixture
def server(request: pytest.FixtureRequest, s3_environment: S3Endpoint) -> MlflowServer:
    store: MlflowServer = request.getfixturevalue(request.param)
    return store


def with_large_file(server: MlflowServer) -> Registered:
    registry = Registry(server)
    content = bytes(range(256)) * (SIZE // 256 + 1)
    return registry.add(logged=registry.log_run_model(seed=11, files={LARGE: content[:SIZE]}), separate=True)


def last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def first_byte(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.write(b"\xff")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_two_equal_copies(server: MlflowServer, audit: Auditor) -> None:
    version = with_large_file(server)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"], audited.row["compared_by"]) == (CLEAN, "match", "digests")
    held = sum(map(len, server.artifacts.files(version.run_location).values()))
    assert audited.document["coverage"]["bytes_read"] == 2 * held


@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize("side", ["run_location", "reg_location"])
@pytest.mark.parametrize("damage", [last_byte, first_byte, cut, longer, emptied, Path.unlink])
def test_one_of_two_is_damaged(server: MlflowServer, audit: Auditor, damage: Callable[[Path], None], side: str) -> None:
    version = with_large_file(server)
    with server.artifacts.edit(getattr(version, side)) as directory:
        damage(directory / LARGE)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"]) == (FINDINGS, "mismatch")
    assert "RA001" in audited.rules
    assert [difference["path"] for difference in audited.row["differences"]] == [LARGE]


@pytest.fixture
def behind_proxy(mlflow_a: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Registered:
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)
    return with_large_file(mlflow_a)


def route_to(location: str) -> str:
    return f"{re.escape(location.removeprefix('mlflow-artifacts:'))}/{re.escape(LARGE)}$"


@pytest.mark.parametrize("side", ["run_location", "reg_location"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.reset(),
        faults.reset(after_bytes=SIZE - 10),
        faults.truncated("original"),
        faults.truncated("chunked-unfinished"),
        faults.status(429),
        faults.status(503, retry_after_seconds=0),
    ],
    ids=["reset", "reset-in-body", "cut", "cut-chunks", "429", "503-later"],
)
def test_one_of_two_breaks_off(
    proxy_a: FaultyProxy,
    behind_proxy: Registered,
    audit: Auditor,
    fault: Fault,
    times: int | None,
    side: str,
) -> None:
    rule = proxy_a.fault(fault, path=route_to(getattr(behind_proxy, side)), times=times)
    audited = audit(proxy_a.uri, "--model", behind_proxy.name)
    expected = (CLEAN, "match", set()) if times else (INCOMPLETE, "unverifiable", {"RA009"})
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == expected
    assert rule.hits


@pytest.mark.parametrize("side", ["run_location", "reg_location"])
def test_one_of_two_comes_with_wrong_bytes(
    proxy_a: FaultyProxy, behind_proxy: Registered, audit: Auditor, side: str
) -> None:
    proxy_a.fault(faults.wrong_bytes(), path=route_to(getattr(behind_proxy, side)))
    audited = audit(proxy_a.uri, "--model", behind_proxy.name)
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (FINDINGS, "mismatch", {"RA001"})
