"""Turns the audit of a version into entries for the chain, and finds the earlier findings that the audit resolves."""

import hashlib
import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from registry_audit.audit.copies import META_FILE, CopySummary
from registry_audit.audit.judging import VersionAudit, Waiver
from registry_audit.audit.pipeline import RULES_SEEN
from registry_audit.audit.signatures import SIGNATURE
from registry_audit.ledger.chain import TIME_FORMAT, Draft
from registry_audit.ledger.entry_bodies import Accepted, FindingOpened, Read, StorageRead
from registry_audit.ledger.memory import FindingKey, Key, Memory, Subject, finding_key
from registry_audit.ledger.version_history import Expected
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.version import has_storable_name
from registry_audit.verdict import BaselineStatus, Verdict

ON_FIRST_SIGHT = "at first sight, --accept-new"


def drafts_of(registry: str, audit_id: str, audit: VersionAudit) -> list[Draft]:
    """Return the entries for the reading of a version and for each of its new findings."""
    version, drafts = audit.version, list[Draft]()
    if not has_storable_name(version.name, version.version):  # such a version could not be verified either
        return drafts
    was_looked_into = audit.verdict is not Verdict.SKIPPED or audit.reg_model is not None
    # A row that is based on a listing alone must not replace the last reading of the bytes.
    if was_looked_into and not audit.only_listed:
        drafts.append(_reading(audit).draft(registry, *version.ledger_key, audit_id))
    for finding in audit.findings:
        if finding.new:
            opened = FindingOpened(rule=finding.rule, path=finding.path, severity=finding.severity.value)
            drafts.append(opened.draft(registry, *version.ledger_key, audit_id))
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
    version, copy = audit.version, audit.reg_model
    optional: dict[str, Any] = {"despite": tuple(despite)} if despite else {}
    if copy is not None and any(entry.path == META_FILE for entry in manifest.entries):
        optional["meta_is_mlflows"] = copy.meta_is_mlflows
    accepted = Accepted(
        manifest=manifest.digest(),
        files=len(manifest.entries),
        bytes=sum(entry.size for entry in manifest.entries),
        by=by,
        reason=reason,
        creation_time_ms=version.creation_time_ms,
        run_id=version.run_id,
        source=redact_location(version.source),
        **optional,
    )
    return accepted.draft(registry, *version.ledger_key, audit_id)


def subject_of(audit: VersionAudit) -> Subject:
    """Return what the findings of a row were seen on. The row must already have been compared with its baseline."""
    between = audit.comparison.differences if audit.comparison else ()
    since = audit.baseline.differences if audit.baseline else ()
    told = [[[d.path, d.kind.value, d.sizes, d.digests] for d in differences] for differences in (between, since)]
    digest = "sha256:" + hashlib.sha256(json.dumps(told).encode("ascii")).hexdigest()
    run, reg = audit.run_model, audit.reg_model
    return Subject(run.manifest_digest if run else None, reg.manifest_digest if reg else None, digest)


def manifests_of(audit: VersionAudit) -> dict[str, Manifest]:
    """Return the manifests of a row's copies, by digest."""
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
        signature=audit.signature.status.value if audit.signature else None,
    )


def _storage(copy: CopySummary) -> StorageRead | None:
    """Return the storage with its fingerprint, or None if its listing would not reveal an overwrite of equal size."""
    if copy.fingerprint is None or copy.manifest_digest is None:
        return None
    # Record a separate time: an entry's time never goes back, so it stays wrong after a clock once was ahead.
    read_at = copy.trusted_since or (f"{copy.read_at[:19]}Z" if copy.read_at else _now())
    return copy.identity, copy.fingerprint, copy.manifest_digest, read_at


def _now() -> str:
    return datetime.now(UTC).strftime(TIME_FORMAT)


# Below: findings of earlier audits that the current audit no longer has.


@dataclass(frozen=True, slots=True)
class Resolved:
    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str
    by: str  # what ended it, in one sentence


