"""`check-model-version`: are the two copies of one version the same bytes, and both still there?"""

from pathlib import Path
from typing import Any

from prefect import State, flow, runtime

from flows import parameters
from flows.batches import whole
from flows.ending import ended, refused
from flows.parameters import Uri
from registry_audit.api import checked, ledger_of, remembered, with_digest_of
from registry_audit.audit.copies import Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.single import kept_path, prepare_download_dir
from registry_audit.cli.ledger import ledger_url
from registry_audit.cli.workplace import must_take_file
from registry_audit.errors import AuditError
from registry_audit.printable import printable
from registry_audit.refs import parse_selector
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.report.view import finding_words
from registry_audit.verdict import Severity
from tasks.artifacts import CHECK_KEY, Told
from tasks.compare import compare
from tasks.configured import LEDGER, REGISTRY_URI
from tasks.download_reg_model import download_reg_model
from tasks.download_run_model import download_run_model
from tasks.naming import short
from tasks.report_single import report_single
from tasks.resolve_named import resolve_named
from tasks.session import Job, close_job, open_session


def _run_name() -> str:
    given = runtime.flow_run.parameters
    return f"check {short(given['model'])}/{short(given['version_or_stage'])}"


@flow(
    name="check-model-version",
    description="Check that a version's two copies are the same bytes, and that both are still there.",
    flow_run_name=_run_name,
    persist_result=False,
)
def check_model_version(
    model: str,
    version_or_stage: str,
    tracking_uri: Uri | None = None,
    registry_uri: Uri | None = None,
    download_dir: str | None = None,
    report_file: str | None = None,
    signing_key: str | None = None,
    signing_certificate_chain: str | None = None,
    ledger: Uri | None = None,
    registry_name: str | None = None,
    fail_on: Severity = Severity.MEDIUM,
) -> State[Any]:
    """Check that a version's run model and registry model are the same bytes, and that both are still there.

    The run ends as Completed, or as Failed with the name Findings, Incomplete or Ledger, or Refused where the request
    itself is wrong.

    Args:
        model: Registered model name.
        version_or_stage: Version number, stage in any case, @alias or latest.
        tracking_uri: Tracking server, without credentials; else MLFLOW_TRACKING_URI of the worker, else the Prefect
            variable registry_audit_tracking_uri.
        registry_uri: Model registry, where it is not the tracking server; else MLFLOW_REGISTRY_URI of the worker, else
            the Prefect variable registry_audit_registry_uri.
        download_dir: Directory on the machine that runs the flow where the files stay, as run_model/... and
            reg_model/...; by default they do not stay.
        report_file: File for the report as JSON, on that machine.
        signing_key: File of a public key in PEM, on the machine that runs the flow, to verify each model.sig in a model
            with; else REGISTRY_AUDIT_SIGNING_KEY of the process that runs the flow.
        signing_certificate_chain: Instead, file of certificates in PEM that the signing certificates must lead to.
        ledger: Database of baselines, without credentials, or none; else REGISTRY_AUDIT_LEDGER of the worker, the
            Prefect variable registry_audit_ledger or the Secret block registry-audit-ledger; else a file of its user.
        registry_name: What the ledger knows the registry by, whatever its address; by default it is recognised by its
            versions.
        fail_on: Lowest severity of a finding that makes the run end as Findings.
    """
    try:
        parse_selector(version_or_stage)
        options = parameters.audit_options(
            tracking_uri=parameters.required_tracking_uri(tracking_uri),
            registry_uri=parameters.uri(registry_uri, REGISTRY_URI),
            **parameters.signing(signing_key, signing_certificate_chain),
            ledger=ledger_url(parameters.uri(ledger, LEDGER)),
            registry_name=registry_name,
            fail_on=fail_on,
        )
        return _check(options, model, version_or_stage, parameters.path(download_dir), parameters.path(report_file))
    except AuditError as error:
        return refused(error)


def _check(
    options: AuditOptions, model: str, version_or_stage: str, download_dir: Path | None, report_file: Path | None
) -> State[Any]:
    if report_file is not None:
        must_take_file(report_file, "report_file")
    if download_dir is not None:
        prepare_download_dir(download_dir)
    opened = ledger_of(options)
    options = with_digest_of(opened, options)
    job = Job(options.server, options, parameters.this_run())
    try:
        batch = resolve_named(job, model, version_or_stage)
        run_models = download_run_model.submit(job, whole(batch), _place(download_dir, Role.RUN_MODEL, batch[0]))
        reg_models = download_reg_model.submit(job, whole(batch), _place(download_dir, Role.REG_MODEL, batch[0]))
        (audit,) = compare(job, whole(batch), whole(run_models), whole(reg_models))
        if opened is not None:
            audit = remembered(opened, options, open_session(job), audit)
    finally:
        close_job(job)
    result = checked(audit, options, model, version_or_stage, download_dir, report_file)
    told = Told(
        audit.version.label,
        audit.verdict,
        audit.reason,
        audit.comparison,
        tuple((audit.version.label, finding) for finding in audit.findings),
    )
    report_single(CHECK_KEY, whole((told,)), whole(result.report), report_file)
    said = finding_words(audit.findings[0]) if audit.findings else audit.reason
    sentence = f"{short(audit.version.label)}: {audit.verdict}"
    return ended(result.outcome.exit_status, f"{sentence}: {printable(said)}" if said else sentence)


def _place(download_dir: Path | None, role: Role, resolved: ResolvedVersion | VersionAudit) -> Path | None:
    if download_dir is None or isinstance(resolved, VersionAudit):
        return None
    return kept_path(download_dir, role, resolved)
