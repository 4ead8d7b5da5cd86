"""Loads what the ledger currently holds for one registry: baselines, open findings, waivers and last readings."""

import hashlib
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from registry_audit.audit.copies import is_mlflows_text
from registry_audit.audit.judging import Finding, Waiver
from registry_audit.ledger.chain import TIME_FORMAT, Entry, Kind
from registry_audit.ledger.entry_bodies import (
    Accepted,
    AuditFinished,
    FindingOpened,
    FindingResolved,
    Read,
    Waived,
    any_body_of,
    body_of,
)
from registry_audit.ledger.known_bytes import KnownBytes
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.model.manifest import Manifest
from registry_audit.printable import storable
from registry_audit.registry.version import RegisteredVersion
from registry_audit.verdict import Severity

Key = tuple[str, str]  # name, version
FindingKey = tuple[str, str, str, str]  # name, version, rule, path or ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A finding was seen on these bytes and differences, and a waiver of it is bound to them."""

    run_manifest: str | None  # digest of the run model's manifest; None if it was not read in full
    manifest: str | None  # of the registry model's
    differences: str | None  # digest of all differences, between the copies and from the baseline; None: not recorded

    @property
    def is_whole(self) -> bool:
        return self.run_manifest is not None and self.manifest is not None

    def is_what_was_waived(self, now: "Subject") -> bool:
        """Say whether a waiver of this subject still holds. No waiver holds for bytes that are not known."""
        if not (self.is_whole and (self.run_manifest, self.manifest) == (now.run_manifest, now.manifest)):
            return False
        return self.differences is None or self.differences == now.differences  # release 0.1.0 recorded none


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """This finding is open: no later audit found that it ended."""

    first_seen: str  # UTC
    severity: Severity  # as the audit that first saw it graded it


@dataclass(frozen=True, slots=True)
class GivenWaiver:
    """This is a waiver as the ledger holds it."""

    waiver: Waiver
    seq: int  # of its entry
    at: str  # UTC
    subject: Subject
    paths: tuple[str, ...] | None  # the files that the finding was on; None if release 0.1.0 wrote the entry


@dataclass(frozen=True, slots=True)
class Baseline:
    """This is the last acceptance of a version."""

    manifest: str | None  # digest; None: accepted as gone
    at: str
    by: str
    reason: str
    creation_time_ms: int | None  # of the version in the registry; a re-created version has another one
    source: str | None = None  # redacted
    despite: tuple[str, ...] = ()  # rules whose findings it was accepted in spite of
    meta_is_mlflows: bool | None = None  # see `entry_bodies.Accepted`
    seq: int = field(default=0, compare=False)  # of its entry

    def had_mlflows_meta(self, version: RegisteredVersion, digest: str) -> bool:
        """Say whether the accepted `registered_model_meta`, which has this digest, was written by MLflow alone."""
        if self.meta_is_mlflows is None:
            return is_mlflows_text(digest, version.name, version.version)
        return self.meta_is_mlflows

    def is_of(self, version: RegisteredVersion) -> bool:
        known = self.creation_time_ms is not None and version.creation_time_ms is not None
        return not known or self.creation_time_ms == version.creation_time_ms


@dataclass(frozen=True, slots=True)
class LastReading:
    """This is what the newest audit of a version recorded."""

    at: str
    audit_id: str
    manifest: str | None  # of the registry model
    run_manifest: str | None
    verdict: str
    # identity and fingerprint of each storage, the digest of its manifest, and when it was last read in full
    storages: tuple[tuple[str, str, str, str], ...]
    differences: str | None = None  # see Subject
    seq: int = 0  # of its entry

    @property
    def subject(self) -> Subject:
        return Subject(self.run_manifest, self.manifest, self.differences)


@dataclass(slots=True)
class Memory:
    """All of this was recomputed from the entries, each of which was checked against its digest."""

    baselines: dict[Key, Baseline] = field(default_factory=dict)
    open_findings: dict[FindingKey, OpenFinding] = field(default_factory=dict)
    untold: set[FindingKey] = field(default_factory=set)  # the open findings of which no audit has notified anybody
    waivers: dict[FindingKey, GivenWaiver] = field(default_factory=dict)
    last_readings: dict[Key, LastReading] = field(default_factory=dict)
    known_bytes: dict[Key, tuple[KnownBytes, ...]] = field(default_factory=dict)  # for versions without a baseline
    previous_audit: Entry | None = None  # the newest finished one

    def waiver_of(self, key: FindingKey, now: Subject, *, today: str) -> Waiver | None:
        """Return a waiver that holds: not expired, for exactly these bytes and differences, and for this file."""
        for given in self._given_for(key):
            if given.waiver.until >= today and given.subject.is_what_was_waived(now):
                return given.waiver
        return None

    def given_since(self, key: FindingKey, waiver: Waiver) -> GivenWaiver | None:
        """Return the entry of a waiver that was given after the previous audit; None if that audit knew the waiver."""
        known = self.previous_audit.seq if self.previous_audit else 0
        return next((given for given in self._given_for(key) if given.waiver == waiver and given.seq > known), None)

    def _given_for(self, key: FindingKey) -> Iterator[GivenWaiver]:
        name, version, rule, path = key
        for wanted in (key, (name, version, rule, "")):
            given = self.waivers.get(wanted)
            if given is not None and (given.paths is None or path in given.paths):
                yield given


