"""Defines `accept-baseline`: once approved, the bytes that the last audit read become the baseline of later audits."""

import secrets
from typing import Annotated, Any
from uuid import UUID

from prefect import State, flow, get_client, get_run_logger, runtime
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field

from flows import parameters
from flows.final_state import AFTER, ended, refused
from flows.parameters import Name, NotBlank, Reference, Rule, Uri
from registry_audit.audit.options import checked_options
from registry_audit.errors import AuditError, UsageError
from registry_audit.ledger.accept import Acceptance
from registry_audit.printable import markdown, printable
from registry_audit.report.view import side_words
from registry_audit.report.words import count
from registry_audit.verdict import ExitStatus
from tasks.accept_versions import GONE, accept_approved, prepare_versions
from tasks.audit_session import close_job, job_of
from tasks.configuration import asked
from tasks.policy import short
from tasks.prefect_sender import send_artifact, wait_for_arrival

APPROVAL_KEY = "registry-audit-approval"  # shows what is to be approved
ARTIFACT_KEY = "registry-audit-accepted"

_PAUSE_HOURS, _SUSPEND_HOURS = 1, 72
_HOUR_SECONDS = 3_600
_LOOK_EVERY_SECONDS = 5
_FILES_SHOWN = 1_000


class Approval(RunInput):
    """This is the form that *Resume* shows."""

    name: NotBlank = Field(description="Who approves, and answers for it.")
    reason: NotBlank = Field(description="Why these bytes are the right ones.")
    versions: list[str] = Field(description="What is approved: take out the lines of versions that are not.")


def _run_name() -> str:
    given = runtime.flow_run.parameters
    what = "would accept" if given.get("dry_run", True) else "accept"
    return f"{what} {', '.join(short(version) for version in given['versions'][:3])}"


@flow(
    name="accept-baseline",
    description="Make the bytes that the last audit read the baseline of versions, once somebody approved them.",
    flow_run_name=_run_name,
    persist_result=False,
    **AFTER,
)
@parameters.described
def accept_baseline(
    versions: Annotated[list[Reference], Field(json_schema_extra={"minItems": 1})],
    reason: NotBlank,
    by: NotBlank,
    dry_run: bool = True,
    registry: Name | None = None,
    despite: list[Rule] | None = None,
    suspend: bool = False,
    approval_hours: Annotated[int, Field(ge=1, le=720)] | None = None,
    tracking_uri: Uri | None = None,
    registry_uri: Uri | None = None,
    registry_name: NotBlank | None = None,
    ledger: Uri | None = None,
) -> State[Any]:
    """Accept what is there now as the baseline of these versions, once approved; refused if it moved meanwhile.

    The run shows what would be accepted and waits, as Paused or Suspended, until somebody presses Resume and gives a
    name and a reason. It ends as Completed, or as Failed with the name Findings where bytes moved, Ledger where the
    ledger is unusable, or Refused where the request itself is wrong or nobody approved it.

    Args:
        versions: Each as NAME/V.
        reason: Why these bytes are the right ones.
        by: Name of the person who asks. The person who approves answers for it.
        dry_run: Only say what would be accepted.
        despite: Accept a version in spite of a high or critical finding of these rules, for instance RA004.
        suspend: End the process while the run waits; a worker takes it up once it is approved. For approvals of hours.
        approval_hours: Hours to wait for the approval; by default 1, or 72 with suspend.
        ledger: Database of baselines, without credentials; else REGISTRY_AUDIT_LEDGER of the worker, the Prefect
            variable registry_audit_ledger or the Secret block registry-audit-ledger; else a file of its user.
    """
    try:
        options = checked_options(
            **parameters.of_registry(
                registry,
                tracking_uri=tracking_uri,
                registry_uri=registry_uri,
                registry_name=registry_name,
                ledger=ledger,
            )
        )
        job, spite = job_of(options, parameters.this_run(), registry=registry), tuple(despite or ())
        try:
            prepared = prepare_versions(job, tuple(versions), by, reason, spite)
        finally:
            close_job(job)  # nothing stays open while the run waits
        if dry_run:
            return _done(prepared, f"would accept {count(len(prepared), 'version')}", None)
        approval = _approved(prepared, by, reason, approval_hours, suspend)
        try:
            accepted, head = accept_approved(
                job, _digests(approval), approval.name, f"{approval.reason} (asked for by {by}: {reason})", spite
            )
        finally:
            close_job(job)
    except AuditError as error:
        return refused(error)
    return _done(accepted, f"accepted {count(len(accepted), 'version')}, as {short(approval.name)} approved", head)


