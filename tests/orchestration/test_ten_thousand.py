"""10,000 versions in one audit on the default set-up: no version lost, and no record of a run either."""

import json
from collections import Counter
from pathlib import Path

import pytest
from support.processes import wait_until

from benchmarks.generate import database_name, generate
from benchmarks.shapes import SHAPES
from flows.audit_registry import audit_registry
from flows.executors.batch_order import TASKS_PER_BATCH
from flows.executors.executor import batch_size_for

from .conftest import PrefectServer, RunFlow

pytestmark = pytest.mark.slow

VERSIONS = 10_000
TASK_RUNS = 2 + TASKS_PER_BATCH * VERSIONS // batch_size_for(VERSIONS)  # with the listing and the report
_ONCE = 200  # task runs that the server gives with one answer


@pytest.mark.timeout(900)
def test_every_version_is_audited_and_every_run_recorded(
    prefect_server: PrefectServer, run_flow: RunFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = SHAPES["small-10000"]
    assert shape.versions == VERSIONS
    generate(tmp_path / "registry", shape)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'registry' / database_name('local')}")
    run = run_flow(
        audit_registry,
        accept_new=True,
        ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
        report_dir=str(tmp_path / "report"),
    )
    assert run.ended_as == ("COMPLETED", "Completed"), run.log
    document = json.loads((tmp_path / "report" / "audit.json").read_text(encoding="utf-8"))
    assert document["coverage"]["audited"] == VERSIONS == len(document["versions"])

    def recorded() -> Counter[str]:
        states: Counter[str] = Counter()
        for offset in range(0, TASK_RUNS + _ONCE, _ONCE):
            wanted = {"id": {"any_": [run.id]}}
            page = prefect_server.post("task_runs/filter", flow_runs=wanted, limit=_ONCE, offset=offset)
            states.update(task_run["state_type"] for task_run in page)
        return states

    what = f"not all of {TASK_RUNS} task runs are recorded as completed"
    wait_until(lambda: recorded() == {"COMPLETED": TASK_RUNS}, timeout_seconds=120, what=what)
    assert {"registry-audit-summary", "registry-audit-findings", "registry-audit-progress"} <= run.artifacts.keys()
