"""One audit, written into the ledger: begun before anything is read, and at its end everything at once.

The end is one transaction under the ledger's lock: what is said of a version is said beside the baselines of that
very moment, and of two audits that see a new version at the same time only the first accepts it.
"""

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.outcome import outcome_of
from registry_audit.audit.scope import Scope
from registry_audit.errors import NotFound, UsageError
from registry_audit.ledger.assess import assess, is_acceptable, vanished
from registry_audit.ledger.chain import TIME_FORMAT, Draft, Entry, Kind, storable
from registry_audit.ledger.memory import Key, Memory, finding_key, last_reading, load_memory, today
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.verdict import BaselineStatus, Verdict


@dataclass(frozen=True, slots=True)
class Resolved:
    """A finding of an earlier audit that this one no longer has."""

    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """An audit as it stands in the ledger."""

    audits: tuple[VersionAudit, ...]  # assessed, with the versions that vanished
    resolved: tuple[Resolved, ...]
    head: Entry
    audit_id: str
    previous_audit_at: str | None
    accepted_count: int


def registry_of(registry_uri: str) -> str:
    """A registry's name in the ledger, one for everybody and every spelling: no user, no relative path, one case.

    A second name for one registry would have no baselines, and an overwrite would be called new.
    """
    parts = urlsplit(registry_uri)
    if parts.scheme.startswith("sqlite"):
        return f"sqlite:///{os.path.realpath(parts.path.removeprefix('/'))}"
    if parts.scheme.startswith("databricks") or not parts.netloc:
        return redact(registry_uri).rstrip("/")
    host = parts.netloc.rpartition("@")[2].lower().removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, " "))
    return redact(urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), "", "")))


def begin(ledger: Ledger, scope: Scope, options: AuditOptions, audit_id: str) -> Entry:
    """Note that an audit began; one that never finishes stays visible as interrupted.

    Raises:
        UsageError: the ledger's baselines were made with another digest algorithm.
        LedgerError: the ledger cannot be written.
    """
    registry = registry_of(scope.registry_uri)
    with ledger.writing() as writer:
        writer.check_recent()
        algorithm = algorithm_of(writer, registry) or options.digest
        if algorithm != options.digest:
            raise UsageError(
                f"the baselines in the ledger are {algorithm}: audit with --digest {algorithm}, "
                "or keep another ledger with --ledger"
            )
        known = {entry.name for entry in writer.latest_of_versions(Kind.ACCEPTED, registry)} if scope.missing else set()
        for name in scope.missing:
            if name not in known:
                raise NotFound(f"there is no registered model '{printable(name)}' in {printable(registry)}")
        body = {"options": options.reported(), "listed": scope.listed_count, "selected": len(scope.versions)}
        return writer.append([Draft(Kind.AUDIT_STARTED, registry, audit_id=audit_id, body=body)])


def algorithm_of(reader: LedgerReader, registry: str) -> str | None:
    """The digest algorithm of a registry's baselines; None where there is none yet."""
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry):
        if accepted := entry.fields.get("manifest"):
            return str(accepted).partition(":")[0]
    return None


