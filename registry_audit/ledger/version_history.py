"""Collects the history of versions and audits for reports, and finds versions that are no longer listed."""

import json
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from registry_audit.audit.judging import Event
from registry_audit.audit.options import AuditOptions, ModelChoice
from registry_audit.audit.scope import Scope
from registry_audit.ledger.chain import Draft, Kind
from registry_audit.ledger.entry_bodies import (
    Accepted,
    AuditFinished,
    AuditStarted,
    Body,
    FindingOpened,
    FindingResolved,
    Grade,
    Waived,
    any_body_of,
    body_of,
)
from registry_audit.ledger.memory import Baseline, Key, baseline_of, load_findings
from registry_audit.ledger.store import Ledger, LedgerReader
from registry_audit.printable import restored
from registry_audit.redact import redact_location
from registry_audit.registry.version import KeySet, RegisteredVersion, version_key

EVENTS_OF_A_VERSION = 20
AUDITS = 30
_KINDS: dict[Kind, type[Body]] = {body.kind: body for body in (Accepted, FindingOpened, FindingResolved, Waived)}


@dataclass(frozen=True, slots=True)
class PastAudit:
    at: str  # when it finished, UTC
    exit_status: int
    listed: int
    verdicts: dict[str, int]
    findings: Mapping[Grade, int] | None  # by severity; None if it was not recorded


def lives(reader: LedgerReader, registry: str, keys: Collection[Key]) -> dict[Key, tuple[Event, ...]]:
    """Return the newest events of each of some hundreds of versions, oldest first."""
    found: defaultdict[Key, deque[Event]] = defaultdict(lambda: deque(maxlen=EVENTS_OF_A_VERSION))
    for entry in reader.of_versions(registry, set(keys), *_KINDS):
        event = _event(entry.at, any_body_of(entry))
        if event is not None:
            found[entry.name, entry.version].append(event)
    return {key: tuple(events) for key, events in found.items()}


def with_drafts(life: Iterable[Event], drafts: Iterable[Draft], at: str) -> tuple[Event, ...]:
    """Return the events together with those of drafts that are about to be appended."""
    bodies = (_KINDS[draft.kind].model_validate(draft.body) for draft in drafts if draft.kind in _KINDS)
    added = (event for body in bodies if (event := _event(at, body)) is not None)
    return (*life, *added)[-EVENTS_OF_A_VERSION:]


def past_audits(reader: LedgerReader, registry: str, audit_id: str) -> tuple[PastAudit, ...]:
    """Return the last audits of a registry with the same selection as this one, oldest first; this one is included."""
    selections = dict[str, str]()
    past: defaultdict[str, deque[PastAudit]] = defaultdict(lambda: deque(maxlen=AUDITS))
    for entry in reader.of_kind(Kind.AUDIT_STARTED, Kind.AUDIT_FINISHED, registry=registry):
        if entry.kind == Kind.AUDIT_STARTED:
            selections[entry.audit_id] = _selection(body_of(entry, AuditStarted).options)
        elif entry.audit_id in selections:
            done = body_of(entry, AuditFinished)
            past[selections[entry.audit_id]].append(
                PastAudit(entry.at, done.exit_status, done.listed, done.verdicts, done.findings)
            )
    return tuple(past[selections[audit_id]]) if audit_id in selections else ()


def counted(findings: Counter[Grade]) -> dict[Grade, int]:
    return {severity: findings[severity] for severity in sorted(findings)}


def _selection(options: dict[str, Any]) -> str:
    """Return a text that is equal for audits of the same versions. All parts `n/t` of one subset count as the same."""
    subset = str(options.get("subset") or "").rpartition("/")[2]
    return json.dumps([options.get("models"), options.get("filter"), options.get("latest"), subset])


def _event(at: str, body: Body) -> Event | None:
    match body:
        case Accepted(manifest=manifest, by=by, reason=reason, despite=despite):
            what = f"accepted{'' if manifest else ' as gone'} by {by}: {reason}"
            return Event(at, "accepted", what + "".join(f" (despite {rule})" for rule in despite))
        case FindingOpened(rule=rule, severity=severity, path=path):
            return Event(at, "found", f"{rule} {severity}{f' on {path}' if path else ''} found")
        case FindingResolved(rule=rule, path=path, by=by):
            return Event(at, "resolved", f"{rule}{f' on {path}' if path else ''} ended{f': {by}' if by else ''}")
        case Waived(rule=rule, path=path, by=by, until=until, reason=reason):
            on = f" on {path}" if path else ""
            return Event(at, "waived", f"{rule}{on} waived by {by} until {until}: {reason}")
        case _:
            return None


