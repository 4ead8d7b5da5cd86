"""Makes the reports of the two single commands in the format of mlflow-tools' reports, with additional keys.

Its keys are kept: System, Options/Config, Version/Model_Version_Summary, Comparison, Run_Model_Comparison,
Reg_Model_Comparison, Comparison_Summary. Added keys are verdict, reason, differences and findings. As in mlflow-tools,
a skipped comparison has no section and no line in the summary.
"""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry_audit.audit.comparing import Comparison, Difference, Kind
from registry_audit.audit.copies import Copy, CopySummary, ModelCopy, Role, summary_of
from registry_audit.audit.judging import BaselineView, Finding, VersionAudit
from registry_audit.audit.named_versions import PairAudit, VersionPair
from registry_audit.compare_config import CompareConfig
from registry_audit.errors import UsageError
from registry_audit.model.manifest import manifest_of
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.address import shown_address
from registry_audit.registry.mlflow_environment import mlflow_version
from registry_audit.registry.version import RegisteredVersion
from registry_audit.report.write import write_whole
from registry_audit.verdict import BaselineStatus, Verdict

_CHECK_SIDES = ("run_model", "reg_model")
_SERVERS = ("tracking_server_1", "tracking_server_2")


def check_report(audit: VersionAudit, options: dict[str, Any], note: str | None = None) -> dict[str, Any]:
    """Make the report of `check-model-version`.

    Args:
        options: model_name, version_or_stage, download_dir, report_file.
        note: why there was no baseline to compare with, if one was looked for.
    """
    return {
        "System": _system("check_model_version"),
        "Options": options,
        "Version": _version(audit.version),
        "Comparison": {
            "equals": audit.verdict.passes,
            "run_model": _copy(audit.run_model),
            "reg_model": _copy(audit.reg_model),
        },
        "verdict": audit.verdict.value,
        "reason": audit.reason,
        "storage": audit.storage.value,
        "compared_by": audit.comparison.compared_by if audit.comparison else None,
        "differences": _differences(audit.comparison, _CHECK_SIDES),
        "findings": _findings(audit.findings),
        "baseline": _baseline(audit.baseline),
        "note": remembered_words(audit, note),
        "signature": {"status": audit.signature.status.value, "reason": audit.signature.reason}
        if audit.signature
        else None,
    }


def remembered_words(audit: VersionAudit, note: str | None = None) -> str:
    """Say what the result is based on besides the two copies: a baseline, or nothing."""
    words = note or baseline_words(audit)
    rests_on_one = audit.verdict is Verdict.SAME_STORAGE and (audit.baseline is None or not audit.baseline.accepted_at)
    return f"{words}; both copies are one storage, so nothing was compared" if rests_on_one else words


def baseline_words(audit: VersionAudit) -> str:
    """Say what baseline a version has, and how the bytes compare with it."""
    view = audit.baseline
    if view is None:
        return "no ledger was used, so nothing was remembered"
    if view.accepted_at is None:
        return "no baseline was accepted yet"
    accepted = f"accepted on {view.accepted_at[:10]} by {printable(view.accepted_by or '')}"
    match view.status:
        case BaselineStatus.UNCHANGED:
            return f"the bytes are as {accepted}"
        case BaselineStatus.CHANGED:
            return f"the bytes are not what was {accepted}"
        case BaselineStatus.NOT_READ:
            return f"the registry model was not read, so it was not compared with what was {accepted}"
        case status:
            return f"{status.value}: {accepted}"


def pair_words(verdict: Verdict) -> str | None:
    """Return the note for a comparison that found one storage behind two versions; None for any other."""
    words = "both versions are one storage, as far as can be seen, so nothing was compared"
    return words if verdict is Verdict.SAME_STORAGE else None


def compare_report(
    pair: VersionPair, config: CompareConfig, uris: tuple[str, str], note: str | None = None
) -> dict[str, Any]:
    """Make the report of `compare-model-versions`.

    Args:
        uris: the tracking URIs of the two servers.
        note: why there were no baselines to compare with, if they were looked for.
    """
    verdicts = {audit.role: audit.verdict for audit in pair.pairs}
    return {
        "System": _system("compare_model_versions"),
        "Config": config.reported(),
        "Model_Version_Summary": {
            server: {
                "client": shown_address(uri),
                "version": {**_version(resolved.version), "download_uri": redact_location(resolved.reg_model.uri)},
            }
            for server, uri, resolved in zip(_SERVERS, uris, pair.resolved, strict=True)
        },
        **{_SECTION[audit.role]: _pair_section(audit) for audit in pair.pairs},
        "Comparison_Summary": {role.value: verdict.passes for role, verdict in verdicts.items()},
        "verdict": {role.value: verdict.value for role, verdict in verdicts.items()},
        "differences": {audit.role.value: _differences(audit.comparison, _SERVERS) for audit in pair.pairs},
        "findings": {server: _findings(pair.said_of(index)) for index, server in enumerate(_SERVERS)},
        "baseline": {server: _baseline(row.baseline) for server, row in zip(_SERVERS, pair.versions, strict=True)},
        "note": {server: note or baseline_words(row) for server, row in zip(_SERVERS, pair.versions, strict=True)},
    }


