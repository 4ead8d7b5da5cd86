"""What became of a version, and of a registry's audits: what a report shows of the past."""

import json
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry_audit.audit.judging import Event
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
from registry_audit.ledger.memory import Key
from registry_audit.ledger.store import LedgerReader

EVENTS_OF_A_VERSION = 20
AUDITS = 30
_KINDS: dict[Kind, type[Body]] = {body.kind: body for body in (Accepted, FindingOpened, FindingResolved, Waived)}


@dataclass(frozen=True, slots=True)
class PastAudit:
    at: str  # UTC; when it finished
    exit_status: int
    listed: int
    verdicts: dict[str, int]
    findings: Mapping[Grade, int] | None  # by severity; None where it was not recorded


def lives(reader: LedgerReader, registry: str, keys: Collection[Key]) -> dict[Key, tuple[Event, ...]]:
    """The newest events of each of some hundreds of versions, oldest first."""
    found: defaultdict[Key, deque[Event]] = defaultdict(lambda: deque(maxlen=EVENTS_OF_A_VERSION))
    for entry in reader.of_versions(registry, set(keys), *_KINDS):
        event = _event(entry.at, any_body_of(entry))
        if event is not None:
            found[entry.name, entry.version].append(event)
    return {key: tuple(events) for key, events in found.items()}


def with_drafts(life: Iterable[Event], drafts: Iterable[Draft], at: str) -> tuple[Event, ...]:
    """The same with what is about to be appended."""
    bodies = (_KINDS[draft.kind].model_validate(draft.body) for draft in drafts if draft.kind in _KINDS)
    added = (event for body in bodies if (event := _event(at, body)) is not None)
    return (*life, *added)[-EVENTS_OF_A_VERSION:]


def past_audits(reader: LedgerReader, registry: str, audit_id: str) -> tuple[PastAudit, ...]:
    """The last audits of a registry that selected what this one did, oldest first; itself included."""
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
    """What tells audits of the same versions from others; of parts in turn each is one of them."""
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
