"""Two workspaces with the same names at the same paths and other bytes: the profile that is named decides, alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import damage
from support.auditing import SECONDS, Auditor
from support.databricks import StandIn, profiles
from support.processes import free_port

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3


def _twins(one: StandIn, other: StandIn) -> None:
    for seed, service in ((1, one), (2, other)):
        service.register("Sklearn_Wine", service.log_model(seed=seed, number=7), stage="Staging")


@pytest.mark.parametrize("ambient", ["nothing", "environment", "DEFAULT profile"])
def test_credentials_of_another_workspace_change_nothing(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ambient: str
) -> None:
    _twins(test_env, prod_env)
    damage.flip_byte(prod_env.register("Sklearn_Wine", prod_env.log_model(seed=3, number=8)).reg)
    test_env.register("Sklearn_Wine", test_env.log_model(seed=3, number=8))
    if ambient == "environment":
        monkeypatch.setenv("DATABRICKS_HOST", prod_env.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", prod_env.token)
        monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "prod_env")
    if ambient == "DEFAULT profile":
        file = profiles(tmp_path / "with-default", DEFAULT=prod_env, test_env=test_env, prod_env=prod_env)
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    audited = audit("databricks://test_env")
    assert (audited.exit_status, [row["verdict"] for row in audited.rows]) == (CLEAN, ["match", "match"]), (
        audited.stderr
    )
    assert prod_env.asked == []
    test_env.asked.clear()
    audited = audit("databricks://prod_env")
    assert (audited.exit_status, [row["verdict"] for row in audited.rows]) == (FINDINGS, ["match", "mismatch"])
    assert test_env.asked == []


def test_plain_databricks_is_the_default_one(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twins(test_env, prod_env)
    monkeypatch.setenv("DATABRICKS_HOST", prod_env.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", prod_env.token)
    monkeypatch.delenv("DATABRICKS_CONFIG_FILE")
    assert audit("databricks").exit_status == CLEAN
    assert test_env.asked == []


def test_the_configuration_of_the_documents(
    test_env: StandIn, prod_env: StandIn, audit: Auditor, tmp_path: Path
) -> None:
    """As it stands there, but for its mistake of giving one key twice."""
    test_env.register("Sklearn_Wine", test_env.log_model(seed=1, number=7), stage="Staging")
    prod_env.register("Sklearn_Wine_Imported", prod_env.log_model(seed=1, number=7), stage="Staging")
    config = tmp_path / "config.yaml"
    config.write_text(
        "tracking_server_01:\n"
        "  host: databricks://test_env\n"
        "  model: Sklearn_Wine\n"
        "  version_or_stage: staging\n"
        "  native_model: model.pkl\n"
        "tracking_server_02:\n"
        "  host: databricks://prod_env\n"
        "  model: Sklearn_Wine_Imported\n"
        "  version_or_stage: staging\n"
        "  native_model: model.pkl\n"
    )
    report = tmp_path / "compare.json"

    def compare() -> int:
        command = [sys.executable, "-m", "registry_audit", "compare", "--config-file", str(config)]
        more = ["--download-dir", str(tmp_path / f"download-{len(prod_env.asked)}"), "--report-file", str(report)]
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, check=False, timeout=SECONDS, cwd=audit.working_directory
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    assert compare() == CLEAN
    assert json.loads(report.read_text())["Comparison_Summary"] == {"run_model": True, "reg_model": True}
    prod_env.faults.bodies["model.pkl"] = b"\0" * 4096
    assert compare() == FINDINGS
    assert json.loads(report.read_text())["Comparison_Summary"] == {"run_model": False, "reg_model": False}
    assert not list(audit.working_directory.iterdir())


def test_one_registry_under_two_profiles_is_one(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    test_env.register("Wine", seed=1)
    file = profiles(tmp_path / "two-names", test_env=test_env, another=test_env)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    assert audit("databricks://test_env", "--ledger", ledger, "--accept-new").row["baseline"] == "new"
    assert audit("databricks://another", "--ledger", ledger).row["baseline"] == "unchanged"


def test_a_run_of_another_workspace_is_not_looked_for_here(
    test_env: StandIn, prod_env: StandIn, audit: Auditor
) -> None:
    """Two workspaces share one metastore: the version says which of them its run is in."""
    test_env.register_in_catalog("main.ml.wine", test_env.log_model(seed=1, number=7))
    test_env.catalog["main.ml.wine"][0]["run_workspace_id"] = prod_env.workspace_id
    audited = audit("databricks-uc://test_env")
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert prod_env.workspace_id in audited.everything


def test_a_dead_workspace(audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "dead"
    file.write_text(f"[dead]\nhost = http://127.0.0.1:{free_port()}\ntoken = t\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(file))
    audited = audit("databricks://dead")
    assert audited.exit_status == INCOMPLETE
    assert "does not answer" in audited.stderr
    assert len(audited.stderr.strip().splitlines()) == 1, audited.stderr


@pytest.mark.parametrize(
    ("uri", "arguments", "says"),
    [
        ("databricks://test_env", ("--model", "main.ml.wine"), "databricks-uc://PROFILE"),
        ("databricks://nobody", (), "databricks configure --profile nobody"),
        ("uc:http://127.0.0.1:1", (), "--registry-uri"),
    ],
)
def test_what_to_do_instead(test_env: StandIn, audit: Auditor, uri: str, arguments: tuple[str, ...], says: str) -> None:
    test_env.register("Wine")
    audited = audit(uri, *arguments)
    assert (audited.exit_status, says in audited.stderr) == (USAGE, True), audited.stderr


def test_a_refused_token(test_env: StandIn, audit: Auditor) -> None:
    test_env.faults.token_refused = True
    audited = audit("databricks://test_env")
    assert audited.exit_status == USAGE
    assert "refuses profile test_env" in audited.stderr
    assert test_env.token not in audited.everything
