"""Defines `check-model-version`: are the two copies of one version the same bytes, and do both still exist?"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import State, flow, runtime

from flows import parameters
from flows.executors.batch_order import whole
from flows.final_state import AFTER, ended, refused
from flows.parameters import Name, NotBlank, Texts, Uri
from registry_audit.api import checked, memory_of, no_baseline
from registry_audit.audit.copies import Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.named_versions import empty_download_dir, kept_path, prepare_download_dir
from registry_audit.audit.options import Count, Seconds, checked_options
from registry_audit.errors import AuditError, LedgerError
from registry_audit.ledger.record import remembered, with_digest_of
from registry_audit.model.listing import Limits
from registry_audit.printable import printable
from registry_audit.refs import parse_selector
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.report.output_file import must_take_file
from registry_audit.report.view import finding_words
from registry_audit.verdict import Severity
from tasks.artifacts import CHECK_KEY, Told
from tasks.audit_session import Job, close_job, job_of, open_session, sign_in_for
from tasks.compare import compare
from tasks.download import download_reg_model, download_run_model
from tasks.policy import short
from tasks.report import report_single
from tasks.resolve_version import resolve_named

_LIMITS = Limits()


def _run_name() -> str:
    given = runtime.flow_run.parameters
    return f"check {short(given['model'])}/{short(given['version_or_stage'])}"


@flow(
    name="check-model-version",
    description="Check that a version's two copies are the same bytes, and that both are still there.",
    flow_run_name=_run_name,
    persist_result=False,
    **AFTER,
)
@parameters.described
def check_model_version(
    model: NotBlank,
    version_or_stage: NotBlank,
    registry: Name | None = None,
    fail_on: Severity = Severity.MEDIUM,
    report_file: NotBlank | None = None,
    tracking_uri: Uri | None = None,
    registry_uri: Uri | None = None,
    registry_name: NotBlank | None = None,
    ledger: Uri | None = None,
    download_dir: NotBlank | None = None,
    signing_key: NotBlank | None = None,
    signing_certificate_chain: NotBlank | None = None,
    signing_ignore_paths: Texts | None = None,
    signing_ignore_unsigned: bool = False,
    max_files: Count = _LIMITS.max_files,
    max_directories: Count = _LIMITS.max_directories,
    max_depth: Count = _LIMITS.max_depth,
    max_bytes: Count = _LIMITS.max_bytes,
    max_version_seconds: Seconds = _LIMITS.max_version_seconds,
    max_requests: Count | None = None,
    max_bytes_per_second: Count | None = None,
) -> State[Any]:
    """Check that a version's run model and registry model are the same bytes, and that both are still there.

    The run ends as Completed, or as Failed with the name Findings, Incomplete or Ledger, or Refused where the request
    itself is wrong.

    Args:
        model: Registered model name.
        version_or_stage: Version number, stage in any case, @alias or latest.
    """
    try:
        parse_selector(version_or_stage)
        options = checked_options(
            **parameters.of_registry(
                registry,
                tracking_uri=tracking_uri,
                registry_uri=registry_uri,
                registry_name=registry_name,
                ledger=ledger,
                max_requests=max_requests,
                max_bytes_per_second=max_bytes_per_second,
            ),
            **parameters.signing(signing_key, signing_certificate_chain, signing_ignore_paths, signing_ignore_unsigned),
            fail_on=fail_on,
            max_files=max_files,
            max_directories=max_directories,
            max_depth=max_depth,
            max_bytes=max_bytes,
            max_version_seconds=max_version_seconds,
        )
        job = job_of(options, parameters.this_run(), registry=registry)
        return _check(job, model, version_or_stage, parameters.path(download_dir), parameters.path(report_file))
    except AuditError as error:
        return refused(error)


def _check(
    job: Job, model: str, version_or_stage: str, download_dir: Path | None, report_file: Path | None
) -> State[Any]:
    if report_file is not None:
        must_take_file(report_file, "report_file")
    if download_dir is not None:
        prepare_download_dir(download_dir)
    memory = memory_of(job.options)
    opened = memory.ledger
    sign_in_for(job.registry)
    options = with_digest_of(opened, job.options, job.server)
    job = replace(job, options=options)
    try:
        batch = resolve_named(job, model, version_or_stage)
        if download_dir is not None:
            found = (one for one in batch if isinstance(one, ResolvedVersion))
            empty_download_dir(download_dir, (open_session(job),), *found)
        run_models = download_run_model.submit(job, whole(batch), _place(download_dir, Role.RUN_MODEL, batch[0]))
        reg_models = download_reg_model.submit(job, whole(batch), _place(download_dir, Role.REG_MODEL, batch[0]))
        (audit,) = compare(job, whole(batch), whole(run_models), whole(reg_models))
        note, lost = memory.note, None
        if opened is not None:
            try:
                audit = remembered(opened, options, open_session(job), audit)
            except LedgerError as error:  # the result is reported even without the ledger
                note, lost = no_baseline(error), error
    finally:
        close_job(job)
    result = checked(audit, options, model, version_or_stage, download_dir, report_file, note=note)
    rests_on = result.report["note"]
    told = Told(
        audit.version.label,
        audit.verdict,
        audit.reason,
        audit.comparison,
        tuple((audit.version.label, finding) for finding in audit.findings),
        note=rests_on,
    )
    report_single(CHECK_KEY, whole((told,)), whole(result.report), report_file)
    if lost is not None:
        raise lost
    said = finding_words(audit.findings[0]) if audit.findings else audit.reason or rests_on
    sentence = f"{short(audit.version.label)}: {audit.verdict}"
    return ended(result.outcome.exit_status, f"{sentence}: {printable(said)}" if said else sentence)


def _place(download_dir: Path | None, role: Role, resolved: ResolvedVersion | VersionAudit) -> Path | None:
    return None if isinstance(resolved, VersionAudit) else kept_path(download_dir, role, resolved)
