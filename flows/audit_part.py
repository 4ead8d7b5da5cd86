"""Defines `audit-part`: one worker's share of an audit that was fanned out over a work pool."""

from typing import Annotated, Any

from prefect import State, flow, get_run_logger, runtime
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field, PositiveInt

from flows import parameters
from flows.executors.batch_order import TASKS_PER_BATCH
from flows.executors.fan_out import PART, audited
from flows.executors.part_key import key_of
from flows.final_state import AFTER, ended, refused
from flows.parameters import Name
from registry_audit.api import ledger_of
from registry_audit.audit.options import checked_options
from registry_audit.audit.work_directory import Seal
from registry_audit.cli.common_options import ledger_url
from registry_audit.errors import AuditError, UsageError
from registry_audit.ledger.shared_work import LOST_AFTER_SECONDS, SharedWork
from registry_audit.verdict import ExitStatus
from tasks.audit_session import job_of
from tasks.policy import short
from tasks.request_limit import share_of_requests


def _run_name() -> str:
    return f"part of {short(runtime.flow_run.parameters['audit_id'])}"


@flow(
    name=PART,
    description="A worker's share of an audit that was fanned out; started by audit-registry, not by people.",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=TASKS_PER_BATCH),  # type: ignore[arg-type]
    persist_result=False,
    **AFTER,
)
def audit_part(
    audit_id: str,
    options: dict[str, Any],
    of: PositiveInt = 1,
    lost_after_seconds: Annotated[float, Field(gt=0)] = LOST_AFTER_SECONDS,
    life: str | None = None,
    registry: Name | None = None,
) -> State[Any]:
    """Take batches of an audit from its ledger's database until there are none, and deliver their rows there.

    Args:
        audit_id: Id of the audit, which is the id of its flow run.
        options: Options of the audit, without credentials.
        of: Number of parts that share the audit's limit on requests.
        lost_after_seconds: Seconds without a sign of life after which another worker takes a batch.
        registry: Name of the block Registry Audit that the audit uses.
        life: Changes once the audit has ended: what a part has read is reused only while it stays the same.
    """
    given = dict(options)
    try:
        if registry is None:
            for name, variable in parameters.URIS.items():
                given[name] = parameters.uri(given.get(name), variable)
            given["ledger"] = ledger_url(given["ledger"])
        else:
            named = dict.fromkeys(("tracking_uri", "registry_uri"))
            kept = {name: given.get(name) for name in ("registry_name", "ledger")}
            given |= parameters.of_registry(registry, **named, **kept)
        chosen = checked_options(**given)
        ledger = ledger_of(chosen)
        if ledger is None:
            raise UsageError("a part of an audit needs the ledger that the parts share")
        with share_of_requests(chosen, of=of) as shared:
            job = job_of(shared, audit_id, life, registry)
            work = SharedWork(ledger, audit_id, Seal(key_of(audit_id)), lost_after_seconds)
            count = sum(audited(work, job, parameters.this_run()))
    except AuditError as error:
        return refused(error)
    get_run_logger().info("%d versions audited", count)
    return ended(ExitStatus.CLEAN, f"{count} versions audited")
