"""`--digest`: the digests in a report are what anybody else computes over the same bytes, on every kind of store."""

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3
from support import damage
from support.auditing import Auditor
from support.processes import free_port
from support.registry import Registered, Registry
from support.servers import MlflowServer

DIGESTS: dict[str, Callable[[bytes], Any]] = {"sha256": hashlib.sha256, "blake3": blake3}
# Larger than what is digested apart from reading it, and than a range of it.
FILES = {"large.bin": bytes(range(251)) * 40_000, "empty.bin": b""}


@pytest.fixture(params=["mlflow_local", "mlflow_a", "mlflow_s3_direct"])
def server(request: pytest.FixtureRequest) -> MlflowServer:
    if request.param == "mlflow_s3_direct":
        request.getfixturevalue("s3_environment")
    found: MlflowServer = request.getfixturevalue(request.param)
    return found


def manifest_digest(server: MlflowServer, version: Registered, algorithm: str) -> str:
    digest = DIGESTS[algorithm]
    lines = (
        f"{algorithm}:{digest(content).hexdigest()} {len(content)} {json.dumps(path)}\n"
        for path, content in sorted(server.artifacts.files(version.run_location).items())
    )
    return f"{algorithm}:{digest(''.join(lines).encode()).hexdigest()}"


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_digests_are_what_they_say(server: MlflowServer, audit: Auditor, algorithm: str) -> None:
    registry = Registry(server)
    version = registry.add(logged=registry.log_run_model(seed=11, files=FILES), separate=True)
    audited = audit(server.uri, "--model", version.name, "--digest", algorithm)
    assert (audited.exit_status, audited.row["verdict"]) == (0, "match")
    expected = manifest_digest(server, version, algorithm)
    assert audited.row["run_model"]["manifest_digest"] == audited.row["reg_model"]["manifest_digest"] == expected


def test_damage_shows_with_blake3_too(server: MlflowServer, audit: Auditor) -> None:
    registry = Registry(server)
    version = registry.add(logged=registry.log_run_model(seed=12, files=FILES), separate=True)
    with server.artifacts.edit(version.reg_location) as directory:
        damage.change_nested_file(directory)
    audited = audit(server.uri, "--model", version.name, "--digest", "blake3")
    assert (audited.exit_status, audited.row["verdict"], audited.rules) == (1, "mismatch", {"RA001"})
    (difference,) = audited.row["differences"]
    assert [digest.partition(":")[0] for digest in difference["digests"].values()] == ["blake3", "blake3"]


def test_a_package_that_is_missing_is_said_before_a_server_is_asked(
    audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = audit.command("audit", "--tracking-uri", nowhere, "--ledger", "none", "--digest", "blake3")
    assert done.exit_status == 2
    assert "pip install 'mlflow-registry-audit[blake3]'" in done.stderr
