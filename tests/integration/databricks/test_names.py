"""Names of Unity Catalog may be written in any capitals, and are kept without them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from support.auditing import Auditor
from support.databricks import Logged, StandIn

CLEAN, USAGE = 0, 2
URI, WORKSPACE = "databricks-uc://test_env", "databricks://test_env"
NAME, ASKED = "main.ml.wine", "Main.ML.Wine"

dialects = pytest.mark.parametrize("native", [False, True], ids=["mlflow-dialect", "native-dialect"])


@dialects
@pytest.mark.parametrize(
    "chosen", [("--model", ASKED), ("--model", "MAIN.*"), ("--filter", f"name='{ASKED}'")], ids=lambda chosen: chosen[1]
)
def test_an_audit(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, native: bool, chosen: Sequence[str]
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", str(native).lower())
    test_env.register_in_catalog(NAME, seed=1)
    test_env.register_in_catalog("other.ml.iris", seed=2)
    audited = audit(URI, *chosen)
    assert (audited.exit_status, [row["name"] for row in audited.rows]) == (CLEAN, [NAME]), audited.everything


@dialects
def test_a_baseline(
    test_env: StandIn, audit: Auditor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: bool
) -> None:
    """Also one that vanishes."""
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", str(native).lower())
    test_env.register_in_catalog(NAME, seed=1)
    test_env.register_in_catalog(NAME, seed=2)
    ledger = ("--tracking-uri", URI, "--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert audit(URI, *ledger[2:], "--accept-new").exit_status == CLEAN
    for command in (("check", f"{ASKED}/1"), ("baseline", "show", f"{ASKED}/1"), ("baseline", "history", f"{ASKED}/1")):
        done = audit.command(*command, *ledger)
        assert done.exit_status == CLEAN, done.stderr
    pulled = audit.command("pull", f"{ASKED}/1", "--output", str(tmp_path / "pulled"), *ledger)
    assert (pulled.exit_status, f"{NAME}/1: 7 files" in pulled.stdout) == (CLEAN, True), pulled.stderr
    test_env.catalog[NAME].pop()
    assert "RA011" in audit(URI, "--model", ASKED, *ledger[2:]).rules


@pytest.mark.parametrize("names", ["* -> main.ml.*", "Wine -> Main.ML.Wine", "Wine/1 -> MAIN.ml.wine/1"])
def test_a_migration_from_a_registry_with_capitals(
    test_env: StandIn, audit: Auditor, tmp_path: Path, names: str
) -> None:
    version = test_env.register("Wine", seed=1)
    run_id = test_env.models["Wine"][0]["run_id"]
    test_env.register_in_catalog(NAME, Logged("models:/Wine/1", version.reg, run_id), tags={"number": "1"})
    (tmp_path / "names").write_text(names, encoding="utf-8")
    config = {"source": {"host": WORKSPACE}, "target": {"host": URI}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    places = ("--config-file", str(tmp_path / "config.yaml"), "--map", str(tmp_path / "names"))
    done = audit.command("compare-registries", *places)
    assert (done.exit_status, "1 of 1 version is in the target" in done.stdout) == (CLEAN, True), done.stdout


def test_two_models_that_fall_together(test_env: StandIn, audit: Auditor, tmp_path: Path) -> None:
    for name in ("Wine", "wine"):
        test_env.register(name, seed=1)
    (tmp_path / "names").write_text("* -> main.ml.*", encoding="utf-8")
    config = {"source": {"host": WORKSPACE}, "target": {"host": URI}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    places = ("--config-file", str(tmp_path / "config.yaml"), "--map", str(tmp_path / "names"))
    done = audit.command("compare-registries", *places)
    assert (done.exit_status, "both mapped to 'main.ml.wine'" in done.stderr) == (USAGE, True), done.stderr
