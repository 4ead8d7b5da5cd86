"""The Workspace Model Registry, end to end on the stand-in: what it holds, and what is wrong with it."""

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import Logged, StandIn

CLEAN, FINDINGS, USAGE, INCOMPLETE = 0, 1, 2, 3
URI = "databricks://test_env"


def test_sound_and_damaged(test_env: StandIn, audit: Auditor) -> None:
    test_env.register("Wine", seed=1, stage="Production")
    damaged = test_env.register("Wine", seed=2)
    damage.flip_byte(damaged.reg)
    audited = audit(URI)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.stderr
    assert audited.exit_status == FINDINGS
    assert "internal error" not in audited.everything


@pytest.mark.parametrize("damaged", ["Wine", "team.wine.v1"])
def test_a_name_of_three_levels_is_its_own(test_env: StandIn, audit: Auditor, damaged: str) -> None:
    """Though it was copied into Unity Catalog under the same name; a version may have it as its source, too."""
    logged = test_env.log_model(seed=1)
    versions = {name: test_env.register(name, logged) for name in ("Wine", "team.wine.v1")}
    test_env.register("Copy", Logged("models:/team.wine.v1/1", logged.directory, logged.run_id))
    elsewhere = test_env.register_in_catalog("team.wine.v1", logged)
    damage.flip_byte(versions[damaged].reg)
    wrong = {damaged} | ({"Copy"} if damaged == "team.wine.v1" else set())
    audited = audit(URI)
    assert {row["name"] for row in audited.rows if row["verdict"] == "mismatch"} == wrong, audited.everything
    assert {row["verdict"] for row in audited.rows if row["name"] not in wrong} == {"match"}
    assert audit.command("check", f"{damaged}/1", "--tracking-uri", URI).exit_status == FINDINGS
    damage.change_nested_file(elsewhere.reg)
    assert {row["name"] for row in audit(URI).rows if row["verdict"] == "mismatch"} == wrong


@pytest.mark.parametrize("page_size", [1, 2])
def test_pages(test_env: StandIn, audit: Auditor, page_size: int) -> None:
    for name in ("Iris", "Wine", "Zoo"):
        for seed in range(3):
            test_env.register(name, seed=seed)
    test_env.faults.page_size, test_env.faults.empty_page_first = page_size, True
    audited = audit(URI)
    assert (audited.exit_status, len(audited.rows)) == (CLEAN, 9), audited.stderr
    assert {row["verdict"] for row in audited.rows} == {"match"}
