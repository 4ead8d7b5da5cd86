"""Audits of one registry never overlap, a killed one does not block for ever, a restarted server forgets nothing."""

import signal
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from support.processes import free_port, wait_until
from support.registry import Registry

from flows import audit_registry as flow_module
from flows import registry_lock
from flows.audit_registry import audit_registry
from flows.registry_lock import LEASE_SECONDS, limit_name
from registry_audit.audit.work_directory import WorkDirectory

from .conftest import PrefectServer, Program, RunFlow, own_server

_SLOW_AUDIT = """
import sys, time
import flows.audit_registry as flow
from flows import registry_lock
registry_lock.LEASE_SECONDS = 60.0
list_versions = flow.list_versions
def listed(job):
    open(sys.argv[2], "w").close()
    time.sleep(600)
flow.list_versions = listed
flow.audit_registry(tracking_uri=sys.argv[1], ledger="none", return_state=True)
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_lock, "_ASKED_EVERY_SECONDS", 0.2)
    monkeypatch.setattr(registry_lock, "_RENEWED_EVERY_SECONDS", 0.2)


def _limit(server: PrefectServer, uri: str) -> dict[str, Any]:
    return dict(server.get(f"v2/concurrency_limits/{limit_name(uri)}"))


def test_one_name_for_every_spelling_of_a_registry() -> None:
    assert limit_name("http://bob:pw@Host:80/") == limit_name("http://host")
    assert limit_name("http://host") != limit_name("http://host:5000")
    hostile = limit_name("http://host/%2F?a=<b>&c=\udcff" + "x" * 300)
    assert set(hostile).isdisjoint("/%&<>")
    assert len(hostile) < 100


def test_a_second_one_waits_and_says_so(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry, tmp_path: Path, program: Program
) -> None:
    version = registry.add(separate=True)
    uri = registry.server.uri
    began = tmp_path / "began"
    process = program.start("-c", _SLOW_AUDIT, uri, str(began))
    try:
        wait_until(began.exists, timeout_seconds=90, what="the first audit has not begun")
        assert _limit(prefect_server, uri)["active_slots"] == 1
        ended = []
        second = threading.Thread(
            target=lambda: ended.append(
                program("-m", "flows.audit_registry", "--tracking-uri", uri, "--model", version.name)
            )
        )
        second.start()
        waiting = {"state": {"name": {"any_": ["Waiting"]}}}
        wait_until(
            lambda: bool(prefect_server.post("flow_runs/filter", flow_runs=waiting)),
            timeout_seconds=90,
            what="nobody waits",
        )
        (run,) = prefect_server.post("flow_runs/filter", flow_runs=waiting)
        assert run["state_type"] == "RUNNING"
        assert limit_name(uri) in run["state"]["message"]
        # It ends as an interrupted one does: it gives its slot back.
        process.send_signal(signal.SIGINT)
        second.join(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert ended[0].exit_status == 0, ended[0].stderr
    assert "waiting: another audit of this registry is running" in ended[0].stderr
    assert _limit(prefect_server, uri)["active_slots"] == 0


def test_another_registry_does_not_wait(run_flow: RunFlow, registry: Registry, mlflow_a: Any) -> None:
    version, other = registry.add(separate=True), Registry(mlflow_a).add(separate=True)
    work = WorkDirectory(uuid.uuid4().hex)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.parameters.this_run", lambda: str(uuid.uuid4()))
        patch.setattr("flows.registry_lock.get_run_logger", lambda: None)
        with registry_lock.only_audit_of(registry.server.uri, work):
            patch.undo()
            run = run_flow(audit_registry, tracking_uri=mlflow_a.uri, models=[other.name], ledger="none")
    assert run.ended_as == ("COMPLETED", "Completed")
    assert run_flow(
        audit_registry, tracking_uri=registry.server.uri, models=[version.name], ledger="none"
    ).ended_as == ("COMPLETED", "Completed")


def test_its_slot_is_free_before_a_run_says_how_it_ended(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed in between, and tried again, would wait for itself."""
    version, taken = registry.add(separate=True), []
    ended = flow_module.ended

    def noted(*arguments: Any) -> Any:
        taken.append(_limit(prefect_server, registry.server.uri)["active_slots"])
        return ended(*arguments)

    monkeypatch.setattr(flow_module, "ended", noted)
    run = run_flow(audit_registry, tracking_uri=registry.server.uri, models=[version.name], ledger="none")
    assert run.ended_as == ("COMPLETED", "Completed")
    assert taken == [0]


def test_a_slot_that_could_not_be_given_back_is_taken_over(tmp_path: Path) -> None:
    slot = registry_lock._Slot("limit", tmp_path / "lease", uuid.uuid4())
    slot._lease = uuid.uuid4()
    (tmp_path / "lease").write_text(str(slot._lease), encoding="ascii")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        slot.give_back()
    assert (tmp_path / "lease").read_text(encoding="ascii") == str(slot._lease)


@pytest.mark.slow
def test_a_killed_one_does_not_block_for_ever(
    prefect_server: PrefectServer, run_flow: RunFlow, registry: Registry, tmp_path: Path, program: Program
) -> None:
    version = registry.add(separate=True)
    began = tmp_path / "began"
    process = program.start("-c", _SLOW_AUDIT, registry.server.uri, str(began))
    wait_until(began.exists, timeout_seconds=90, what="the first audit has not begun")
    process.kill()
    process.wait()
    assert _limit(prefect_server, registry.server.uri)["active_slots"] == 1
    run = run_flow(audit_registry, tracking_uri=registry.server.uri, models=[version.name], ledger="none")
    assert run.ended_as == ("COMPLETED", "Completed")
    assert "waiting: another audit of this registry is running" in run.log


@pytest.mark.slow
def test_a_restarted_server_knows_who_has_the_slot(tmp_path: Path) -> None:
    """With Prefect's own default it does not: the lease is gone, the slot taken for ever."""
    port, limit = free_port(), limit_name("http://host")
    slot = registry_lock._Slot(limit, tmp_path / "lease", uuid.uuid4())
    for again in (False, True):
        with own_server(tmp_path, port) as server, get_client(sync_client=True) as usual:
            client = type(usual)(server.api_url)
            with client:
                if not again:
                    slot.make(client)
                    assert slot._take(client)
                    continue
                assert not registry_lock._Slot(limit, tmp_path / "other", uuid.uuid4())._take(client)
                assert slot._renew(client)
                with temporary_settings({PREFECT_API_URL: server.api_url}):
                    slot.give_back()
                assert slot._take(client)
    assert LEASE_SECONDS >= 60
