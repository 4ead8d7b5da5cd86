"""Compares versions with what the ledger knows about them. Nothing is written: checking never changes a baseline."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from registry_audit.audit.comparing import Difference, Kind, explains_meta
from registry_audit.audit.copies import is_mlflows_text
from registry_audit.audit.judging import BaselineView, Finding, VersionAudit, findings_of, sorted_findings
from registry_audit.ledger.audit_entries import subject_of
from registry_audit.ledger.known_bytes import DAMAGED, IsUnlisted, KnownBytes, OtherNames, known_bytes
from registry_audit.ledger.memory import Baseline, Key, Memory, Subject, finding_key, learn, load_findings, today
from registry_audit.ledger.store import LedgerReader
from registry_audit.ledger.version_history import Renamed
from registry_audit.model.listing import Problem
from registry_audit.model.manifest import Manifest
from registry_audit.printable import printable, restored
from registry_audit.redact import redact_location
from registry_audit.registry.version import RegisteredVersion
from registry_audit.verdict import BaselineStatus, Storage, Verdict

FetchManifest = Callable[[str], Manifest]  # fetches a manifest from the ledger by its digest

_SHOWN = 20  # maximum number of files named in the message; the row holds all of them


def assess(audit: VersionAudit, memory: Memory, fetch: FetchManifest, *, today: str) -> VersionAudit:
    """Return the row with its baseline status, RA002 and RA011 where they apply, and the history of each finding."""
    version = audit.version
    key = version.ledger_key
    baseline = memory.baselines.get(key)
    if audit.deleted_meanwhile and baseline is not None and baseline.manifest and baseline.is_of(version):
        gone = vanished(*key, baseline, memory, today=today)
        return replace(gone, version=replace(version, status=gone.version.status), seconds=audit.seconds)
    view, problems = _beside_baseline(audit, baseline, memory.known_bytes.get(key, ()), fetch)
    findings = sorted_findings((*audit.findings, *findings_of(version, problems)))
    beside = replace(audit, baseline=view)
    now = subject_of(beside)
    if audit.only_listed:  # the current bytes are not known: a waiver holds for the bytes last read
        last = memory.last_readings.get(key)
        now = last.subject if last else now
    return replace(beside, findings=tuple(_with_life(version, finding, memory, now, today) for finding in findings))


def vanished(
    name: str, version: str, baseline: Baseline, memory: Memory, *, today: str, hidden: str | None = None
) -> VersionAudit:
    """Return the row of a version that was accepted and is no longer in the registry.

    Args:
        hidden: the reason why the version was not listed although it may still exist; None if it is known to be gone.
    """
    status = "UNKNOWN" if hidden else "DELETED"
    gone = RegisteredVersion(restored(name), restored(version), status, None, (), None, "", baseline.creation_time_ms)
    message = f"it was accepted on {baseline.at[:10]} by {printable(baseline.by)} and is no longer in the registry"
    problem = Problem("RA009", f"it was not listed: {hidden}") if hidden else Problem("RA011", message)
    findings = findings_of(gone, [problem])
    reading = memory.last_readings.get((name, version))
    last_seen = reading.subject if reading else Subject(None, None, None)
    view = BaselineView(
        BaselineStatus.NOT_READ if hidden else BaselineStatus.VANISHED,
        (),
        baseline.at,
        baseline.by,
        baseline.reason,
        _last_read(memory, name, version),
    )
    return VersionAudit(
        version=gone,
        verdict=Verdict.UNVERIFIABLE if hidden else Verdict.SKIPPED,
        reason=hidden or "it is no longer in the registry",
        storage=Storage.UNKNOWN,
        run_model=None,
        reg_model=None,
        comparison=None,
        findings=tuple(_with_life(gone, finding, memory, last_seen, today) for finding in findings),
        baseline=view,
    )


def is_acceptable(audit: VersionAudit) -> bool:
    """Say whether a version may be accepted at first sight: its verdict passes and its model is undamaged.

    If a damaged model became the baseline, every later audit would report the damage as unchanged.
    """
    return audit.verdict.passes and not any(finding.rule in DAMAGED for finding in audit.findings)


def baseline_differences(
    accepted: Manifest,
    now: Manifest,
    *,
    was_mlflows: Callable[[str], bool] = lambda digest: False,
    is_mlflows: bool = False,
) -> tuple[Difference, ...]:
    """Return the differences sorted by path. The left side is the accepted manifest, the right side the current one.

    Args:
        was_mlflows: says whether an accepted `registered_model_meta` with this digest was written by MLflow alone.
        is_mlflows: whether the current `registered_model_meta` was written by MLflow alone.
    """
    before = {entry.path: entry for entry in accepted.entries}
    after = {entry.path: entry for entry in now.entries}
    found = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        kind = Kind.CONTENT if old and new else (Kind.ONLY_LEFT if old else Kind.ONLY_RIGHT)
        sizes = (old.size if old else None, new.size if new else None)
        expected = explains_meta(path, [entry.size for entry in (old, new) if entry])
        if (old is not None and not was_mlflows(old.digest)) or (new is not None and not is_mlflows):
            expected = None  # the file is part of the model itself
        digests = (old.digest if old else None, new.digest if new else None)
        found.append(Difference(path, kind, sizes, digests, expected))
    return tuple(found)


def _beside_baseline(
    audit: VersionAudit, baseline: Baseline | None, known: tuple[KnownBytes, ...], fetch: FetchManifest
) -> tuple[BaselineView, list[Problem]]:
    now = audit.reg_model.manifest if audit.reg_model else None
    trusted = audit.reg_model.trusted_since if audit.reg_model else None
    if baseline is None or baseline.manifest is None:
        return BaselineView(BaselineStatus.NEW, last_read_at=trusted), _not_first_sight(audit, known, fetch)
    if not baseline.is_of(audit.version):
        message = (
            f"the version accepted on {baseline.at[:10]} is gone: another one was created under its name and number"
        )
        return BaselineView(BaselineStatus.NEW, last_read_at=trusted), [Problem("RA011", message, blocks=False)]

    def view(status: BaselineStatus, differences: tuple[Difference, ...] = ()) -> BaselineView:
        return BaselineView(status, differences, baseline.at, baseline.by, baseline.reason, trusted)

    if audit.reg_model is None or now is None:
        return view(BaselineStatus.NOT_READ), _gone_since(audit, baseline)
    if audit.reg_model.manifest_digest != baseline.manifest:
        was_mlflows = partial(baseline.had_mlflows_meta, audit.version)
        is_mlflows = audit.reg_model.meta_is_mlflows
        accepted = fetch(baseline.manifest)
        differences = baseline_differences(accepted, now, was_mlflows=was_mlflows, is_mlflows=is_mlflows)
        if any(difference.expected_by is None for difference in differences):
            return view(BaselineStatus.CHANGED, differences), [_content_changed(baseline, now, differences)]
        return view(BaselineStatus.NOT_READ if trusted else BaselineStatus.UNCHANGED, differences), []
    return view(BaselineStatus.NOT_READ if trusted else BaselineStatus.UNCHANGED), []


def _gone_since(audit: VersionAudit, baseline: Baseline) -> list[Problem]:
    """Report a missing model as lost (RA003) if its baseline was once read from this source."""
    if not audit.not_seen or baseline.source != redact_location(audit.version.source):
        return []
    places = " and ".join(printable(place) for place in audit.not_seen)
    return [Problem("RA003", f"{places} is gone: what was accepted on {baseline.at[:10]} was read there")]


def _not_first_sight(audit: VersionAudit, known: tuple[KnownBytes, ...], fetch: FetchManifest) -> list[Problem]:
    """Report a version without a baseline unless its bytes are shown to be those that the ledger knows, if any."""
    now = audit.reg_model.manifest if audit.reg_model else None
    if audit.reg_model is None or now is None:
        return []

    def was_mlflows(digest: str) -> bool:
        return is_mlflows_text(digest, audit.version.name, audit.version.version)

    for one in known:
        if one.algorithm == now.algorithm and one.manifest != now.digest():
            is_mlflows = audit.reg_model.meta_is_mlflows
            before = fetch(one.manifest)
            differences = baseline_differences(before, now, was_mlflows=was_mlflows, is_mlflows=is_mlflows)
            if any(difference.expected_by is None for difference in differences):
                return [one.problem]
    return [one.not_comparable for one in known if one.algorithm != now.algorithm][:1]


def _content_changed(baseline: Baseline, now: Manifest, differences: tuple[Difference, ...]) -> Problem:
    changed = [difference for difference in differences if difference.expected_by is None]
    named = "; ".join(_sentence(difference) for difference in changed[:_SHOWN])
    more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    files = "file is" if len(changed) == 1 else "files are"
    message = f"{len(changed)} {files} not what {printable(baseline.by)} accepted on {baseline.at[:10]}: {named}{more}"
    remedy = None if now.entries else "Find out who removed the files, and restore them: no bytes are left to accept."
    return Problem("RA002", message, blocks=False, remedy=remedy)


def _sentence(difference: Difference) -> str:
    path = f"'{printable(difference.path)}'"
    sides = zip(difference.sizes, difference.digests, strict=True)
    old, new = (f"{size} bytes, {(digest or '')[:19]}" for size, digest in sides)
    if difference.kind is Kind.ONLY_LEFT:
        return f"{path} is gone (was {old})"
    if difference.kind is Kind.ONLY_RIGHT:
        return f"{path} was added ({new})"
    return f"{path} was {old}, is {new}"


def _with_life(version: RegisteredVersion, finding: Finding, memory: Memory, now: Subject, today: str) -> Finding:
    key = finding_key(version, finding)
    known = memory.open_findings.get(key)
    return replace(
        finding,
        first_seen=today if known is None else known.first_seen[:10],
        new=known is None,
        waiver=memory.waiver_of(key, now, today=today),
    )


def _last_read(memory: Memory, name: str, version: str) -> str | None:
    reading = memory.last_readings.get((name, version))
    return reading.storages[-1][3] if reading and reading.storages else None


# Below, the rows of an audit are compared with the ledger, some hundreds at a time.

_MANIFESTS_KEPT = 250


class Beside:
    """Compares rows with one consistent view of the ledger. `memory` covers the rows of the last call."""

    def __init__(
        self,
        reader: LedgerReader,
        registry: str,
        versions: Iterable[RegisteredVersion],
        hidden: Mapping[Key, str] = MappingProxyType({}),
        is_unlisted: IsUnlisted | None = None,
    ) -> None:
        """Prepare to assess the versions of one registry.

        Args:
            registry: the key of the registry in the ledger.
            versions: the audited versions; they are iterated more than once.
            hidden: versions with a baseline that were not listed and are not known to be gone, each with the reason.
            is_unlisted: see `OtherNames`.
        """
        self._reader, self._registry, self._hidden = reader, registry, hidden
        self._others = [other for other in reader.registries() if other != registry]
        self._fetch = _remembering(reader)
        head = reader.head()
        # A clock that was set back must not revive a waiver that has ended.
        self._day = max(today(), head.at[:10]) if head else today()
        self.renamed = Renamed(reader, registry, versions)
        self._other_names = OtherNames(reader, registry, is_unlisted)
        self.memory: Memory = load_findings(reader, registry)

    def __call__(self, rows: Sequence[VersionAudit | Key]) -> list[VersionAudit]:
        """Return each row compared with its baseline.

        For a key (name and number), return the row of a vanished version.
        """
        learn(self.memory, self._reader, self._registry, [key_of(row) for row in rows])
        audited = [row for row in rows if not isinstance(row, tuple)]
        self._follow_renames(audited)
        self._learn_known_bytes(audited)
        return [self._vanished(*row) if isinstance(row, tuple) else self._assess(row) for row in rows]

    def _follow_renames(self, rows: Sequence[VersionAudit]) -> None:
        """Move a baseline that was accepted under a model's former name to the model's new name."""
        baselines = self.memory.baselines
        for row in rows:
            key = key_of(row)
            known = baselines.get(key)
            if known is not None and known.is_of(row.version):
                continue
            former = self.renamed.former_name(row.version)
            if former is not None:
                baselines[key] = former
            elif known is not None and key in self.renamed.followed:
                del baselines[key]

    def _learn_known_bytes(self, rows: Sequence[VersionAudit]) -> None:
        baselines = self.memory.baselines
        new = [row.version for row in rows if (known := baselines.get(key_of(row))) is None or known.manifest is None]
        self.memory.known_bytes = known_bytes(self._reader, self._registry, self._others, new, self._other_names)

    def _assess(self, audit: VersionAudit) -> VersionAudit:
        return assess(audit, self.memory, self._fetch, today=self._day)

    def _vanished(self, name: str, version: str) -> VersionAudit:
        baseline, hidden = self.memory.baselines[name, version], self._hidden.get((name, version))
        return vanished(name, version, baseline, self.memory, today=self._day, hidden=hidden)


def key_of(row: VersionAudit | Key) -> Key:
    """Return the name and number of a row's version, as the ledger spells them."""
    return row if isinstance(row, tuple) else row.version.ledger_key


def _remembering(reader: LedgerReader) -> Callable[[str], Manifest]:
    """Return a function that fetches manifests by digest and caches them. Only manifests that differ are requested."""
    fetched: dict[str, Manifest] = {}

    def fetch(digest: str) -> Manifest:
        if digest not in fetched:
            if len(fetched) >= _MANIFESTS_KEPT:
                fetched.clear()
            fetched[digest] = reader.manifest(digest)
        return fetched[digest]

    return fetch