class Resolving:
    """Finds the open findings that have ended, after it was shown every row of an audit."""

    def __init__(self, memory: Memory, hidden: Container[Key] = ()) -> None:
        """Start with all open findings of the registry.

        Args:
            memory: what the ledger knows, with the findings and waivers of all versions.
            hidden: versions that were not listed and are not known to be gone.
        """
        self._memory, self._open, self._hidden = memory, dict(memory.open_findings), hidden
        self._versions = {key[:2] for key in self._open}
        self._waived = list[Resolved]()
        self._accepted_since = set[Key]()  # versions accepted after the previous audit read them
        self._looked_at: dict[Key, VersionAudit] = {}

    def show(self, audit: VersionAudit) -> None:
        """Take a row into account. Call this while the memory holds what is known of the row's version."""
        key = audit.version.ledger_key
        if key not in self._versions:
            return
        self._looked_at[key] = audit
        baseline, last = self._memory.baselines.get(key), self._memory.last_readings.get(key)
        if baseline is not None and last is not None and baseline.seq > last.seq:
            self._accepted_since.add(key)
        for finding in audit.findings:
            self._show_open(finding_key(audit.version, finding), finding.waiver)

    def _show_open(self, key: FindingKey, waiver: Waiver | None) -> None:
        known = self._open.pop(key, None)
        given = self._memory.given_since(key, waiver) if known is not None and waiver is not None else None
        if known is not None and given is not None:
            by, reason = printable(given.waiver.by), printable(given.waiver.reason)
            said = (
                f"a waiver, which {by} gave on {given.at[:10]} until {given.waiver.until}: {reason}; it is still there"
            )
            name, version, rule, path = key
            self._waived.append(Resolved(name, version, rule, path or None, known.first_seen, said))

    @property
    def waived(self) -> tuple[Resolved, ...]:
        """Return findings that still exist and that somebody has waived since the previous audit."""
        return tuple(sorted(self._waived, key=lambda one: (one.name, one.version, one.rule, one.path or "")))

    def resolved(self, expected: Expected) -> tuple[Resolved, ...]:
        """Return resolved findings: the version was audited or is gone, and no longer has the finding."""
        return tuple(
            Resolved(name, version, rule, path or None, known.first_seen, self._ended_by(name, version, rule))
            for (name, version, rule, path), known in sorted(self._open.items(), key=lambda item: item[0])
            if self._is_settled(name, version, rule, path, expected)
        )

    def _ended_by(self, name: str, version: str, rule: str) -> str:
        audit = self._looked_at.get((name, version))
        if audit is None or _is_gone(audit):
            return "the version is no longer in the registry"
        if rule == "RA011":
            return "the version is in the registry again, or was accepted as gone"
        baseline = audit.baseline
        if rule == "RA002" and baseline is not None and baseline.accepted_at is not None:
            if (name, version) in self._accepted_since:
                by, reason = printable(baseline.accepted_by or "somebody"), printable(baseline.reason or "")
                return f"a new baseline, which {by} accepted on {baseline.accepted_at[:10]}: {reason}"
            return "the bytes of the baseline came back"
        if rule == "RA014" and audit.signature is None:
            return "the model no longer holds a signature"
        return "this audit no longer found it"

    def _is_settled(self, name: str, version: str, rule: str, path: str, expected: Expected) -> bool:
        audit = self._looked_at.get((name, version))
        if audit is None:
            return expected.lacks(name, version) and (name, version) not in self._hidden
        return is_settled(audit, rule, path)


def is_settled(audit: VersionAudit, rule: str, path: str) -> bool:
    """Say whether an open finding that a row lacks has ended. It has not if its subject was not looked at."""
    if _is_gone(audit):
        return True
    if audit.only_listed:
        return rule in RULES_SEEN and audit.verdict is not Verdict.UNVERIFIABLE
    if path == SIGNATURE and audit.signature is not None and not audit.signature.status.is_judged:
        return False  # for instance, the key that proved the signature invalid was not given this time
    if rule == "RA009":
        return True
    copies = [copy for copy in (audit.run_model, audit.reg_model) if copy is not None]
    if not copies or any(copy.manifest is None for copy in copies):
        return False
    return audit.verdict not in (Verdict.UNVERIFIABLE, Verdict.SKIPPED)


def _is_gone(audit: VersionAudit) -> bool:
    return audit.baseline is not None and audit.baseline.status is BaselineStatus.VANISHED
