"""What cannot be looked at is `unverifiable`, on whichever side it is and whatever asks: it never becomes a difference.

The disk itself refuses to list a directory whose path is longer than the system takes, also to an administrator.
"""

import os
from pathlib import Path

import pytest
import yaml
from support import faults
from support.auditing import Audited, Auditor
from support.faulty_proxy import LISTINGS, FaultyProxy
from support.pairwise import pairwise
from support.registry import Registered, Registry
from support.servers import MlflowServer

INCOMPLETE = 3
LONGEST = os.pathconf("/", "PC_PATH_MAX")
ASKING = ("audit", "check", "compare")


def asked(how: str, audit: Auditor, uri: str, version: Registered, other: Registered | None = None) -> Audited:
    """What is said of a version; where two are compared, `other` is the second one."""
    match how:
        case "audit":
            return audit(uri, "--model", version.name)
        case "check":
            return audit.command(
                "check", f"{version.name}/{version.version}", "--tracking-uri", uri, "--ledger", "none"
            )
        case _:
            servers = {
                f"tracking_server_{n}": {"host": uri, "model": one.name, "version_or_stage": one.version}
                for n, one in enumerate((version, other or version), 1)
            }
            file = audit.working_directory.parent / "compare.yaml"
            file.write_text(yaml.safe_dump(servers))
            kept = str(file.with_name("kept"))
            return audit.command("compare", "--config-file", str(file), "--download-dir", kept, "--ledger", "none")


def must_be_unverifiable(told: Audited) -> None:
    said = told.stdout + told.stderr
    assert told.exit_status == INCOMPLETE, said
    assert "RA009" in said or "unverifiable" in said
    assert "RA001" not in said
    assert "mismatch" not in said


def too_deep(root: Path) -> None:
    """A file in directories below the root, of which the last one has a path that no call takes."""
    at, length = os.open(root, os.O_RDONLY), len(os.fsencode(root))
    while length <= LONGEST:
        name = "d" * 200
        os.mkdir(name, dir_fd=at)
        inner = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at, length = inner, length + 1 + len(name)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


@pytest.mark.parametrize("how", ASKING)
@pytest.mark.parametrize("side", ["the run model", "the registry model"])
def test_a_directory_that_cannot_be_listed(mlflow_local: MlflowServer, audit: Auditor, how: str, side: str) -> None:
    registry = Registry(mlflow_local)
    version = registry.add(separate=True)
    other = registry.add(logged=registry.log_run_model(seed=0))
    too_deep(mlflow_local.artifacts.path(version.run_location if side == "the run model" else version.reg_location))
    pair = (version, other) if side == "the run model" else (other, version)
    must_be_unverifiable(asked(how, audit, mlflow_local.uri, *(pair if how == "compare" else (version,))))


@pytest.mark.parametrize(
    ("how", "name", "side"),
    pairwise(ASKING, ["data/100%.bin", "data/a#b", "data/C:x"], ["the run model", "the registry model", "both"]),
)
def test_a_name_that_a_proxy_cannot_carry(
    mlflow_a: MlflowServer, audit: Auditor, how: str, name: str, side: str
) -> None:
    registry = Registry(mlflow_a)
    version, other = registry.add(separate=True), registry.add()
    for where, location in (("the run model", version.run_location), ("the registry model", version.reg_location)):
        if side in (where, "both"):
            with registry.server.artifacts.edit(location) as model:
                (model / name).parent.mkdir(exist_ok=True)
                (model / name).write_bytes(b"x")
    must_be_unverifiable(asked(how, audit, mlflow_a.uri, version, other))


@pytest.mark.parametrize("how", ASKING)
@pytest.mark.parametrize("copy", [0, 1])
def test_one_listing_that_fails(
    mlflow_a: MlflowServer, proxy_a: FaultyProxy, audit: Auditor, monkeypatch: pytest.MonkeyPatch, how: str, copy: int
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry(mlflow_a)
    version, other = registry.add(separate=True), registry.add()
    place = (version.run_id, version.reg_location.split("/")[-2])[copy]
    rule = proxy_a.fault(faults.status(500), path=rf"{LISTINGS}.*{place}.*data")
    told = asked(how, audit, proxy_a.uri, version, other)
    assert rule.hits
    must_be_unverifiable(told)
