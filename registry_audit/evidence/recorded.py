"""Compares a report with what the ledger recorded of the audit that the report names.

Anybody who knows the head of a ledger can trust the entries before it. A report can only be trusted as far as its
verdicts agree with these entries.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from registry_audit.audit.comparing import Kind as Difference
from registry_audit.ledger.chain import TIME_FORMAT, Entry
from registry_audit.ledger.entry_bodies import (
    Accepted,
    AuditFinished,
    AuditStarted,
    Read,
    RegistryNamed,
    Waived,
    any_body_of,
)
from registry_audit.printable import printable, storable
from registry_audit.registry.address import shown_identity
from registry_audit.registry.version import Key
from registry_audit.report.document import AuditDocument, CopyRow, VersionRow
from registry_audit.verdict import BaselineStatus, Storage, Verdict

# Digests of an empty manifest, which a report omits but the ledger records.
_OF_NOTHING = (
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
)
_KINDS = {
    "only_in_run_model": Difference.ONLY_LEFT,
    "only_in_reg_model": Difference.ONLY_RIGHT,
    "removed": Difference.ONLY_LEFT,
    "added": Difference.ONLY_RIGHT,
    "content": Difference.CONTENT,
    "type": Difference.TYPE,
}
_STATES = {0: "clean", 1: "findings", 3: "incomplete"}
# A report is made right after its audit was recorded. One day allows for clock differences and a busy machine.
_SOON = timedelta(days=1)
_Reading = tuple[tuple[str, str | tuple[str, ...] | None], ...]  # recorded values, by their names in the report
_Birth = tuple[int | None, str | None]  # creation time and run, which a version keeps when its model is renamed
_Acceptance = tuple[str, str, str]  # time, person, reason
# Storages that a version with this verdict cannot have. Storages of which nobody can tell may be one.
_OTHER_STORAGES: Mapping[Verdict, Collection[Storage]] = {
    Verdict.SAME_STORAGE: (Storage.SEPARATE,),
    Verdict.MATCH: (Storage.SHARED, Storage.UNKNOWN),
    Verdict.EQUIVALENT: (Storage.SHARED,),
}
_OF_A_COMPARISON = (Verdict.MATCH, Verdict.EQUIVALENT)
_BASELINES = frozenset({BaselineStatus.UNCHANGED, BaselineStatus.CHANGED, BaselineStatus.VANISHED})


class Recorded:
    """Collects what the ledger recorded of an audit, from every entry up to the head, in order."""

    def __init__(self, audit_id: str) -> None:
        self._audit_id = audit_id
        self._readings: dict[Key, _Reading] = {}
        self._births: dict[Key, _Birth] = {}
        self._started: AuditStarted | None = None
        self._finished: AuditFinished | None = None
        self._finished_at = ""
        self._dated_before = ""  # time of the entry before the audit's first one
        self._newest = ""
        self._registries = set[str]()  # the registry keys in the audit's own entries
        self._addresses: dict[str, set[str]] = {}  # other addresses of a registry
        # The newest acceptance of each version of each registry.
        self._acceptances: dict[tuple[str, str, str], tuple[_Acceptance, _Birth]] = {}
        self._under_any_name = defaultdict[tuple[str, str, _Birth], set[_Acceptance]](set)
        self._accepted_count = 0  # by the audit itself
        self._waivers = set[tuple[str, str, str, str, str, str]]()

    @property
    def reading_count(self) -> int:
        return len(self._readings)

    @property
    def registry(self) -> str:
        """Return the ledger's key for the audit's registry."""
        return ", ".join(sorted(self._registries))

    def add(self, entry: Entry) -> None:
        """Take an entry into account. Raises: LedgerError: its body is not valid for its kind."""
        ours = entry.audit_id == self._audit_id
        if ours:
            self._dated_before = self._dated_before or self._newest
            self._registries.add(entry.registry)
        self._newest = entry.at
        match any_body_of(entry):
            case AuditStarted() as started if ours:
                self._started = started
            case Read() as read if ours:
                self._readings[entry.name, entry.version] = _recorded(read)
                self._births[entry.name, entry.version] = read.creation_time_ms, read.run_id
            case AuditFinished() as finished if ours:
                self._finished, self._finished_at = finished, entry.at
            case RegistryNamed(address=str(address)):
                self._addresses.setdefault(entry.registry, set()).add(address)
            case Accepted() as accepted:
                birth = accepted.creation_time_ms, accepted.run_id
                acceptance = entry.at, accepted.by, accepted.reason
                self._acceptances[entry.registry, entry.name, entry.version] = acceptance, birth
                self._under_any_name[entry.registry, entry.version, birth].add(acceptance)
                self._accepted_count += ours
            case Waived() as waived:
                said = (waived.rule, waived.by, waived.reason, waived.until)
                self._waivers.add((entry.name, entry.version, *said))
            case _:
                pass

    def contradictions(self, document: AuditDocument, head: Entry) -> list[str]:
        """Return one sentence for each contradiction between the report and the ledger, or within the report."""
        return [
            *self._of_the_whole(document, head),
            *self._of_the_registry(document),
            *self._of_versions(document),
            *_within(document),
        ]

    def _of_the_whole(self, document: AuditDocument, head: Entry) -> Iterator[str]:
        finished, exit_status = self._finished, document.outcome.exit_status
        if finished is None or head.audit_id != self._audit_id:
            yield "the ledger does not say that the audit of audit.json came to its end"
            return
        counted = Counter(row.verdict.value for row in document.versions)
        if finished.exit_status != exit_status:
            yield f"audit.json says exit status {exit_status}, and the ledger recorded {finished.exit_status}"
        if counted != Counter({verdict: count for verdict, count in finished.verdicts.items() if count}):
            yield "audit.json has other verdicts than the ledger recorded"
        if document.coverage.listed != finished.listed:
            yield f"audit.json says {document.coverage.listed} versions, and the ledger recorded {finished.listed}"
        if self._started is not None and document.options != self._started.options:
            yield "audit.json states other options than the ledger recorded"
        if self._started is not None and document.coverage.not_sampled != finished.listed - self._started.selected:
            yield "audit.json says that its audit left out another number of versions than the ledger recorded"
        ledger = document.ledger
        if ledger is not None and (ledger.entries, ledger.accepted_new) != (head.seq, self._accepted_count):
            yield "audit.json says another number of entries, or of new baselines, than the ledger holds"
        if document.coverage.not_reached:
            yield "audit.json says that its audit did not come to its end, and the ledger that it did"
        grades = Counter(f.severity.value for row in document.versions for f in row.findings if f.waived is None)
        if finished.findings is not None and grades != Counter(finished.findings):
            yield "audit.json grades findings otherwise than the ledger recorded"
        if not _is_soon_after(document.generated_at, self._finished_at) and not self.cannot_tell_when(document):
            yield f"audit.json is dated {printable(document.generated_at)}, and its audit ended at {self._finished_at}"

    def cannot_tell_when(self, document: AuditDocument) -> bool:
        """Say whether the ledger was dated in the future before the audit, so that the audit has only that date."""
        return document.generated_at < self._finished_at == self._dated_before and not _is_soon_after(
            document.generated_at, self._finished_at
        )

    def _of_the_registry(self, document: AuditDocument) -> Iterator[str]:
        registry, started = document.registry, self._started
        known_as, uri = registry.known_as, registry.registry_uri
        is_recorded = started is not None and started.registry_uri is not None
        # Release 0.1.0 recorded no addresses, and its reports need not say what the ledger knows the registry as.
        if (known_as is not None or is_recorded) and self._registries - {storable(known_as or "")}:
            yield f"audit.json is of {printable(known_as or uri)}, and the ledger's entries are of another registry"
        if started is not None and is_recorded:
            for said, recorded in (
                (registry.tracking_uri, started.tracking_uri),
                (uri, started.registry_uri),
                (registry.workspace, started.workspace),
            ):
                if said != recorded:
                    said, recorded = (printable(one or "the default workspace") for one in (said, recorded))
                    yield f"audit.json is of {said}, and the ledger recorded an audit of {recorded}"
        elif self._could_be_at(uri) is False:
            yield f"audit.json is of {printable(uri)}, and the ledger knows the registry by other addresses"

    def cannot_tell_where(self, document: AuditDocument) -> bool:
        """Say whether an older release wrote the ledger, which knows the registry by an address of another form."""
        is_recorded = self._started is not None and self._started.registry_uri is not None
        return not is_recorded and self._could_be_at(document.registry.registry_uri) is None

    def _could_be_at(self, uri: str) -> bool | None:
        """Say whether the ledger knows the registry by this address; None if the address alone does not tell.

        A path may lead through links, and Databricks and PostgreSQL are asked for the identity of a registry.
        """
        said = shown_identity(uri)
        known = {
            identity
            for key in self._registries
            for one in (key, *self._addresses.get(key, ()))
            if "://" in one and (identity := shown_identity(one.partition("#workspace=")[0])) is not None
        }
        if said in known:
            return True
        if said is None or not known:
            return None
        scheme = said.partition(":")[0]
        return False if scheme in ("http", "https") or all(one.partition(":")[0] != scheme for one in known) else None

    def _of_versions(self, document: AuditDocument) -> Iterator[str]:
        left = dict(self._readings)
        for row in document.versions:
            label = f"{printable(row.name)}/{printable(row.version)}"
            recorded = left.pop((storable(row.name), storable(row.version)), None)
            if recorded is None and (row.verdict.passes or _digest(row.reg_model) or _digest(row.run_model)):
                yield f"audit.json says that {label} was read, and the ledger recorded no reading of it"
            if recorded is not None:
                said = _said(row)
                different = [name for name, value in recorded if said[name] != value]
                if different:
                    yield f"audit.json says another {', '.join(different)} of {label} than the ledger recorded"
            if not self._was_accepted_so(row):
                yield f"audit.json says that {label} was accepted as the ledger did not record it"
            waived = {(f.rule, f.waived.by, f.waived.reason, f.waived.until) for f in row.findings if f.waived}
            if any((storable(row.name), storable(row.version), *said) not in self._waivers for said in waived):
                yield f"audit.json says that somebody answers for {label} as the ledger did not record it"
        for name, version in sorted(left):
            yield f"audit.json leaves out {printable(name)}/{printable(version)}, which the audit read"

    def _was_accepted_so(self, row: VersionRow) -> bool:
        """Say whether the row states the newest acceptance of the version, possibly under its former name."""
        said = row.accepted_at, row.accepted_by, row.accepted_reason
        if said == (None, None, None):
            return row.baseline not in _BASELINES
        name, number = storable(row.name), storable(row.version)
        born = self._births.get((name, number), (None, None))
        return any(
            (at, by) == said[:2] and said[2] in (reason, None)  # release 0.1.0 did not report why
            for registry in self._registries
            for at, by, reason in self._acceptances_of(registry, name, number, born)
        )

    def _acceptances_of(self, registry: str, name: str, number: str, born: _Birth) -> Collection[_Acceptance]:
        own = self._acceptances.get((registry, name, number))
        if own is not None and (own[1][0] == born[0] or None in (own[1][0], born[0])):
            return (own[0],)
        return self._under_any_name.get((registry, number, born), ())


def _recorded(read: Read) -> _Reading:
    """Return only the values that the release which wrote the entry recorded."""
    values: dict[str, tuple[str, str | tuple[str, ...] | None]] = {
        "verdict": ("verdict", read.verdict),
        "baseline": ("baseline", read.baseline),
        "manifest": ("registry model", _shown(read.manifest)),
        "run_manifest": ("run model", _shown(read.run_manifest)),
        "rules": ("findings", tuple(read.rules)),
        "differences": ("differences", read.differences),
        "run_id": ("run", read.run_id or None),
        "signature": ("signature", read.signature),
    }
    return tuple(value for field, value in values.items() if field in read.model_fields_set)


def _within(document: AuditDocument) -> Iterator[str]:
    """Yield one sentence for each total of the report that is not the sum of its rows."""
    rows, coverage, summary = document.versions, document.coverage, document.summary
    verdicts = Counter(row.verdict for row in rows)
    not_audited = verdicts[Verdict.UNVERIFIABLE] + verdicts[Verdict.SKIPPED]
    numbers = (
        ("verdicts", summary.verdicts, {verdict: verdicts[verdict] for verdict in Verdict}),
        ("findings", summary.findings, Counter(finding.rule for row in rows for finding in row.findings)),
        ("baselines", +Counter(summary.baseline), Counter(row.baseline for row in rows if row.baseline)),
        ("audited versions", coverage.audited, len(rows) - not_audited),
        ("unverifiable versions", coverage.unverifiable, verdicts[Verdict.UNVERIFIABLE]),
        ("skipped versions", coverage.skipped, verdicts[Verdict.SKIPPED]),
        ("state", document.outcome.state, _STATES.get(document.outcome.exit_status, document.outcome.state)),
    )
    for name, said, counted in numbers:
        if said != counted:
            yield (
                f"audit.json says another number of {name} than its rows do"
                if name != "state"
                else (f"audit.json says that it ended {printable(str(said))}, and its exit status says {counted}")
            )
    for row in rows:
        if row.storage in _OTHER_STORAGES.get(row.verdict, ()) or (
            row.verdict in _OF_A_COMPARISON and row.compared_by is None
        ):
            label = f"{printable(row.name)}/{printable(row.version)}"
            yield f"audit.json says how the two copies of {label} are kept and compared, and its verdict says otherwise"
    lives = Counter(bool(finding.new) for row in rows for finding in row.findings)
    waived = sum(finding.waived is not None for row in rows for finding in row.findings)
    changes = document.changes
    if changes is not None and (changes.new, changes.known, changes.waived) != (lives[True], lives[False], waived):
        yield "audit.json says another number of new, known or waived findings than its rows do"


def _is_soon_after(generated_at: str, finished_at: str) -> bool:
    try:
        made, ended = (datetime.strptime(one, TIME_FORMAT).replace(tzinfo=UTC) for one in (generated_at, finished_at))
    except ValueError:
        return False
    return abs(made - ended) <= _SOON


def _shown(manifest: str | None) -> str | None:
    return None if manifest in _OF_NOTHING else manifest


def _said(row: VersionRow) -> dict[str, str | tuple[str, ...] | None]:
    return {
        "verdict": row.verdict.value,
        "baseline": row.baseline.value if row.baseline else None,
        "registry model": _digest(row.reg_model),
        "run model": _digest(row.run_model),
        "findings": tuple(sorted({finding.rule for finding in row.findings})),
        "differences": _digest_of_differences(row),
        "run": row.run_id or None,
        "signature": row.signature_status.value if row.signature_status else None,
    }


def _digest_of_differences(row: VersionRow) -> str:
    """Compute the digest of `registry_audit.ledger.audit_entries.subject_of` from a row of the report."""
    between = [
        [
            d.path,
            _KINDS[d.kind].value,
            (d.sizes.run_model, d.sizes.reg_model),
            (d.digests.run_model, d.digests.reg_model),
        ]
        for d in row.differences
    ]
    since = [
        [d.path, _KINDS[d.kind].value, (d.sizes.baseline, d.sizes.now), (d.digests.baseline, d.digests.now)]
        for d in row.baseline_differences
    ]
    return "sha256:" + hashlib.sha256(json.dumps([between, since]).encode("ascii")).hexdigest()


def _digest(copy: CopyRow | None) -> str | None:
    return copy.manifest_digest if copy else None
