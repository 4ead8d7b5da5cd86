"""Defines `audit-registry`, which audits every version of every registered model.

`python -m flows.audit_registry` takes the options of `registry-audit audit` and runs the flow in this process.
"""

import os
import sys
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import State, flow, get_run_logger, runtime
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows import parameters
from flows.executors.batch_order import IN_FLIGHT, TASKS_PER_BATCH, Steps, whole
from flows.executors.executor import DASK_SCHEDULER, Executor
from flows.final_state import AFTER, ended, only_logged, refused
from flows.parameters import AuditId, Name, NotBlank, Subset, Texts, Uri, matching
from flows.registry_lock import must_be_alone_at, only_audit_of
from registry_audit.api import ledger_of
from registry_audit.audit.options import AuditOptions, Count, Days, Seconds, as_list, checked_options
from registry_audit.audit.rows import Rows, row_spool
from registry_audit.audit.runner import SERVER_AWAY_SECONDS
from registry_audit.audit.scope import Scope, nothing_listed
from registry_audit.audit.work_directory import WorkDirectory, now
from registry_audit.cli.report_output import must_be_writable
from registry_audit.errors import AuditError, UsageError
from registry_audit.ledger.record import registry_of
from registry_audit.model.listing import Limits
from registry_audit.registry.address import shown_address
from registry_audit.report.build_document import interrupted_report
from registry_audit.report.document import AuditDocument
from registry_audit.report.view import result_words
from registry_audit.report.words import count
from registry_audit.report.write import write_report
from registry_audit.verdict import ExitStatus, Severity
from tasks.artifacts import Progress
from tasks.audit_session import Job, close_job, job_of, open_session
from tasks.list_versions import list_versions
from tasks.listeners import listeners_of
from tasks.policy import short, short_address
from tasks.report import report
from tasks.result_storage import life_of, opened_results

_LIMITS = Limits()


def _run_name() -> str:
    given = runtime.flow_run.parameters
    uri = given.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
    where = given.get("registry") or (short_address(uri) if uri else "the worker's registry")
    name = f"{runtime.deployment.name or 'audit'} {where}"
    return f"{name}: {short(', '.join(as_list(given['models'])))}" if given.get("models") else name


@flow(
    name="audit-registry",
    description="Audit every version of every registered model: read its copies in full and compare them.",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=IN_FLIGHT * TASKS_PER_BATCH),  # type: ignore[arg-type]
    persist_result=False,
    **AFTER,
)
@parameters.described
def audit_registry(
    registry: Name | None = None,
    models: Texts | None = None,
    quick: bool = False,
    accept_new: bool = False,
    fail_on: Severity = Severity.MEDIUM,
    report_dir: NotBlank | None = None,
    tracking_uri: Uri | None = None,
    registry_uri: Uri | None = None,
    registry_name: NotBlank | None = None,
    ledger: Uri | None = None,
    filter: NotBlank | None = None,
    latest: Count | None = None,
    subset: Subset | None = None,
    liveness: bool = False,
    full_every: Days | None = None,
    signing_key: NotBlank | None = None,
    signing_certificate_chain: NotBlank | None = None,
    signing_ignore_paths: Texts | None = None,
    signing_ignore_unsigned: bool = False,
    digest: Literal["sha256", "blake3"] = "sha256",
    audit_id: AuditId | None = None,
    batch_size: Count | None = None,
    dask_scheduler: Annotated[str, matching(r"[a-z]+://\S+$", "an address as tcp://HOST:8786")] | None = None,
    fan_out: Annotated[int, Field(ge=1, le=256)] | None = None,
    workers: Annotated[int, Field(ge=1, le=256)] | None = None,
    max_files: Count = _LIMITS.max_files,
    max_directories: Count = _LIMITS.max_directories,
    max_depth: Count = _LIMITS.max_depth,
    max_bytes: Count = _LIMITS.max_bytes,
    max_version_seconds: Seconds = _LIMITS.max_version_seconds,
    max_listing_seconds: Seconds = _LIMITS.max_listing_seconds,
    max_versions: Count = _LIMITS.max_versions,
    max_requests: Count | None = None,
    max_bytes_per_second: Count | None = None,
) -> State[Any]:
    """Audit every version of every registered model, or those that are asked for.

    The run ends as Completed, or as Failed with the name Findings, Incomplete or Ledger, or Refused where the request
    itself is wrong.

    Args:
        batch_size: Versions in one task run; by default 100, or up to 400 of a large registry audited by one process.
        dask_scheduler: Address of a Dask scheduler, whose workers then audit the batches; else
            REGISTRY_AUDIT_DASK_SCHEDULER of the process that runs the flow.
        fan_out: Number of runs of audit-part/worker that audit the batches, on any workers of its pool; needs a
            ledger in PostgreSQL.
    """
    try:
        options = checked_options(
            **parameters.of_registry(
                registry,
                tracking_uri=tracking_uri,
                registry_uri=registry_uri,
                registry_name=registry_name,
                ledger=ledger,
                workers=workers,
                max_requests=max_requests,
                max_bytes_per_second=max_bytes_per_second,
            ),
            models=tuple(models or ()),
            filter=filter,
            latest=latest,
            subset=subset,
            quick=quick,
            liveness=liveness,
            full_every=full_every,
            accept_new=accept_new,
            **parameters.signing(signing_key, signing_certificate_chain, signing_ignore_paths, signing_ignore_unsigned),
            fail_on=fail_on,
            digest=digest,
            max_files=max_files,
            max_directories=max_directories,
            max_depth=max_depth,
            max_bytes=max_bytes,
            max_version_seconds=max_version_seconds,
            max_listing_seconds=max_listing_seconds,
            max_versions=max_versions,
        )
        work = WorkDirectory(audit_id or parameters.this_run())
        scheduler = dask_scheduler or os.environ.get(DASK_SCHEDULER) or None
        executor = Executor(batch_size, scheduler, fan_out)
        # With a filter, as in the audit on registration, only some versions are audited: do not wait hours for another
        # audit.
        alone = only_audit_of(options.registry_uri or options.tracking_uri, work) if filter is None else nullcontext()
        with work.held(registry_of(options.registry_uri or options.tracking_uri)), ExitStack() as held:
            must_be_alone_at(work)
            held.enter_context(alone)
            shared = held.enter_context(executor.share(options))
            document = _audit(shared, work, parameters.path(report_dir), executor, registry)
            # Release the slot before the working directory is removed: a run killed after this does not wait for
            # itself.
            held.close()
            # Keep the readings of an incomplete audit: a retry within a day only reads what could not be verified.
            if document.outcome.exit_status != ExitStatus.INCOMPLETE:
                work.remove()
    except AuditError as error:
        return refused(error)
    return ended(document.outcome.exit_status, result_words(document))


