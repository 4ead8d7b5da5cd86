"""Servers as teams put them up: behind a sign-in and below a path of a shared host, or with workspaces."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from support import damage
from support.auditing import Auditor
from support.migrating import compare
from support.registry import Registry
from support.servers import mlflow_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLEAN, FINDINGS, USAGE = 0, 1, 2
USER, PASSWORD = "auditor", "a pass word/1"


@pytest.fixture
def ledger(tmp_path: Path) -> tuple[str, ...]:
    return "--ledger", f"sqlite:///{tmp_path / 'ledger.db'}"


def test_a_sign_in_below_a_path(
    tmp_path: Path, audit: Auditor, ledger: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "server"
    directory.mkdir()
    with mlflow_server(directory, basic_auth=True, static_prefix="/team/mlflow") as server:
        registry = Registry(server)
        healthy, overwritten = registry.add(separate=True), registry.add(seed=1)
        server.add_user(USER, PASSWORD)
        first = audit(server.uri_as(USER, PASSWORD), *ledger, "--accept-new")
        assert (first.exit_status, len(first.rows)) == (CLEAN, 2), first.stderr
        with server.artifacts.edit(overwritten.reg_location) as files:
            damage.flip_byte(files)
        address = f"http://{server.host}"
        assert address.endswith("/team/mlflow")
        nobody = audit.command("audit", "--tracking-uri", address, *ledger)
        assert (nobody.exit_status, "MLFLOW_TRACKING_USERNAME" in nobody.stderr) == (USAGE, True), nobody.stderr
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        second = audit(address, *ledger)
    found = {row["name"]: {finding["rule"] for finding in row["findings"]} for row in second.rows}
    assert found == {healthy.name: set(), overwritten.name: {"RA002"}}, second.stderr
    assert PASSWORD not in first.everything + second.everything


def test_each_workspace_is_a_registry(
    tmp_path: Path, audit: Auditor, ledger: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "server"
    directory.mkdir()
    with mlflow_server(directory, more_options=("--enable-workspaces",)) as server:
        for team in ("team-a", "team-b"):
            MlflowClient(server.uri, server.uri).create_workspace(team)
            monkeypatch.setenv("MLFLOW_WORKSPACE", team)
            version = Registry(server, has_workspaces=True).add("Wine", seed=ord(team[-1]))
            accepted = audit(server.uri, *ledger, "--accept-new")
            assert (accepted.exit_status, len(accepted.rows)) == (CLEAN, 1), accepted.stderr
        with server.artifacts.edit(version.reg_location) as files:  # of the last team's
            damage.flip_byte(files)
        second = {}
        for team in ("team-a", "team-b"):
            monkeypatch.setenv("MLFLOW_WORKSPACE", team)
            second[team] = audit(server.uri, *ledger)
        monkeypatch.delenv("MLFLOW_WORKSPACE")
        unnamed = audit(server.uri, *ledger)
        compared = compare(server.uri, server.uri, tmp_path)
    assert [audited.exit_status for audited in second.values()] == [CLEAN, FINDINGS]
    assert (second["team-a"].rules, second["team-b"].rules) == (set(), {"RA002"})
    assert [audited.document["registry"]["workspace"] for audited in second.values()] == ["team-a", "team-b"]
    assert unnamed.rows == [], "what another workspace holds is nothing to the default one"
    assert "only the default workspace was audited; the server has 2 more (team-a, team-b)" in str(unnamed.document)
    assert "only the default workspace was compared; the server has 2 more (team-a, team-b)" in compared.stdout
