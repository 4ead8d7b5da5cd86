"""Two large copies behind a real server: whatever one of them lacks or holds more is said."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import faults
from support.auditing import Auditor
from support.faulty_proxy import FaultyProxy
from support.pairwise import pairwise
from support.registry import Registered, Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

from registry_audit.audit import reading

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
LARGE = "weights.bin"
SIZE = reading._LARGE_BYTES + 1_000_003
SERVERS = ("mlflow_a", "mlflow_s3_direct")  # through the artifact proxy; from the bucket itself
SIDES = ("run_location", "reg_location")


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


def _name(value: Callable[[Path], None] | str) -> str:
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_two_equal_copies(server: MlflowServer, audit: Auditor) -> None:
    version = with_large_file(server)
    audited = audit(server.uri, "--model", version.name)
    assert (audited.exit_status, audited.row["verdict"], audited.row["compared_by"]) == (CLEAN, "match", "digests")
    held = sum(map(len, server.artifacts.files(version.run_location).values()))
    assert audited.document["coverage"]["bytes_read"] == 2 * held


@pytest.mark.parametrize(
    ("damage", "side", "server"),
    pairwise([last_byte, first_byte, cut, longer, emptied, Path.unlink], SIDES, SERVERS, ids=_name),
    indirect=["server"],
)
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


FAULTS = {
    "reset": faults.reset(),
    "reset-in-body": faults.reset(after_bytes=SIZE - 10),
    "cut": faults.truncated("original"),
    "cut-chunks": faults.truncated("chunked-unfinished"),
    "429": faults.status(429),
    "503-later": faults.status(503, retry_after_seconds=0),
}


@pytest.mark.parametrize(("fault", "times", "side"), pairwise(list(FAULTS), ["once", "always"], SIDES))
def test_one_of_two_breaks_off(
    proxy_a: FaultyProxy,
    behind_proxy: Registered,
    audit: Auditor,
    fault: str,
    times: str,
    side: str,
) -> None:
    once = times == "once"
    rule = proxy_a.fault(FAULTS[fault], path=route_to(getattr(behind_proxy, side)), times=1 if once else None)
    audited = audit(proxy_a.uri, "--model", behind_proxy.name)
    expected = (CLEAN, "match", set()) if once else (INCOMPLETE, "unverifiable", {"RA009"})
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == expected
    assert rule.hits


@pytest.mark.parametrize("side", SIDES)
def test_one_of_two_comes_with_wrong_bytes(
    proxy_a: FaultyProxy, behind_proxy: Registered, audit: Auditor, side: str
) -> None:
    proxy_a.fault(faults.wrong_bytes(), path=route_to(getattr(behind_proxy, side)))
    audited = audit(proxy_a.uri, "--model", behind_proxy.name)
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (FINDINGS, "mismatch", {"RA001"})
