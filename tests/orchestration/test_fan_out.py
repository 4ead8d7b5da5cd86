"""What the workers of a fanned-out audit share: a key that only Prefect keeps, and rows that only they can deliver."""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import State
from prefect.states import Completed, Pending, Running, Scheduled
from support.ledgers import row
from support.registry import Registry
from support.servers import MlflowServer

import flows.executors.fan_out
from flows.audit_part import audit_part
from flows.audit_registry import audit_registry
from flows.executors.part_key import forget_key, key_of, make_key
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.work_directory import Seal
from registry_audit.errors import UsageError
from registry_audit.ledger.connecting import open_ledger
from registry_audit.ledger.shared_work import SharedWork
from registry_audit.registry.connection import Server
from registry_audit.registry.versions import list_versions
from registry_audit.verdict import Verdict
from tasks import result_storage
from tasks.audit_session import Job, close_job, open_session
from tasks.result_storage import work_key

from .conftest import POOL, PrefectServer, RunFlow

BATCHES = tuple((row(f"model-{number}").version, row(f"model-{number}", "2").version) for number in range(3))


def test_the_key_of_an_audit_is_made_once_and_forgotten(prefect_server: PrefectServer) -> None:
    with pytest.raises(UsageError):
        key_of("An_audit-1")
    key = make_key("An_audit-1")
    assert len(key) == 32
    assert (make_key("An_audit-1"), key_of("An_audit-1")) == (key, key), "an audit that is resumed has its key"
    assert make_key("another") != key
    forget_key("An_audit-1")
    with pytest.raises(UsageError):
        key_of("An_audit-1")
    forget_key("another")
    forget_key("another")


@pytest.mark.parametrize(
    ("states", "is_over"),
    [
        (("scheduled",), False),
        (("pending",), False),
        (("running", "pending"), False),
        (("running",), True),  # and silent for long
        (("pending for an hour",), True),  # its worker died before it began
        (("submitting for an hour", "completed"), True),
        (("pending for an hour", "scheduled an hour ago"), False),
    ],
)
def test_an_audit_waits_only_for_workers_that_may_begin(
    states: tuple[str, ...], is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    state_of: dict[str, State[Any]] = {
        "scheduled": Scheduled(),
        "scheduled an hour ago": Scheduled(timestamp=long_ago),
        "pending": Pending(),
        "pending for an hour": Pending(timestamp=long_ago),
        "submitting for an hour": Pending(name="Submitting", timestamp=long_ago),
        "running": Running(),
        "completed": Completed(),
    }
    runs = [SimpleNamespace(state=state_of[state]) for state in states]
    monkeypatch.setattr(flows.executors.fan_out, "_read", lambda run_ids: runs)
    job = Job(Server("http://127.0.0.1:2"), AuditOptions(tracking_uri="http://127.0.0.1:2"), "audit")
    workers = flows.executors.fan_out.FanOut(job, len(states), lost_after_seconds=1.0)
    assert workers._nobody_is_at_it([], time.monotonic() - 2) is is_over


def test_forged_rows_cost_the_versions_of_their_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.executors.fan_out, "get_run_logger", lambda: logging.getLogger("test"))
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    work, forger = SharedWork(ledger, "audit", Seal(b"k" * 32)), SharedWork(ledger, "audit", Seal(b"guessed"))
    work.offer(BATCHES, "key")
    for position, by in ((0, work), (1, forger)):
        work.take("one", "key")
        assert by.deliver("one", position, [row(version.name, version.version) for version in BATCHES[position]])
    found = [flows.executors.fan_out._rows(work, position, batch) for position, batch in enumerate(BATCHES)]
    assert [tuple(audit.version for audit in batch) for batch in found] == list(BATCHES)
    assert [{audit.verdict for audit in batch} for batch in found] == [
        {Verdict.SAME_STORAGE},
        {Verdict.UNVERIFIABLE},
        {Verdict.UNVERIFIABLE},
    ]
    assert "not put there by this audit's workers" in str(found[1][0].reason)
    assert "worker was lost" in str(found[2][0].reason)


@pytest.mark.postgres
def test_an_audit_whose_pool_has_no_room_for_its_workers_does_their_work(
    deployed: PrefectServer,
    run_flow: RunFlow,
    registry: Registry,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where it holds the only slot itself: it would wait for them, and they for it."""
    name = registry.new_name()
    for seed in range(3):
        registry.add(name, seed=seed, separate=True)
    monkeypatch.setenv("REGISTRY_AUDIT_LEDGER", postgres_url)
    monkeypatch.setattr("flows.executors.executor.LOST_AFTER_SECONDS", 1.0)
    open_ledger(postgres_url, create=True).close()
    deployed.patch(f"work_pools/{POOL}", is_paused=True)
    try:
        asked = {"models": [name], "tracking_uri": registry.server.uri, "batch_size": 1}
        run = run_flow(audit_registry, **asked, fan_out=2)
    finally:
        for part in deployed.post("flow_runs/filter", flows={"name": {"any_": ["audit-part"]}}):
            deployed.delete(f"flow_runs/{part['id']}")
        deployed.patch(f"work_pools/{POOL}", is_paused=False)
    assert run.ended_as == ("COMPLETED", "Completed")
    assert "no worker has begun" in run.log


@pytest.mark.parametrize("what", ["its server", "its workspace", "its code", "nothing"])
def test_a_worker_that_would_audit_something_else_delivers_nothing(
    prefect_server: PrefectServer,
    run_flow: RunFlow,
    mlflow_a: MlflowServer,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """A server whose address is a secret is found by each worker where it is configured: perhaps another one, which has
    a version of the same name and number."""
    url, name = f"sqlite:///{tmp_path / 'ledger.db'}", registry.new_name()
    version, _ = registry.add(name, separate=True), Registry(mlflow_a).add(name, separate=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.server.uri)
    options = AuditOptions(tracking_uri=registry.server.uri, models=(name,), ledger=url)
    audit_id = f"shared-{name}"
    ledger, key = open_ledger(url, create=True), make_key(audit_id)
    try:
        work = SharedWork(ledger, audit_id, Seal(key))
        job = Job(options.server, options, audit_id)
        work.offer([tuple(list_versions(open_session(job).connection, f"name='{name}'").versions)], work_key(job))
        monkeypatch.setattr(result_storage, "_asked", result_storage._asked.__wrapped__)  # as in a process of its own
        match what:
            case "its server":
                monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_a.uri)
            case "its workspace":
                monkeypatch.setenv("MLFLOW_WORKSPACE", "another")
            case "its code":
                monkeypatch.setattr(result_storage, "code_digest", lambda *packages: "older")
        close_job(job)
        run = run_flow(audit_part, audit_id=audit_id, options={"models": [name], "ledger": url})
        assert run.ended_as == (("COMPLETED", "Completed") if what == "nothing" else ("FAILED", "Refused")), run.log
        assert work.standing().delivered == (1 if what == "nothing" else 0)
        assert what == "nothing" or "this worker would audit something else" in run.record["state"]["message"]
        assert version.name == name
    finally:
        forget_key(audit_id)
        ledger.close()