def learn(memory: Memory, reader: LedgerReader, registry: str, keys: Collection[Key] | None) -> None:
    """Replace the memory's baselines and last readings by those of these versions.

    Args:
        keys: names and numbers as the ledger spells them; None is all versions.
    """
    memory.baselines.clear()
    memory.last_readings.clear()
    for entry in reader.latest_of_versions(Kind.ACCEPTED, registry, keys):
        memory.baselines[entry.name, entry.version] = baseline_of(entry)
    for entry in reader.latest_of_versions(Kind.READING, registry, keys):
        memory.last_readings[entry.name, entry.version] = last_reading(entry)


def baseline_of(entry: Entry) -> Baseline:
    """Parse an entry of the kind `accepted`."""
    body = body_of(entry, Accepted)
    return Baseline(
        body.manifest,
        entry.at,
        body.by,
        body.reason,
        body.creation_time_ms,
        body.source,
        body.despite,
        body.meta_is_mlflows,
        entry.seq,
    )


def load_findings(reader: LedgerReader, registry: str) -> Memory:
    """Load the open findings, the waivers and the previous audit. Baselines and last readings are left empty."""
    memory, opened_by = Memory(), defaultdict[str, list[FindingKey]](list)
    kinds = Kind.FINDING_OPENED, Kind.FINDING_RESOLVED, Kind.WAIVED, Kind.AUDIT_FINISHED
    for entry in reader.of_kind(*kinds, registry=registry):
        match any_body_of(entry):
            case FindingOpened(rule=rule, path=path, severity=severity):
                key = entry.name, entry.version, rule, path or ""
                memory.open_findings[key] = OpenFinding(entry.at, Severity(severity))
                memory.untold.add(key)
                opened_by[entry.audit_id].append(key)
            case FindingResolved(rule=rule, path=path):
                key = entry.name, entry.version, rule, path or ""
                memory.open_findings.pop(key, None)
                memory.untold.discard(key)
            case AuditFinished() as finished:
                memory.previous_audit = entry
                opened = opened_by.pop(entry.audit_id, [])
                if finished.tells:
                    memory.untold.difference_update(opened, finished.told or ())
            case Waived() as waived:
                memory.waivers[entry.name, entry.version, waived.rule, waived.path or ""] = GivenWaiver(
                    Waiver(waived.by, waived.reason, waived.until),
                    entry.seq,
                    entry.at,
                    Subject(waived.run_manifest, waived.manifest, waived.differences),
                    waived.paths,
                )
            case _:
                pass
    return memory


def last_reading(entry: Entry) -> LastReading:
    body = body_of(entry, Read)
    # A storage without a separate time was read in full by that audit.
    storages = tuple((s[0], s[1], s[2], s[3] or entry.at) for s in body.storages)
    manifests = body.manifest, body.run_manifest
    return LastReading(entry.at, entry.audit_id, *manifests, body.verdict, storages, body.differences, entry.seq)


def finding_key(version: RegisteredVersion, finding: Finding) -> FindingKey:
    return *version.ledger_key, finding.rule, finding.path or ""


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


# `--quick` finds the full readings in the ledger by the identity and the fingerprint of a storage.

_KEPT_MANIFESTS = 4_000  # some tens of megabytes at most for typical models


class TrustedReadings:
    """Finds the newest reading of each version. Safe to share between threads, as cached values never differ."""

    def __init__(self, ledger: Ledger, registry: str, full_every: int | None) -> None:
        """Load the newest reading of each version of a registry.

        Args:
            full_every: number of days after which a full reading is no longer trusted; None trusts any reading.
        """
        self._ledger, self._registry = ledger, registry
        self._known: dict[bytes, tuple[str, str]] = {}  # -> digest of the manifest, when it was read in full
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        now = datetime.now(UTC)
        newest = now.strftime(TIME_FORMAT)
        oldest = "" if full_every is None else (now - timedelta(days=full_every)).strftime(TIME_FORMAT)
        with ledger.reading() as reader:
            for entry in reader.latest_of_versions(Kind.READING, registry):
                for identity, fingerprint, manifest, read_at in last_reading(entry).storages:
                    if oldest <= read_at <= newest:  # a reading from the future was dated by a wrong clock
                        self._known[_key(identity, fingerprint)] = manifest, sys.intern(read_at)

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Fetch the manifests that these versions will need, with few queries."""
        wanted = [(storable(name), storable(version)) for name, version in keys]
        with self._ledger.reading() as reader:
            entries = reader.latest_of_versions(Kind.READING, self._registry, wanted)
            digests = {storage[2] for entry in entries for storage in last_reading(entry).storages}
            for digest, manifest in reader.manifests(digests - self._manifests.keys()).items():
                self._keep(digest, manifest)

    def __call__(self, identity: str, fingerprint: str) -> tuple[Manifest, str] | None:
        """Return the manifest of a storage with this fingerprint, and when it was last read in full (UTC)."""
        digest, read_at = self._known.get(_key(identity, fingerprint), (None, ""))
        if digest is None:
            return None
        manifest = self._manifests.get(digest)
        if manifest is None:
            with self._ledger.reading() as reader:
                manifest = reader.manifest(digest)
            self._keep(digest, manifest)
        return manifest, read_at

    def _keep(self, digest: str, manifest: Manifest) -> None:
        self._manifests[digest] = manifest
        while len(self._manifests) > _KEPT_MANIFESTS:
            self._manifests.popitem(last=False)


def _key(identity: str, fingerprint: str) -> bytes:
    text = f"{fingerprint}\n{identity}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()[:20]