def finish(
    ledger: Ledger,
    scope: Scope,
    options: AuditOptions,
    audit_id: str,
    audits: tuple[VersionAudit, ...],
    hidden: Mapping[Key, str] = MappingProxyType({}),
) -> Recorded:
    """Assess every row beside the ledger, and record the audit.

    Args:
        hidden: versions with a baseline that were not listed and are not known to be gone, and why.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    registry, day = registry_of(scope.registry_uri), today()
    scope = replace(scope, listed=frozenset((storable(name), version) for name, version in scope.listed))
    with ledger.writing() as writer:
        memory = load_memory(writer, registry)
        fetch = _remembering(writer)
        assessed = [assess(a, memory, fetch, algorithm=options.digest, today=day) for a in audits]
        assessed += [
            vanished(name, version, baseline, memory, today=day, hidden=hidden.get((name, version)))
            for (name, version), baseline in sorted(memory.baselines.items())
            if baseline.manifest is not None and _is_missing(name, version, scope, options)
        ]
        accepted = [a for a in assessed if options.accept_new and _is_new(a) and is_acceptable(a)]
        writer.keep_manifests(_manifests(assessed, options.digest))
        head = writer.append(_drafts(registry, audit_id, options, scope, assessed, accepted, memory))
    return Recorded(
        audits=tuple(assessed),
        resolved=_resolved(assessed, memory, scope, options),
        head=head,
        audit_id=audit_id,
        previous_audit_at=memory.previous_audit.at if memory.previous_audit else None,
        accepted_count=len(accepted),
    )


def absent_versions(ledger: Ledger, scope: Scope, options: AuditOptions) -> tuple[Key, ...]:
    """Versions with a baseline that this audit's listing should have shown, and did not."""
    listed = frozenset((storable(name), version) for name, version in scope.listed)
    with ledger.reading() as reader:
        accepted = [
            (entry.name, entry.version)
            for entry in reader.latest_of_versions(Kind.ACCEPTED, registry_of(scope.registry_uri))
            if entry.fields.get("manifest") is not None
        ]
    scope = replace(scope, listed=listed)
    return tuple(sorted(key for key in accepted if _is_missing(*key, scope, options)))


def trusted_readings(
    ledger: Ledger, registry_uri: str, full_every: int | None
) -> Callable[[str, str], tuple[Manifest, str] | None]:
    """For `--quick`: identity and fingerprint of a storage to its manifest and when it was last read in full.

    Args:
        full_every: days after which a full reading is no longer trusted; None trusts any.
    """
    oldest = "" if full_every is None else (datetime.now(UTC) - timedelta(days=full_every)).strftime(TIME_FORMAT)
    known: dict[tuple[str, str], tuple[str, str]] = {}
    with ledger.reading() as reader:
        for entry in reader.latest_of_versions(Kind.READING, registry_of(registry_uri)):
            for identity, fingerprint, manifest, read_at in last_reading(entry).storages:
                if read_at >= oldest:
                    known[identity, fingerprint] = manifest, read_at
        texts = {digest for digest, _ in known.values()}
        manifests = {digest: reader.manifest(digest) for digest in sorted(texts)}

    def trusted(identity: str, fingerprint: str) -> tuple[Manifest, str] | None:
        digest, read_at = known.get((identity, fingerprint), (None, ""))
        return (manifests[digest], read_at) if digest is not None else None

    return trusted