# A version with a baseline that an audit's listing lacks is gone, or belongs to a renamed model.


class Expected:
    """Knows which versions an audit's listing should contain. Names are passed as the ledger spells them."""

    def __init__(self, scope: Scope, options: AuditOptions) -> None:
        self._listed = scope.listed
        self._everything_listed = options.filter is None and scope.listed_whole
        self._choice = ModelChoice(map(scope.own_spelling, options.models), scope.exact)

    def lacks(self, name: str, version: str) -> bool:
        """Say whether a version should have been in the listing but was not."""
        return restored(name) in self._choice and self.is_unlisted(name, version)

    def is_unlisted(self, name: str, version: str) -> bool:
        """Say whether everything was listed, whatever was chosen from it, and this version was not."""
        return self._everything_listed and (restored(name), restored(version)) not in self._listed


def absent_keys(reader: LedgerReader, registry: str, expected: Expected) -> list[Key]:
    """List the accepted versions that the listing lacks, sorted as a report is: by name, then number."""
    found = [
        (entry.name, entry.version)
        for entry in reader.latest_of_versions(Kind.ACCEPTED, registry)
        if expected.lacks(entry.name, entry.version) and body_of(entry, Accepted).manifest is not None
    ]
    return sorted(found, key=lambda key: version_key(*key))


def absent_versions(ledger: Ledger, registry: str, scope: Scope, options: AuditOptions) -> tuple[Key, ...]:
    """List the versions with a baseline or an open finding that the listing lacks."""
    expected = Expected(scope, options)
    with ledger.reading() as reader:
        found = {key[:2] for key in load_findings(reader, registry).open_findings if expected.lacks(*key[:2])}
        found.update(absent_keys(reader, registry, expected))
    return tuple(sorted(found, key=lambda key: version_key(*key)))


# When a model is renamed, MLflow keeps number, creation time, run and source, so the baseline follows.

_Birth = tuple[str, int, str | None, str]  # number, creation time, run, source without credentials


class Renamed:
    """Finds accepted versions that are no longer under their name, by the properties that a rename does not change."""

    def __init__(self, reader: LedgerReader, registry: str, versions: Iterable[RegisteredVersion]) -> None:
        """Remember the audited versions; they are only read when needed.

        Args:
            versions: the audited versions under their current names; they may be iterated more than once.
        """
        self._reader, self._registry, self._versions = reader, registry, versions

    def former_name(self, version: RegisteredVersion) -> Baseline | None:
        """Return the baseline that was accepted for this version under another name, or None."""
        found = self._by_birth.get(_birth(version)) if version.creation_time_ms is not None else None
        return None if found is None else found[1]

    @cached_property
    def followed(self) -> frozenset[Key]:
        """Return the former names and numbers of renamed versions. These did not vanish."""
        births = (_birth(version) for version in self._versions if version.creation_time_ms is not None)
        return frozenset(self._by_birth[birth][0] for birth in births if birth in self._by_birth)

    @cached_property
    def _by_birth(self) -> dict[_Birth, tuple[Key, Baseline]]:
        """Index the newest acceptance of each missing version.

        A new model under the old name is another one, and hides none.
        """
        there, found = KeySet(), dict[_Birth, tuple[Key, Baseline]]()
        for version in self._versions:
            there.add((version.name, f"{version.version} {version.creation_time_ms}"))
        for entry in self._reader.of_kind(Kind.ACCEPTED, registry=self._registry):
            body = body_of(entry, Accepted)
            if body.manifest is None or body.creation_time_ms is None:
                continue
            if (restored(entry.name), f"{entry.version} {body.creation_time_ms}") not in there:
                birth = entry.version, body.creation_time_ms, body.run_id, str(body.source)
                found[birth] = (entry.name, entry.version), baseline_of(entry)
        return found


def _birth(version: RegisteredVersion) -> _Birth:
    return version.version, version.creation_time_ms or 0, version.run_id, redact_location(version.source)