def _approved(
    prepared: tuple[Acceptance, ...], by: str, reason: str, hours: int | None, is_suspended: bool
) -> Approval:
    """Wait for the approval and return it. If the run is suspended, the process ends, and the next one gets the answer.

    Raises:
        UsageError: nobody approved in time, or the run cannot wait.
    """
    asked = f"{short(by)} asks to accept {count(len(prepared), 'version')}: {short(reason)}"
    send_artifact("markdown", APPROVAL_KEY, "approval", _page(prepared, asked, None), markdown(asked))
    wait_for_arrival()
    form = Approval.with_initial_data(
        description=f"{markdown(asked)}\n\nThe artifact `{APPROVAL_KEY}` of this run has the files.",
        versions=[f"{one.reference} {one.digest or GONE}" for one in prepared],
    )
    hours = hours or (_SUSPEND_HOURS if is_suspended else _PAUSE_HOURS)
    waiting: dict[str, Any] = {"wait_for_input": form, "timeout": hours * _HOUR_SECONDS, "key": _pause_key()}
    try:
        approval: Approval = (
            suspend_flow_run(**waiting)
            if is_suspended
            else pause_flow_run(**waiting, poll_interval=_LOOK_EVERY_SECONDS)
        )
    except FlowPauseTimeout:
        _leave_expired_pause()
        raise UsageError(f"nobody approved it within {count(hours, 'hour')}: nothing was accepted") from None
    except RuntimeError as error:  # Prefect raises it because only runs of deployments can be suspended
        raise UsageError(f"the run cannot wait for an approval: {printable(str(error))}") from None
    get_run_logger().info("approved by %s: %s", short(approval.name), short(approval.reason))
    return approval


def _pause_key() -> str:
    """Return the key of the pause after which a suspended run continues, or a new key: a retried run asks again.

    Prefect keeps a form and its answer under their key forever, and refuses a second form with the same key with 409.
    """
    with get_client(sync_client=True) as client:
        run = asked(lambda: client.read_flow_run(UUID(parameters.this_run())))
    fired = run.empirical_policy.pause_keys  # since the last Retry of the run
    return next(iter(fired or ()), None) or f"approval-{secrets.token_hex(4)}"


def _leave_expired_pause() -> None:
    """Set the run to Running, so that it can end as Refused.

    While a run is Paused and its time has expired, the Prefect server accepts no final state except its own Failed.
    """
    run_id = runtime.flow_run.id
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state
        if state and state.is_paused():
            client.set_flow_run_state(run_id, Running(), force=True)


def _digests(approval: Approval) -> dict[str, str]:
    """Return the approved digest of each approved version."""
    if not approval.versions:
        raise UsageError("no version was approved: nothing was accepted")
    return {reference: digest for reference, _, digest in (line.rpartition(" ") for line in approval.versions)}


def _done(acceptances: tuple[Acceptance, ...], sentence: str, head: str | None) -> State[Any]:
    send_artifact("markdown", ARTIFACT_KEY, "page", _page(acceptances, sentence, head), "Accepted baselines")
    get_run_logger().info("%s; ledger head %s", sentence, head or "unchanged")
    return ended(ExitStatus.CLEAN, sentence)


def _page(acceptances: tuple[Acceptance, ...], sentence: str, head: str | None) -> str:
    rows = [f"| {markdown(a.reference)} | {a.kind} | {a.digest or GONE} | {len(a.differences)} |" for a in acceptances]
    files = [
        f"- {markdown(f'{a.reference}: {d.path}')}  {side_words(d.sizes[0], d.digests[0]) or 'not there'} -> "
        f"{side_words(d.sizes[1], d.digests[1]) or 'not there'}"
        for a in acceptances
        for d in a.differences
    ]
    more = [f"- and {count(len(files) - _FILES_SHOWN, 'more file')}"] if len(files) > _FILES_SHOWN else []
    table = ["| version | | manifest | changed files |", "|---|---|---|---|", *rows, ""]
    return "\n".join(
        [
            f"## {markdown(sentence)}",
            "",
            *table,
            *files[:_FILES_SHOWN],
            *more,
            "",
            f"Ledger head: {head or 'unchanged'}",
        ]
    )
