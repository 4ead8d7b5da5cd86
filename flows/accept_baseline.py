"""`accept-baseline`: the bytes that the last audit read become what later audits are held against."""

from typing import Any

from prefect import State, flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact

from flows import parameters
from flows.ending import ended, refused
from flows.parameters import Uri
from registry_audit.cli.ledger import ledger_url
from registry_audit.errors import AuditError
from registry_audit.ledger.accept import Acceptance
from registry_audit.printable import markdown
from registry_audit.verdict import ExitStatus
from tasks.accept import accept_versions
from tasks.configured import LEDGER, REGISTRY_URI
from tasks.naming import short
from tasks.session import Job, close_job

ARTIFACT_KEY = "registry-audit-accepted"


def _run_name() -> str:
    given = runtime.flow_run.parameters
    what = "would accept" if given.get("dry_run", True) else "accept"
    return f"{what} {', '.join(short(version) for version in given['versions'][:3])}"


@flow(
    name="accept-baseline",
    description="Make the bytes that the last audit read the baseline of versions; a dry run unless told otherwise.",
    flow_run_name=_run_name,
    persist_result=False,
)
def accept_baseline(
    versions: list[str],
    reason: str,
    by: str,
    dry_run: bool = True,
    despite: list[str] | None = None,
    tracking_uri: Uri | None = None,
    registry_uri: Uri | None = None,
    registry_name: str | None = None,
    ledger: Uri | None = None,
) -> State[Any]:
    """Accept what is there now as the baseline of these versions; refused if it moved since the last audit.

    The run ends as Completed, or as Failed with the name Findings where bytes moved, Ledger where the ledger is
    unusable, or Refused where the request itself is wrong.

    Args:
        versions: Each as NAME/V.
        reason: Why these bytes are the right ones.
        by: Who accepts and answers for it.
        dry_run: Only say what would be accepted.
        despite: Rules, for instance RA004, whose findings of severity high or critical do not keep a version from being
            accepted.
        tracking_uri: Tracking server, without credentials; else MLFLOW_TRACKING_URI of the worker, else the Prefect
            variable registry_audit_tracking_uri.
        registry_uri: Model registry, where it is not the tracking server; else MLFLOW_REGISTRY_URI of the worker, else
            the Prefect variable registry_audit_registry_uri.
        registry_name: What the ledger knows the registry by, whatever its address; by default it is recognised by its
            versions.
        ledger: Database of baselines, without credentials; else REGISTRY_AUDIT_LEDGER of the worker, the Prefect
            variable registry_audit_ledger or the Secret block registry-audit-ledger; else a file of its user.
    """
    try:
        options = parameters.audit_options(
            tracking_uri=parameters.required_tracking_uri(tracking_uri),
            registry_uri=parameters.uri(registry_uri, REGISTRY_URI),
            registry_name=registry_name,
            ledger=ledger_url(parameters.uri(ledger, LEDGER)),
        )
        job = Job(options.server, options, parameters.this_run())
        try:
            accepted, head = accept_versions(job, tuple(versions), by, reason, dry_run, tuple(despite or ()))
        finally:
            close_job(job)
    except AuditError as error:
        return refused(error)
    sentence = f"{'would accept' if dry_run else 'accepted'} {len(accepted)} versions"
    create_markdown_artifact(_page(accepted, sentence, head), key=ARTIFACT_KEY, description="Accepted baselines")
    get_run_logger().info("%s; ledger head %s", sentence, head or "unchanged")
    return ended(ExitStatus.CLEAN, sentence)


def _page(accepted: tuple[Acceptance, ...], sentence: str, head: str | None) -> str:
    rows = [
        f"| {markdown(a.name)}/{markdown(a.version)} | {a.kind} | {a.digest or 'gone'} | {len(a.changed_paths)} |"
        for a in accepted
    ]
    table = ["| version | | manifest | changed files |", "|---|---|---|---|", *rows]
    return "\n".join([f"## {sentence}", "", *table, "", f"Ledger head: {head or 'unchanged'}"])
