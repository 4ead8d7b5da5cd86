"""Servers of the MLflow releases that people run, each filled by its own client, audited by http and by address."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from mlflow.version import VERSION as INSTALLED
from support.auditing import Audited, Auditor
from support.databases import everything_in
from support.old_mlflow import RELEASES
from support.old_servers import OldServer
from support.servers import MlflowServer

from registry_audit.registry.connection import Server, connect
from registry_audit.registry.registered_models import list_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True, slots=True)
class Expected:
    verdict: str
    rules: frozenset[str] = frozenset()
    since: tuple[int, ...] = ()


HEALTHY = Expected("same_storage")
# One table for every server: what is found after somebody overwrote one model and lost another.
TABLE = {
    "By-Place/1": HEALTHY,
    "By-Run/1": HEALTHY,
    "Copied/1": Expected("same_storage", since=(2, 8)),
    "Lost/1": Expected("unverifiable", frozenset({"RA002", "RA003"})),
    "Overwritten/1": Expected("same_storage", frozenset({"RA002"})),
    "Run-Deleted/1": Expected("same_storage", frozenset({"RA004"})),
    "Staged/1": HEALTHY,
    "Staged/2": HEALTHY,
}


def rows(old: OldServer) -> dict[str, Expected]:
    return {key: row for key, row in TABLE.items() if old.release.number >= row.since}


def rows_of(audited: Audited) -> dict[str, tuple[str, frozenset[str]]]:
    return {
        f"{row['name']}/{row['version']}": (row["verdict"], frozenset(finding["rule"] for finding in row["findings"]))
        for row in audited.rows
    }


def revision_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(revision)


def files_below(directory: Path) -> dict[str, str]:
    return {
        str(path): sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".log"
    }


@pytest.fixture(params=list(RELEASES.values()), ids=list(RELEASES))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> OldServer:
    return OldServer(request.param, tmp_path / "registry")


@pytest.fixture
def ledger(tmp_path: Path) -> tuple[str, ...]:
    return "--ledger", f"sqlite:///{tmp_path / 'ledger.db'}"


def audit_before_and_after_damage(
    old: OldServer, server: MlflowServer, audit: Auditor, ledger: tuple[str, ...]
) -> None:
    first = audit(server.uri, *ledger, "--accept-new")
    assert "Traceback" not in first.everything
    whole = {key: ("same_storage", row.rules & {"RA004"}) for key, row in rows(old).items()}
    assert rows_of(first) == whole, first.stderr
    aliases = {row["version"]: row["aliases"] for row in first.rows if row["name"] == "Staged"}
    assert aliases == {"1": ["champion"] if old.release.number >= (2, 3) else [], "2": []}
    listed, is_whole = list_models(connect(Server(server.uri)))
    assert is_whole
    models = {model.name: model.description for model in listed}
    assert models == dict.fromkeys(row.partition("/")[0] for row in rows(old)) | {"No-Versions": "none yet"}
    old.damage(server)
    before = everything_in(server.db_uri)
    second = audit(server.uri, *ledger)
    assert rows_of(second) == {key: (row.verdict, row.rules) for key, row in rows(old).items()}, second.stderr
    assert (second.exit_status, everything_in(server.db_uri)) == (1, before)
    says = old.release.version if old.release.number >= (2, 1) else "1.x"
    assert second.document["registry"]["mlflow_server"] == says
    if old.release.number < (2, 3):
        asked = audit.command("check", "Staged@champion", "--tracking-uri", server.uri, "--ledger", "none")
        assert (asked.exit_status, f"aliases came with MLflow 2.3, and the server runs {says}" in asked.stderr) == (
            2,
            True,
        )


def test_it_is_audited_through_its_artifact_proxy(old: OldServer, audit: Auditor, ledger: tuple[str, ...]) -> None:
    with old.serve(artifacts="local-proxied") as server:
        old.fill(server)
        audit_before_and_after_damage(old, server, audit, ledger)


def test_its_database_is_left_alone_and_it_starts_again(
    old: OldServer, audit: Auditor, ledger: tuple[str, ...]
) -> None:
    with old.serve(artifacts="local-direct") as server:
        old.fill(server)
        address = server.db_uri
    before = files_below(old.directory)
    audited = audit(address)
    assert files_below(old.directory) == before
    if old.release.version == INSTALLED:
        assert (audited.exit_status, len(audited.rows)) == (1, len(rows(old))), audited.stderr
    else:
        assert audited.exit_status == 2
        assert f"has the schema revision {revision_of(old.database)}; MLflow {INSTALLED} here needs" in audited.stderr
        assert "http address" in audited.stderr
    with old.serve(artifacts="local-direct") as server:
        audit_before_and_after_damage(old, server, audit, ledger)
