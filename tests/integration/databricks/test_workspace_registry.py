"""The Workspace Model Registry, end to end on the stand-in: what it holds, and what is wrong with it."""

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import StandIn

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


@pytest.mark.parametrize("page_size", [1, 2])
def test_pages(test_env: StandIn, audit: Auditor, page_size: int) -> None:
    for name in ("Iris", "Wine", "Zoo"):
        for seed in range(3):
            test_env.register(name, seed=seed)
    test_env.faults.page_size, test_env.faults.empty_page_first = page_size, True
    audited = audit(URI)
    assert (audited.exit_status, len(audited.rows)) == (CLEAN, 9), audited.stderr
    assert {row["verdict"] for row in audited.rows} == {"match"}
