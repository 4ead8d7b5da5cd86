"""`pull-model`, the task for a flow of one's own, on a real Prefect server."""

from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from support import damage
from support.artifacts import read_files
from support.auditing import Auditor
from support.registry import Registry

from tasks.pull_model import pull_model

from .conftest import RunFlow


@flow(persist_result=False)
def deploy(version: str, output: str, ledger: str, tracking_uri: str) -> int:
    return pull_model(version, Path(output), ledger=ledger, tracking_uri=tracking_uri).file_count


@pytest.mark.parametrize("damaged", [False, True])
def test_a_flow_goes_on_only_with_the_accepted_bytes(
    run_flow: RunFlow, audit: Auditor, registry: Registry, tmp_path: Path, damaged: bool
) -> None:
    version, output = registry.add(seed=1), tmp_path / "model"
    label, uri = f"{version.name}/{version.version}", registry.server.uri
    where: dict[str, Any] = {"ledger": f"sqlite:///{tmp_path / 'ledger.db'}", "tracking_uri": uri}
    audit(uri, "--model", version.name, "--ledger", where["ledger"], "--accept-new")
    if damaged:
        with registry.server.artifacts.edit(version.reg_location) as directory:
            damage.flip_byte(directory)
    run = run_flow(deploy, version=label, output=str(output), **where)
    assert [task_run["name"] for task_run in run.task_runs] == [f"pull-model · {label}"]
    if damaged:
        assert (run.ended_as, output.exists()) == (("FAILED", "Failed"), False)
        assert f"{label} is not what" in run.log
    else:
        assert run.ended_as == ("COMPLETED", "Completed")
        assert read_files(output) == registry.server.artifacts.files(version.reg_location)