def _audit(
    options: AuditOptions, work: WorkDirectory, directory: Path | None, executor: Executor, registry: str | None
) -> AuditDocument:
    log, listeners, began_at = get_run_logger(), listeners_of(work.audit_id), now()
    if directory is not None:
        must_be_writable(directory, "report_dir")
    job = job_of(options, work.audit_id, life_of(work.audit_id, parameters.this_run()), registry)
    results = opened_results()
    executor = replace(executor, steps=Steps.kept_in(results))
    scope, rows = nothing_listed(options), row_spool(work.path)
    try:
        scope = list_versions(job)
        work.belongs_to(registry_of(options.registry_uri or options.tracking_uri))
        listeners.listed(scope)
        server = shown_address(scope.tracking_uri)
        log.info("audit %s: %d of %d versions in %s", job.audit_id, len(scope.versions), scope.listed_count, server)
        progress = Progress(len(scope.versions), server)
        retryable, earlier = list[int](), list[str]()
        for position, row in enumerate(executor.rows(job, scope.versions, progress.update)):
            rows.put(position, row)
            listeners.done(row)
            if row.read_at is not None and row.read_at < began_at:
                earlier.append(row.read_at)
            if row.retryable:
                retryable.append(position)
        if retryable:
            broken_off = count(len(retryable), "version")
            log.info("%s broke off: waiting up to %d s for the server", broken_off, SERVER_AWAY_SECONDS)
        if retryable and open_session(job).wait_for_server(SERVER_AWAY_SECONDS):
            log.info("it answers: once more")
            again = [scope.versions[position] for position in retryable]
            for position, row in zip(retryable, executor.rows(job, again, lambda done: None), strict=True):
                rows.put(position, row)
        document = report(job, whole(scope), whole(rows), directory)
    except UsageError:
        raise
    except BaseException as error:
        with only_logged("report what was done"):
            _report_what_was_done(job, scope, rows, error, directory)
        raise
    finally:
        close_job(job)
    if earlier:
        log.info("%d versions were read before this run, from %s on", len(earlier), min(earlier))
    listeners.reported(document)
    if results is not None and document.outcome.exit_status != ExitStatus.INCOMPLETE:
        results.forget(work.audit_id)
    return document


def _report_what_was_done(job: Job, scope: Scope, rows: Rows, error: BaseException, directory: Path | None) -> None:
    """Report what an interrupted run had done. Prefect is not called, because it may be what cannot be reached."""
    close_job(job)
    ledger = None
    with suppress(AuditError):
        ledger = ledger_of(job.options)
    document = interrupted_report(ledger, job.options, scope, rows, error)
    listeners_of(job.audit_id).interrupted(document)
    if directory is not None:
        with only_logged(f"write the report to {directory}"):
            write_report(document, directory)


if __name__ == "__main__":
    from flows.run_here import audit_command_of

    sys.exit(audit_command_of(audit_registry))
