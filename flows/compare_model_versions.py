"""Defines `compare-model-versions`: do two versions, on one or two tracking servers, contain the same model?"""

from pathlib import Path
from typing import Any

import yaml
from prefect import State, flow, runtime

from flows import parameters
from flows.executors.batch_order import whole
from flows.final_state import AFTER, ended, refused
from flows.parameters import NotBlank, Uri
from flows.sides import Side, TrackingServer, ledger_of_both, side_of
from registry_audit.api import chosen_roles, compare_options, compared, no_baseline, servers_of
from registry_audit.audit.copies import Role
from registry_audit.audit.judging import VersionAudit, sorted_findings
from registry_audit.audit.named_versions import (
    PairAudit,
    VersionPair,
    empty_download_dir,
    kept_path,
    prepare_download_dir,
)
from registry_audit.audit.options import Count, Seconds
from registry_audit.compare_config import parse_compare_config
from registry_audit.errors import AuditError, CouldNotVerify, LedgerError
from registry_audit.ledger.record import pair_remembered
from registry_audit.model.listing import Limits
from registry_audit.printable import printable
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.report.mlflow_tools import pair_words
from registry_audit.report.output_file import must_take_file
from registry_audit.report.view import finding_words
from registry_audit.verdict import Severity, Verdict
from tasks.artifacts import COMPARE_KEY, Told
from tasks.audit_session import Job, close_job, open_session
from tasks.compare import compare_copies, judge_version
from tasks.configuration import REGISTRY_URI, TRACKING_URI, configured_uri, sign_in
from tasks.download import download_reg_model, download_run_model
from tasks.policy import short
from tasks.report import report_single
from tasks.resolve_version import resolve_named

_DOWNLOAD = {Role.RUN_MODEL: download_run_model, Role.REG_MODEL: download_reg_model}

_LIMITS = Limits()
_FILES_NAMED = 3


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
    **AFTER,
)
@parameters.described
def compare_model_versions(
    tracking_server_1: TrackingServer,
    tracking_server_2: TrackingServer,
    download_dir: NotBlank | None = None,
    report_file: NotBlank | None = None,
    compare_run_models: bool = True,
    compare_reg_models: bool = True,
    ledger: Uri | None = None,
    fail_on: Severity = Severity.MEDIUM,
    max_files: Count = _LIMITS.max_files,
    max_directories: Count = _LIMITS.max_directories,
    max_depth: Count = _LIMITS.max_depth,
    max_bytes: Count = _LIMITS.max_bytes,
    max_version_seconds: Seconds = _LIMITS.max_version_seconds,
    max_requests: Count | None = None,
    max_bytes_per_second: Count | None = None,
) -> State[Any]:
    """Compare two model versions, on one or two tracking servers: their run models and their registry models.

    The run ends as Completed, or as Failed with the name Findings, Incomplete or Ledger, or Refused where the request
    itself is wrong.

    Args:
        tracking_server_1: One version: its server, or a block Registry Audit; model, version, and the names of the
            variables to sign in with.
        tracking_server_2: The other version, with the same fields.
        compare_run_models: Compare the run models.
        compare_reg_models: Compare the registry models.
        ledger: Database of baselines, without credentials, or none; else that of the block, or REGISTRY_AUDIT_LEDGER of
            the worker, the Prefect variable registry_audit_ledger or the Secret block registry-audit-ledger; else a
            file of its user.
    """
    try:
        one, two = (side_of(s, f"tracking_server_{n}") for n, s in enumerate((tracking_server_1, tracking_server_2), 1))
        sides = (one, two)
        roles = chosen_roles(compare_run_models, compare_reg_models)
        file = parameters.path(report_file)
        if file is not None:
            must_take_file(file, "report_file")
        limits: dict[str, int | None] = {
            "max_files": max_files,
            "max_directories": max_directories,
            "max_depth": max_depth,
            "max_bytes": max_bytes,
            "max_version_seconds": max_version_seconds,
            "max_requests": max_requests,
            "max_bytes_per_second": max_bytes_per_second,
        }
        kept_in = parameters.path(download_dir)
        return _compare(sides, roles, kept_in, file, ledger_of_both(ledger, sides), fail_on, limits)
    except AuditError as error:
        return refused(error)


