"""What an audit says of one version, as entries for the chain."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from registry_audit.audit.copy_summary import CopySummary
from registry_audit.audit.judging import VersionAudit
from registry_audit.ledger.chain import TIME_FORMAT, Draft
from registry_audit.ledger.entry_bodies import Accepted, FindingOpened, Read, StorageRead
from registry_audit.ledger.memory import Subject
from registry_audit.model.manifest import Manifest
from registry_audit.redact import redact_location
from registry_audit.registry.version import has_storable_name
from registry_audit.verdict import Verdict

ON_FIRST_SIGHT = "at first sight, --accept-new"


def drafts_of(registry: str, audit_id: str, audit: VersionAudit) -> list[Draft]:
    """The reading of a version, and its findings that are new."""
    version, drafts = audit.version, list[Draft]()
    if not has_storable_name(version.name, version.version):  # nothing of it could be verified, either
        return drafts
    was_looked_into = audit.verdict is not Verdict.SKIPPED or audit.reg_model is not None
    # A row of listings alone must not stand before the last reading of the bytes.
    if was_looked_into and not audit.only_listed:
        drafts.append(_reading(audit).draft(registry, version.name, version.version, audit_id))
    for finding in audit.findings:
        if finding.new:
            opened = FindingOpened(rule=finding.rule, path=finding.path, severity=finding.severity.value)
            drafts.append(opened.draft(registry, version.name, version.version, audit_id))
    return drafts


def accepted_draft(
    registry: str,
    audit_id: str,
    audit: VersionAudit,
    manifest: Manifest,
    by: str,
    reason: str,
    despite: Sequence[str] = (),
) -> Draft:
    version = audit.version
    accepted = Accepted(
        manifest=manifest.digest(),
        files=len(manifest.entries),
        bytes=sum(entry.size for entry in manifest.entries),
        by=by,
        reason=reason,
        creation_time_ms=version.creation_time_ms,
        run_id=version.run_id,
        source=redact_location(version.source),
        **({"despite": tuple(despite)} if despite else {}),
    )
    return accepted.draft(registry, version.name, version.version, audit_id)


def subject_of(audit: VersionAudit) -> Subject:
    """What the findings of a row that stands beside its baseline were seen on."""
    between = audit.comparison.differences if audit.comparison else ()
    since = audit.baseline.differences if audit.baseline else ()
    told = [[[d.path, d.kind.value, d.sizes, d.digests] for d in differences] for differences in (between, since)]
    digest = "sha256:" + hashlib.sha256(json.dumps(told).encode("ascii")).hexdigest()
    run, reg = audit.run_model, audit.reg_model
    return Subject(run.manifest_digest if run else None, reg.manifest_digest if reg else None, digest)


def manifests_of(audit: VersionAudit) -> dict[str, Manifest]:
    """By digest."""
    copies = (copy for copy in (audit.run_model, audit.reg_model) if copy is not None)
    return {copy.manifest_digest: copy.manifest for copy in copies if copy.manifest_digest and copy.manifest}


def _reading(audit: VersionAudit) -> Read:
    run, reg = audit.run_model, audit.reg_model
    read = (_storage(copy) for copy in (run, reg) if copy is not None)
    storages = {storage[0]: storage for storage in read if storage is not None}
    return Read(
        verdict=audit.verdict.value,
        baseline=audit.baseline.status.value if audit.baseline else None,
        manifest=reg.manifest_digest if reg else None,
        run_manifest=run.manifest_digest if run else None,
        storages=tuple(storages[identity] for identity in sorted(storages)),
        differences=subject_of(audit).differences,
        rules=tuple(sorted({finding.rule for finding in audit.findings})),
        creation_time_ms=audit.version.creation_time_ms,
        run_id=audit.version.run_id,
    )


def _storage(copy: CopySummary) -> StorageRead | None:
    """None where a listing does not tell an overwrite of the same size: it may never stand for the bytes."""
    if copy.fingerprint is None or copy.manifest_digest is None:
        return None
    # A time of its own: the entry's never goes back, and is wrong for as long as a clock once was ahead.
    read_at = copy.trusted_since or (f"{copy.read_at[:19]}Z" if copy.read_at else _now())
    return copy.identity, copy.fingerprint, copy.manifest_digest, read_at


def _now() -> str:
    return datetime.now(UTC).strftime(TIME_FORMAT)
