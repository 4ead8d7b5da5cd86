"""`compare-registries` from a workspace's registry to Unity Catalog: both are listed and read, whichever way."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import damage
from support.auditing import Auditor
from support.databricks import Logged, StandIn
from support.migrating import Compared

CLEAN, FINDINGS = 0, 1
WORKSPACE, CATALOG = "databricks://test_env", "databricks-uc://prod_env"


def _migrated(source: StandIn, target: StandIn, count: int) -> None:
    """As MLflow's `copy_model_version` does it, with the run's id and without tags."""
    for seed in range(count):
        version = source.register("Wine", seed=seed, stage="Production" if seed == count - 1 else "None")
        entry = source.models["Wine"][-1]
        target.register_in_catalog(
            "main.ml.wine", Logged(f"models:/Wine/{version.version}", version.reg, entry["run_id"])
        )
        target.catalog["main.ml.wine"][-1]["run_workspace_id"] = source.workspace_id


@pytest.fixture
def compared(audit: Auditor, tmp_path: Path) -> Callable[..., Compared]:
    """The command, by its command line."""

    def run(
        target: dict[str, str], *options: str, source: str = WORKSPACE, names: str = "Wine -> main.ml.wine"
    ) -> Compared:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        (directory / "names").write_text(f"{names}\n", encoding="utf-8")
        config, report = directory / "config.yaml", directory / "report"
        config.write_text(yaml.safe_dump({"source": {"host": source}, "target": target}), encoding="utf-8")
        places = ("--config-file", str(config), "--map", str(directory / "names"), "--report-dir", str(report))
        done = audit.command("compare-registries", *places, *options)
        assert "Traceback" not in done.stderr, done.stderr
        assert "internal error" not in done.stdout + done.stderr, done.stdout
        return Compared(done.exit_status, done.stdout, done.stderr, report)

    return run


@pytest.mark.parametrize("page_size", [1, 100])
@pytest.mark.parametrize("target_is_elsewhere", [False, True], ids=["one-workspace", "two-workspaces"])
def test_from_the_workspace_to_unity_catalog(
    test_env: StandIn,
    prod_env: StandIn,
    compared: Callable[..., Compared],
    page_size: int,
    target_is_elsewhere: bool,
) -> None:
    """The runs stay where they are, so that the target's tracking server is the workspace of the source."""
    catalog = prod_env if target_is_elsewhere else test_env
    _migrated(test_env, catalog, 3)
    for service in (test_env, prod_env):
        service.faults.page_size = page_size
    registry = "databricks-uc://prod_env" if target_is_elsewhere else "databricks-uc://test_env"
    found = compared({"host": WORKSPACE, "registry_uri": registry})
    assert found.verdicts == dict.fromkeys(("Wine/1", "Wine/2", "Wine/3"), "match"), found.stdout
    assert not {"RA020", "RA021", "RA023"} & found.rules, found.stdout
    assert {row["found_by"] for row in found.rows.values()} == {"same_number"}
    assert len(set(catalog.paths(containing="/fs/files/Models/main/ml/wine/"))) == 3 * 7


def test_a_pattern_leads_to_the_catalog_in_any_case(
    test_env: StandIn, prod_env: StandIn, compared: Callable[..., Compared]
) -> None:
    """The workspace says Wine, and Unity Catalog keeps main.ml.wine."""
    _migrated(test_env, prod_env, 2)
    found = compared({"host": CATALOG}, names="* -> main.ML.*")
    assert {row["found_by"] for row in found.rows.values()} == {"same_number"}, found.stdout
    assert set(found.verdicts) == {"Wine/1", "Wine/2"}


def test_a_target_whose_runs_are_elsewhere_is_read_all_the_same(
    test_env: StandIn, prod_env: StandIn, compared: Callable[..., Compared]
) -> None:
    _migrated(test_env, prod_env, 2)
    found = compared({"host": CATALOG})
    assert {row["found_by"] for row in found.rows.values()} == {"same_number"}, found.stdout
    assert len(prod_env.paths(containing="/fs/files/Models/main/ml/wine/")) == 2 * 7
    assert not {"RA020", "RA021", "RA023"} & found.rules


def test_a_change_and_a_loss_are_found(test_env: StandIn, prod_env: StandIn, compared: Callable[..., Compared]) -> None:
    _migrated(test_env, prod_env, 3)
    damage.flip_byte(prod_env.files / "uc/main/ml/wine/2")
    prod_env.catalog["main.ml.wine"].pop()
    found = compared({"host": WORKSPACE, "registry_uri": CATALOG})
    assert found.exit_status == FINDINGS
    assert {"RA020", "RA021"} <= found.rules, found.stdout


def test_between_two_metastores(test_env: StandIn, prod_env: StandIn, compared: Callable[..., Compared]) -> None:
    """Each profile's requests go to its own workspace, which the stand-ins themselves hold everybody to."""
    for service in (test_env, prod_env):
        service.register_in_catalog("main.ml.wine", service.log_model(seed=1, number=7), alias="champion")
    found = compared({"host": CATALOG}, source="databricks-uc://test_env", names="main.ml.wine -> main.ml.wine")
    assert found.verdicts == {"main.ml.wine/1": "match"}, found.stdout
    assert found.exit_status == CLEAN, found.stdout


@pytest.mark.parametrize("owner", ["Zoe", "somebody else"])
def test_tags_of_unity_catalog(
    test_env: StandIn, prod_env: StandIn, compared: Callable[..., Compared], owner: str
) -> None:
    """No listing holds them: each version is asked for its own."""
    for service, said in ((test_env, "Zoe"), (prod_env, owner)):
        service.register_in_catalog("main.ml.wine", service.log_model(seed=1, number=7), tags={"owner": said})
    found = compared({"host": CATALOG}, source="databricks-uc://test_env", names="main.ml.wine -> main.ml.wine")
    assert found.rules == (set() if owner == "Zoe" else {"RA022"}), found.stdout
    assert found.verdicts == {"main.ml.wine/1": "match"}