def _compare(
    sides: tuple[Side, Side],
    roles: tuple[Role, ...],
    download_dir: Path | None,
    report_file: Path | None,
    ledger: str | None,
    fail_on: Severity,
    limits: dict[str, int | None],
) -> State[Any]:
    # Apply the checks of the configuration file.
    config = parse_compare_config(
        yaml.safe_dump({f"tracking_server_{n}": side.keys for n, side in enumerate(sides, 1)}), "the parameters"
    )
    sign_in()
    asked = servers_of(config, configured_uri(TRACKING_URI), configured_uri(REGISTRY_URI))
    servers = sides[0].signed_in(asked[0]), sides[1].signed_in(asked[1])
    memory, options = compare_options(config, servers, ledger, fail_on, limits)
    opened = memory.ledger
    if download_dir is not None:
        prepare_download_dir(download_dir)
    one, two = config.servers
    jobs = tuple(
        Job(server, side.limited(of_side, limits), f"{parameters.this_run()}-{n}", registry=side.block)
        for n, (side, server, of_side) in enumerate(zip(sides, servers, options, strict=True), 1)
    )
    try:
        resolving = [
            resolve_named.submit(job, server.model, server.version_or_stage)
            for job, server in zip(jobs, (one, two), strict=True)
        ]
        first, second = (_resolved(future.result()[0]) for future in resolving)
        resolved = (first, second)
        if download_dir is not None:
            empty_download_dir(download_dir, map(open_session, jobs), *resolved, roles=roles)
        downloads = [
            {
                role: _DOWNLOAD[role].submit(
                    job, whole((version,)), kept_path(download_dir, role, version, f"server_{n}"), by_itself=True
                )
                for role in roles
            }
            for n, (job, version) in enumerate(zip(jobs, resolved, strict=True), 1)
        ]
        copies = [{role: future.result()[0] for role, future in each.items()} for each in downloads]
        native_models = (one.native_model, two.native_model)
        pairs = tuple(
            compare_copies(jobs[0], role, whole(resolved), whole((copies[0][role], copies[1][role])), native_models)
            for role in roles
        )
        versions = [judge_version(*of_one) for of_one in zip(jobs, resolved, map(whole, copies), strict=True)]
        pair = VersionPair(resolved, pairs, (versions[0], versions[1]))
        sessions = (open_session(jobs[0]), open_session(jobs[1]))
        note, lost = memory.note, None
        if opened is not None:
            try:
                pair = pair_remembered(opened, options, sessions, pair)
            except LedgerError as error:  # the result is reported even without the ledger
                note, lost = no_baseline(error), error
        uris = (sessions[0].connection.tracking_uri, sessions[1].connection.tracking_uri)
    finally:
        for job in jobs:
            close_job(job)
    result = compared(pair, config, uris, fail_on, note=note)
    rests_on = tuple(result.report["note"].values())
    report_single(COMPARE_KEY, whole(_told(pair, rests_on)), whole(result.report), report_file)
    if lost is not None:
        raise lost
    one_label, two_label = (short(version.version.label) for version in pair.resolved)
    sentence = f"{one_label} and {two_label}: "
    sentence += ", ".join(f"{each.role.words}s: {_verdict(each)}" for each in pair.pairs)
    label_of = {finding: pair.resolved[index].version.label for index in (1, 0) for finding in pair.said_of(index)}
    if found := sorted_findings(label_of):
        sentence += f": {short(label_of[found[0]])}: {printable(finding_words(found[0]))}"
    if opened is None:
        sentence += f"; {rests_on[0]}"
    return ended(result.outcome.exit_status, sentence)


def _resolved(found: ResolvedVersion | VersionAudit) -> ResolvedVersion:
    if isinstance(found, VersionAudit):
        raise CouldNotVerify(found.reason or "a version could not be resolved")
    return found


def _verdict(pair: PairAudit) -> str:
    words = pair_words(pair.verdict) or _files(pair)
    return f"{pair.verdict} ({words})" if words else str(pair.verdict)


def _files(pair: PairAudit) -> str | None:
    """Name the differing files that no rule explains. The summary lists all of them."""
    paths = [difference.path for difference in pair.comparison.unexpected] if pair.comparison else []
    if pair.verdict is not Verdict.MISMATCH or not paths:
        return None
    named = ", ".join(f"'{short(path)}'" for path in paths[:_FILES_NAMED])
    return f"{named} and {len(paths) - _FILES_NAMED:,} more" if len(paths) > _FILES_NAMED else named


def _told(pair: VersionPair, rests_on: tuple[str, ...]) -> tuple[Told, ...]:
    """Return the comparisons, and then the versions, each with its findings and its baseline."""
    one, two = (version.version.label for version in pair.resolved)
    compared = [
        Told(
            f"{each.role.words}s of {one} and {two}",
            each.verdict,
            each.reason or pair_words(each.verdict),
            each.comparison,
            (),
        )
        for each in pair.pairs
    ]
    versions = [
        Told(
            f"{row.version.label} by itself",
            row.verdict,
            row.reason,
            None,
            tuple((row.version.label, finding) for finding in pair.said_of(index)),
            note=note,
        )
        for index, (row, note) in enumerate(zip(pair.versions, rests_on, strict=True))
    ]
    return (*compared, *versions)