def who() -> str:
    """Who accepts: the user of this process and its machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return f"unknown@{socket.gethostname()}"


def accepted_draft(
    registry: str, audit_id: str, audit: VersionAudit, manifest: Manifest, by: str, reason: str
) -> Draft:
    version = audit.version
    body = {
        "manifest": manifest.digest(),
        "files": len(manifest.entries),
        "bytes": sum(entry.size for entry in manifest.entries),
        "by": by,
        "reason": reason,
        "creation_time_ms": version.creation_time_ms,
        "run_id": version.run_id,
        "source": redact(version.source),
    }
    return Draft(Kind.ACCEPTED, registry, version.name, version.version, audit_id, body)


def _drafts(
    registry: str,
    audit_id: str,
    options: AuditOptions,
    scope: Scope,
    audits: list[VersionAudit],
    accepted: list[VersionAudit],
    memory: Memory,
) -> Iterator[Draft]:
    for audit in audits:
        version = audit.version
        if audit.verdict is not Verdict.SKIPPED or audit.reg_model is not None:
            body = _reading_body(audit, options.digest)
            yield Draft(Kind.READING, registry, version.name, version.version, audit_id, body)
        for finding in audit.findings:
            if finding.new:
                opened = {"rule": finding.rule, "path": finding.path, "severity": finding.severity.value}
                yield Draft(Kind.FINDING_OPENED, registry, version.name, version.version, audit_id, opened)
    for gone in _resolved(audits, memory, scope, options):
        resolved = {"rule": gone.rule, "path": gone.path, "first_seen": gone.first_seen}
        yield Draft(Kind.FINDING_RESOLVED, registry, gone.name, gone.version, audit_id, resolved)
    by = who()
    for audit in accepted:
        manifest = audit.reg_model.manifest(options.digest) if audit.reg_model else None
        if manifest is not None:
            yield accepted_draft(registry, audit_id, audit, manifest, by, "on first sight (--accept-new)")
    outcome = outcome_of(audits, options.fail_on, listed_whole=scope.listed_whole)
    verdicts = {verdict.value: sum(1 for audit in audits if audit.verdict is verdict) for verdict in Verdict}
    body = {"exit_status": int(outcome.exit_status), "verdicts": verdicts, "listed": scope.listed_count}
    yield Draft(Kind.AUDIT_FINISHED, registry, audit_id=audit_id, body=body)


def _reading_body(audit: VersionAudit, algorithm: str) -> dict[str, Any]:
    storages = {}
    for copy in (audit.run_model, audit.reg_model):
        manifest = copy.manifest(algorithm) if copy else None
        # Only a listing that tells an overwrite of the same size may ever stand for the bytes.
        if copy is not None and manifest is not None and copy.reading is not None and copy.listing.tells_changes:
            read_at = copy.reading.trusted_since or ""
            storages[copy.identity] = [copy.identity, copy.listing.fingerprint(), manifest.digest(), read_at]
    run, reg = (copy.manifest(algorithm) if copy else None for copy in (audit.run_model, audit.reg_model))
    return {
        "verdict": audit.verdict.value,
        "baseline": audit.baseline.status.value if audit.baseline else None,
        "manifest": reg.digest() if reg else None,
        "run_manifest": run.digest() if run else None,
        "storages": [storages[identity] for identity in sorted(storages)],
        "rules": sorted({finding.rule for finding in audit.findings}),
    }


def _resolved(audits: list[VersionAudit], memory: Memory, scope: Scope, options: AuditOptions) -> tuple[Resolved, ...]:
    """Open findings of versions that were looked at, or are gone, and that no longer have them."""
    current = {finding_key(audit.version, finding) for audit in audits for finding in audit.findings}
    looked_at: dict[Key, VersionAudit] = {(a.version.name, a.version.version): a for a in audits}
    resolved = []
    for (name, version, rule, path), first_seen in sorted(memory.open_findings.items()):
        if (name, version, rule, path) in current:
            continue
        audit = looked_at.get((name, version))
        # A version that could not be read whole has not lost its findings.
        seen = audit is not None and (audit.verdict is not Verdict.UNVERIFIABLE or rule == "RA009")
        gone = audit is None and _is_missing(name, version, scope, options)
        if seen or gone:
            resolved.append(Resolved(name, version, rule, path or None, first_seen))
    return tuple(resolved)


def _is_missing(name: str, version: str, scope: Scope, options: AuditOptions) -> bool:
    """Whether a version should have been in this audit's listing, and was not."""
    chosen = not options.models or any(fnmatchcase(name, pattern) for pattern in options.models)
    return chosen and options.filter is None and scope.listed_whole and (name, version) not in scope.listed


def _is_new(audit: VersionAudit) -> bool:
    return audit.baseline is not None and audit.baseline.status is BaselineStatus.NEW


def _manifests(audits: list[VersionAudit], algorithm: str) -> dict[str, Manifest]:
    kept: dict[str, Manifest] = {}
    for audit in audits:
        for copy in (audit.run_model, audit.reg_model):
            manifest = copy.manifest(algorithm) if copy else None
            if manifest is not None:
                kept[manifest.digest()] = manifest
    return kept


def _remembering(reader: LedgerReader) -> Callable[[str], Manifest]:
    fetched: dict[str, Manifest] = {}

    def fetch(digest: str) -> Manifest:
        if digest not in fetched:
            fetched[digest] = reader.manifest(digest)
        return fetched[digest]

    return fetch
