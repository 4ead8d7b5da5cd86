"""`registry-audit doctor`: what can be reached, in seconds, and nothing is written."""

from pathlib import Path

import pytest
from support.ledgers import registry_audit
from support.processes import free_port
from support.registry import Registry
from support.servers import MlflowServer, mlflow_server

CLEAN, USAGE, INCOMPLETE, LEDGER = 0, 2, 3, 4


def test_a_healthy_installation(tmp_path: Path) -> None:
    """A server of its own: doctor looks at the newest versions, and other tests leave sick ones."""
    with mlflow_server(tmp_path) as server:
        Registry(server).add("doctor")
        said = registry_audit("doctor", "--tracking-uri", server.uri, "--ledger", "none")
    assert said.exit_status == CLEAN, said
    shown = [line.split()[:2] for line in said.stdout.splitlines()]
    assert ["ok", "server"] in shown
    assert ["ok", "store"] in shown
    assert "nothing will be remembered" in said.stdout


@pytest.mark.parametrize(
    ("uri", "status", "says"),
    [
        ("http://127.0.0.1:{port}", INCOMPLETE, "nothing listens there"),
        ("localhost:{port}", USAGE, "write http://localhost:{port}"),
        ("sqlite:////no/such/mlflow.db", USAGE, "there is no database"),
    ],
)
def test_what_is_wrong_is_said(uri: str, status: int, says: str) -> None:
    port = free_port()
    said = registry_audit("doctor", "--tracking-uri", uri.format(port=port), "--ledger", "none")
    assert (said.exit_status, says.format(port=port) in said.stdout) == (status, True), said
    assert "Traceback" not in said.stdout + said.stderr


def test_a_ledger_that_is_none(mlflow_a: MlflowServer, tmp_path: Path) -> None:
    missing = f"sqlite:///{tmp_path}/none.db"
    said = registry_audit("doctor", "--tracking-uri", mlflow_a.uri, "--ledger", missing)
    assert (said.exit_status, "unusable   ledger" in said.stdout) == (LEDGER, True), said
    assert not list(tmp_path.iterdir())
