"""What the ledger says of one registry as of now: baselines, open findings, waivers, last readings."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from registry_audit.audit.judging import Finding, Waiver
from registry_audit.ledger.chain import Entry, Kind
from registry_audit.ledger.known_bytes import KnownBytes
from registry_audit.ledger.store import LedgerReader
from registry_audit.printable import storable
from registry_audit.registry.version import RegisteredVersion

Key = tuple[str, str]  # name, version
FindingKey = tuple[str, str, str, str]  # name, version, rule, path or ""
Bytes = tuple[str | None, str | None]  # digests of the manifests of the run model and of the registry model


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was accepted last for a version."""

    manifest: str | None  # digest; None: accepted as gone
    at: str
    by: str
    reason: str
    creation_time_ms: int | None  # of the version in the registry, which a re-created one does not share

    def is_of(self, version: RegisteredVersion) -> bool:
        known = self.creation_time_ms is not None and version.creation_time_ms is not None
        return not known or self.creation_time_ms == version.creation_time_ms


@dataclass(frozen=True, slots=True)
class LastReading:
    """What the newest audit that had a version in it recorded."""

    at: str
    audit_id: str
    manifest: str | None  # of the registry model
    run_manifest: str | None
    verdict: str
    # identity and fingerprint of each storage, the digest of its manifest, and when it was last read in full
    storages: tuple[tuple[str, str, str, str], ...]

    @property
    def bytes(self) -> Bytes:
        return self.run_manifest, self.manifest


@dataclass(slots=True)
class Memory:
    """Everything here was recomputed from the entries, each checked against its digest."""

    baselines: dict[Key, Baseline] = field(default_factory=dict)
    open_findings: dict[FindingKey, str] = field(default_factory=dict)  # -> first seen
    waivers: dict[FindingKey, tuple[Waiver, Bytes]] = field(default_factory=dict)  # -> for which bytes
    last_readings: dict[Key, LastReading] = field(default_factory=dict)
    known_bytes: dict[Key, tuple[KnownBytes, ...]] = field(default_factory=dict)  # of versions without a baseline
    previous_audit: Entry | None = None  # the newest finished one

    def waiver_of(self, key: FindingKey, bytes_now: Bytes, *, today: str) -> Waiver | None:
        """A waiver that holds: not expired, and for these very bytes."""
        name, version, rule, _ = key
        for wanted in (key, (name, version, rule, "")):
            waiver, waived_bytes = self.waivers.get(wanted, (None, (None, None)))
            if waiver is not None and waiver.until >= today and waived_bytes == bytes_now:
                return waiver
        return None


def load_memory(reader: LedgerReader, registry: str) -> Memory:
    """Everything. Of a registry of any size, an audit takes `load_findings` and then some versions at a time."""
    memory = load_findings(reader, registry)
    learn(memory, reader, registry, None)
    return memory


def learn(memory: Memory, reader: LedgerReader, registry: str, keys: Collection[Key] | None) -> None:
    """Baselines and last readings of these versions, in the names of the ledger, in place of those known before."""
    memory.baselines.clear()
    memory.last_readings.clear()
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry, keys):
        memory.baselines[entry.name, entry.version] = baseline_of(entry)
    for entry in reader.latest_of_versions(Kind.READING, registry, keys):
        memory.last_readings[entry.name, entry.version] = last_reading(entry)


def baseline_of(entry: Entry) -> Baseline:
    """What an entry of the kind `accepted` says."""
    body = entry.fields
    return Baseline(
        body.get("manifest"), entry.at, body.get("by", ""), body.get("reason", ""), body.get("creation_time_ms")
    )


def load_findings(reader: LedgerReader, registry: str) -> Memory:
    """Open findings, waivers and the audit before; of no version a baseline yet."""
    memory = Memory()
    for entry in reader.of_kind(Kind.FINDING_OPENED, Kind.FINDING_RESOLVED, Kind.WAIVED, registry=registry):
        body = entry.fields
        key = (entry.name, entry.version, body["rule"], body.get("path") or "")
        if entry.kind == Kind.FINDING_OPENED:
            memory.open_findings[key] = entry.at
        elif entry.kind == Kind.FINDING_RESOLVED:
            memory.open_findings.pop(key, None)
        else:
            memory.waivers[key] = (
                Waiver(body["by"], body["reason"], body["until"]),
                (body.get("run_manifest"), body.get("manifest")),
            )
    for entry in reader.of_kind(Kind.AUDIT_FINISHED, registry=registry):
        memory.previous_audit = entry
    return memory


def last_reading(entry: Entry) -> LastReading:
    body = entry.fields
    # Without a time of its own a storage was read in full by that very audit.
    storages = tuple((s[0], s[1], s[2], s[3] or entry.at) for s in body.get("storages", ()))
    return LastReading(
        entry.at,
        entry.audit_id,
        body.get("manifest"),
        body.get("run_manifest"),
        body.get("verdict", ""),
        storages,
    )


def finding_key(version: RegisteredVersion, finding: Finding) -> FindingKey:
    return storable(version.name), version.version, finding.rule, finding.path or ""


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
