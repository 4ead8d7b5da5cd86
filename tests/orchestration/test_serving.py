"""`python -m flows.serve`: schedules, runs that are asked for, and audits on registration, by one process."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.processes import free_port, server_process, wait_until
from support.registry import Registry

from .conftest import CHECKOUT, FlowRun, own_server
from .test_on_registration import SECRET, _delivery, _signed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_everything_is_served_by_one_process(registry: Registry, tmp_path: Path) -> None:
    version, port = registry.add(separate=True), free_port()

    def finished(run_id: str) -> FlowRun:
        run = FlowRun(server, run_id)
        wait_until(
            lambda: run.ended_as[0] not in ("SCHEDULED", "PENDING", "RUNNING"),
            timeout_seconds=240,
            what=f"not finished: {run.ended_as}",
        )
        return run

    def listens() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok and bool(
                server.post("deployments/filter")
            )
        except requests.RequestException:
            return False

    with own_server(tmp_path, free_port()) as server:
        own = server.environment | {
            "REGISTRY_AUDIT_WEBHOOK_SECRET": SECRET,
            "REGISTRY_AUDIT_HOME": str(tmp_path / "ours"),
            "REGISTRY_AUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "MLFLOW_TRACKING_URI": registry.server.uri,
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        }
        with server_process(
            [sys.executable, "-m", "flows.serve", "--port", str(port), "--delay", "0", "--again", "0"],
            log=tmp_path / "serve.log",
            ready=listens,
            environment=os.environ | own | {"REGISTRY_AUDIT_LEDGER": ""},
            directory=CHECKOUT,
            timeout_seconds=180,
        ):
            project: dict[str, Any] = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
            wait_until(
                lambda: len(server.post("deployments/filter")) == len(project["deployments"]),
                timeout_seconds=120,
                what="not every deployment is there",
            )
            nightly = server.deployment("audit-registry/nightly")
            assert nightly["work_pool_name"] is None
            assert [s["schedule"]["cron"] for s in nightly["schedules"]] == ["0 2 * * MON-SAT"]
            assert nightly["parameters"] == {"quick": True, "accept_new": True}

            mistyped = {"parameters": {"models": ["Wine"], "quik": True}}
            refused = server.ask("POST", f"deployments/{nightly['id']}/create_flow_run", mistyped)
            assert refused.status_code == 409, refused.text

            body, headers = _delivery(name=version.name, version="1")
            told = requests.post(f"http://127.0.0.1:{port}/", data=body, headers=headers | _signed(body), timeout=30)
            assert told.status_code == 202
            audited = finished(told.json()["said"].rpartition(" ")[2])
            assert audited.ended_as == ("COMPLETED", "Completed"), audited.log

            check = server.deployment("check-model-version/ad-hoc")["id"]
            asked = {"model": version.name, "version_or_stage": "1"}
            checked = finished(server.post(f"deployments/{check}/create_flow_run", parameters=asked)["id"])
            assert checked.ended_as == ("COMPLETED", "Completed"), checked.log
            assert f"{version.name}/1: match" in checked.record["state"]["message"]