def to_json(report: dict[str, Any]) -> str:
    """Return the report as ASCII JSON, so that no name can break a reader. Lone surrogates are kept."""
    return json.dumps(report, indent=2) + "\n"


def write_single(report: dict[str, Any], file: Path, option: str) -> None:
    """Write the report of a check or of a comparison.

    Args:
        option: the option that named the file, for the message.

    Raises:
        UsageError: the file cannot be written, or must not be replaced.
    """
    try:
        write_whole(file, to_json(report))
    except OSError as error:
        raise UsageError(f"{option} {file} cannot be written: {error.strerror}") from error


_SECTION = {Role.RUN_MODEL: "Run_Model_Comparison", Role.REG_MODEL: "Reg_Model_Comparison"}


def _system(script: str) -> dict[str, str]:
    return {
        "script": script,
        "utc_time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "mlflow_version": mlflow_version(),
        "python_version": platform.python_version(),
    }


def _version(version: RegisteredVersion) -> dict[str, Any]:
    """Return MLflow's ModelVersion, attribute by attribute, as mlflow-tools wrote it."""
    return {
        "_name": version.name,
        "_version": version.version,
        "_creation_time": version.creation_time_ms,
        "_last_updated_timestamp": version.last_updated_ms,
        "_description": version.description,
        "_user_id": version.user_id,
        "_current_stage": version.stage or "None",
        "_source": redact_location(version.source),
        "_run_id": version.run_id,
        "_run_link": redact_location(version.run_link) if version.run_link else version.run_link,
        "_status": version.status,
        "_status_message": version.status_message,
        "_tags": dict(version.tags),
        "_aliases": list(version.aliases),
    }


def _baseline(view: BaselineView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        "status": view.status.value,
        "accepted_at": view.accepted_at,
        "accepted_by": view.accepted_by,
        "reason": view.reason,
    }


def _copy(copy: CopySummary | None) -> dict[str, Any] | None:
    return None if copy is None else {"download_uri": redact_location(copy.uri), "local_path": _place(copy)}


def _place(copy: CopySummary) -> dict[str, Any]:
    """Return `path`, the local directory of the files or None if they were streamed, and `hash`, of the manifest."""
    has_files = copy.manifest is not None and copy.manifest.entries
    return {"path": copy.directory, "hash": copy.manifest_digest if has_files else None}


def _pair_section(audit: PairAudit) -> dict[str, Any]:
    return {
        "equals": audit.verdict.passes,
        **{server: _pair_place(copy) for server, copy in zip(_SERVERS, audit.copies, strict=True)},
        "verdict": audit.verdict.value,
        "reason": audit.reason or pair_words(audit.verdict),
        "storage": audit.storage.value,
        "compared_by": audit.comparison.compared_by if audit.comparison else None,
        "differences": _differences(audit.comparison, _SERVERS),
    }


def _pair_place(copy: Copy) -> dict[str, Any] | None:
    if not isinstance(copy, ModelCopy):
        return None
    place = _place(summary_of(copy))
    if copy.native is not None:
        place["path"] = f"{copy.directory}/{copy.native}" if copy.directory else copy.native
        entries = copy.reading.entries if copy.reading else ()
        if len(entries) == 1:  # a native model of one file: report the file's digest, as mlflow-tools did
            place["hash"] = entries[0].digest
        elif entries:
            place["hash"] = manifest_of(entries).digest()
    return place


def _differences(comparison: Comparison | None, sides: tuple[str, str]) -> list[dict[str, Any]]:
    return [_difference(difference, sides) for difference in (comparison.differences if comparison else ())]


def _difference(difference: Difference, sides: tuple[str, str]) -> dict[str, Any]:
    kinds = {Kind.ONLY_LEFT: f"only_in_{sides[0]}", Kind.ONLY_RIGHT: f"only_in_{sides[1]}"}
    return {
        "path": difference.path,
        "kind": kinds.get(difference.kind, difference.kind.value),
        "expected_by": difference.expected_by,
        "sizes": dict(zip(sides, difference.sizes, strict=True)),
        "digests": dict(zip(sides, difference.digests, strict=True)),
    }


def _findings(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    return [
        {
            "rule": finding.rule,
            "name": finding.name,
            "severity": finding.severity.value,
            "message": finding.message,
            "remedy": finding.remedy,
            **({"path": finding.path} if finding.path is not None else {}),
        }
        for finding in findings
    ]
