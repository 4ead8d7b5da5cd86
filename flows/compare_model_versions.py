"""`compare-model-versions`: do two versions, on one or two tracking servers, wrap the same model?"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from prefect import State, flow, runtime

from flows import parameters
from flows.batches import whole
from flows.ending import ended, refused
from flows.tracking_server import TrackingServer
from registry_audit.api import chosen_roles, compared, server_of
from registry_audit.audit.copies import Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.pairing import PairAudit
from registry_audit.audit.single import VersionPair, kept_path, prepare_download_dir
from registry_audit.cli.workplace import must_take_file
from registry_audit.config import CompareConfig, ServerConfig, parse_compare_config
from registry_audit.errors import AuditError, CouldNotVerify
from registry_audit.printable import printable
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.report.view import finding_words
from registry_audit.verdict import Severity
from tasks.artifacts import COMPARE_KEY, Told
from tasks.compare_pair import compare_copies
from tasks.download_reg_model import download_reg_model
from tasks.download_run_model import download_run_model
from tasks.naming import short
from tasks.report_single import report_single
from tasks.resolve_named import resolve_named
from tasks.session import Job, close_job, open_session

_DOWNLOAD = {Role.RUN_MODEL: download_run_model, Role.REG_MODEL: download_reg_model}


def _run_name() -> str:
    given = runtime.flow_run.parameters
    one, two = (_label(given[f"tracking_server_{n}"]) for n in (1, 2))
    return f"compare {one} and {two}"


def _label(server: Any) -> str:
    fields = server if isinstance(server, dict) else server.model_dump()
    return f"{short(str(fields.get('model')))}/{short(str(fields.get('version_or_stage')))}"


@flow(
    name="compare-model-versions",
    description="Compare two model versions, on one or two tracking servers: their run models and registry models.",
    flow_run_name=_run_name,
    persist_result=False,
)
def compare_model_versions(
    tracking_server_1: TrackingServer,
    tracking_server_2: TrackingServer,
    download_dir: str | None = None,
    report_file: str | None = None,
    compare_run_models: bool = True,
    compare_reg_models: bool = True,
    fail_on: Severity = Severity.MEDIUM,
) -> State[Any]:
    """Compare two model versions, on one or two tracking servers: their run models and their registry models.

    The run ends as Completed, or as Failed with the name Findings, Incomplete or Ledger, or Refused where the request
    itself is wrong.

    Args:
        tracking_server_1: Which version, on which server, and the names of the variables to sign in with.
        tracking_server_2: The same of the other version.
        download_dir: Directory where the files stay, on the machine that runs the flow; by default they do not stay.
        report_file: File for the report as JSON, on that machine.
        compare_run_models: Compare the run models.
        compare_reg_models: Compare the registry models.
        fail_on: Lowest severity of a finding that makes the run end as Findings.
    """
    try:
        config = _checked_config(tracking_server_1, tracking_server_2)
        roles = chosen_roles(compare_run_models, compare_reg_models)
        file = parameters.path(report_file)
        if file is not None:
            must_take_file(file, "report_file")
        with _directory(parameters.path(download_dir)) as directory:
            return _compare(config, roles, directory, file, fail_on)
    except AuditError as error:
        return refused(error)


def _compare(
    config: CompareConfig, roles: tuple[Role, ...], download_dir: Path, report_file: Path | None, fail_on: Severity
) -> State[Any]:
    prepare_download_dir(download_dir)
    one, two = config.servers
    jobs = (_job(one, f"{parameters.this_run()}-1"), _job(two, f"{parameters.this_run()}-2"))
    try:
        resolving = [
            resolve_named.submit(job, server.model, server.version_or_stage)
            for job, server in zip(jobs, (one, two), strict=True)
        ]
        first, second = (_resolved(future.result()[0]) for future in resolving)
        resolved = (first, second)
        downloads = {
            role: [
                _DOWNLOAD[role].submit(job, whole((version,)), kept_path(download_dir, role, version, f"server_{n}"))
                for n, (job, version) in enumerate(zip(jobs, resolved, strict=True), 1)
            ]
            for role in roles
        }
        uris = (_tracking_uri(jobs[0]), _tracking_uri(jobs[1]))
        native_models = (one.native_model, two.native_model)
        pairs = []
        for role in roles:
            copies = tuple(future.result()[0] for future in downloads[role])
            pairs.append(compare_copies(jobs[0], role, whole(resolved), whole(copies), native_models))
    finally:
        for job in jobs:
            close_job(job)
    result = compared(VersionPair(resolved, tuple(pairs)), config, uris, fail_on)
    told = tuple(_told(pair, resolved) for pair in pairs)
    report_single(COMPARE_KEY, whole(told), whole(result.report), report_file)
    sentence = ", ".join(f"{pair.role.words}s: {pair.verdict}" for pair in pairs)
    found = [finding for pair in pairs for finding in pair.all_findings]
    if found:
        sentence += f": {printable(finding_words(found[0]))}"
    return ended(result.outcome.exit_status, sentence)


def _job(server: ServerConfig, audit_id: str) -> Job:
    return Job(server_of(server), parameters.audit_options(tracking_uri=server.host), audit_id)


def _tracking_uri(job: Job) -> str:
    return open_session(job).connection.tracking_uri


def _resolved(found: ResolvedVersion | VersionAudit) -> ResolvedVersion:
    if isinstance(found, VersionAudit):
        raise CouldNotVerify(found.reason or "a version could not be resolved")
    return found


def _told(pair: PairAudit, resolved: tuple[ResolvedVersion, ResolvedVersion]) -> Told:
    one, two = (version.version.label for version in resolved)
    findings = tuple(
        (label, finding) for label, found in zip((one, two), pair.findings, strict=True) for finding in found
    )
    return Told(f"{pair.role.words}s of {one} and {two}", pair.verdict, pair.reason, pair.comparison, findings)


def _checked_config(one: TrackingServer, two: TrackingServer) -> CompareConfig:
    """The parameters through the checks of the configuration file.

    Raises:
        UsageError: a key holds no text, only half of what it takes to sign in is named, or a URI holds credentials.
    """
    given = {f"tracking_server_{n}": server.model_dump(exclude_none=True) for n, server in enumerate((one, two), 1)}
    for server in (one, two):
        for uri in (server.host, server.registry_uri or ""):
            parameters.refuse_credentials(uri, "name variables in username_env and password_env, and set them")
    return parse_compare_config(yaml.safe_dump(given), "the parameters")


@contextmanager
def _directory(download_dir: Path | None) -> Iterator[Path]:
    if download_dir is not None:
        yield download_dir
        return
    with tempfile.TemporaryDirectory(prefix="registry-audit-") as scratch:
        yield Path(scratch)
