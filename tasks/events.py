"""Emits Prefect events about an audit, for automations. Events may be lost; the ledger and the report are complete.

Names and labels are a contract (docs/prefect-events.md): add, never rename.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.events import emit_event

from registry_audit.ledger.memory import FindingKey
from registry_audit.net.origin import urlsplit
from registry_audit.printable import printable, storable
from registry_audit.redact import redact
from registry_audit.report.document import AuditDocument, FindingRow, VersionRow
from registry_audit.report.view import lede
from registry_audit.report.words import count
from registry_audit.rules import RULE_BY_ID
from tasks.prefect_sender import send

AUDIT_FINISHED = "registry-audit.audit.finished"
FINDING_NEW = "registry-audit.finding.new"
FINDING_FOUND = "registry-audit.finding.found"  # without a ledger it is not known whether it is new
FINDING_RESOLVED = "registry-audit.finding.resolved"
FINDINGS_MORE = "registry-audit.findings.more"

FINDING_LIMIT = 300  # events of one audit; a Prefect server drops events that arrive faster than it can write
_NAMED_LIMIT = 10  # findings in the audit's event, for notifications
_NAME_CHARACTERS = 200
_MESSAGE_CHARACTERS = 500
_KEY_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Told:
    """This is one finding as an event reports it."""

    event: str
    severity: str | None  # None if it is resolved
    rule: str
    name: str
    version: str
    path: str | None
    message: str
    first_seen: str | None
    is_late: bool = False  # found before by a check or a command, and reported only now

    @property
    def sentence(self) -> str:
        where = f"{_short(self.name)}/{self.version}"
        since = f" (first seen {self.first_seen}, not told before)" if self.is_late else ""
        return f"{self.severity} {self.rule} {where}: {_text(self.message)}{since}"

    @property
    def order(self) -> tuple[bool, int, str, str, str]:
        """Return a sort key that puts open findings before resolved ones, the worst first."""
        rank = -_RANKS[self.severity] if self.severity else 0
        return self.event == FINDING_RESOLVED, rank, self.rule, self.name, self.version


_RANKS = {"low": 0, "medium": 1, "high": 2, "critical": 3}


def tell(document: AuditDocument, audit_id: str, untold: Collection[FindingKey] = ()) -> None:
    """Emit one event for the audit, and one for each finding that is new or resolved: the worst ones, at most 300.

    Waived findings and those reported before are only counted. This never fails or blocks the audit.

    Args:
        untold: findings that a check or a command found before, and that no audit has reported yet.
    """
    late = frozenset(untold)

    def emit(client: SyncPrefectClient) -> None:
        client.api_version()  # Prefect silently drops events if its server is unreachable
        _emit(document, audit_id, late)

    send("events", "the events of the audit could not be sent", emit)


def _emit(document: AuditDocument, audit_id: str, late: frozenset[FindingKey]) -> None:
    registry = _Registry(document.registry.registry_uri)
    related = [registry.related(), _audit_resource(audit_id)]
    # One pass over the versions that keeps only what will be sent.
    counted = _Counted()
    told = nsmallest(FINDING_LIMIT, counted.each(_told(document, late)), key=lambda one: one.order)
    emit_event(
        AUDIT_FINISHED,
        resource=registry.resource() | _labels(document, counted),
        related=related[1:],
        payload=_audit_payload(document, audit_id, counted, told),
    )
    for one in told:
        emit_event(one.event, resource=registry.version(one), related=related, payload=_finding_payload(one, audit_id))
    if counted.total > len(told):
        emit_event(
            FINDINGS_MORE,
            resource=registry.resource(),
            related=related[1:],
            payload={"audit_id": audit_id, "more": counted.total - len(told), **counted.by_event},
        )


class _Counted:
    """Counts findings while they are iterated."""

    def __init__(self) -> None:
        self.by_event = {"new": 0, "found": 0, "resolved": 0}

    def each(self, told: Iterator[_Told]) -> Iterator[_Told]:
        for one in told:
            self.by_event[one.event.rpartition(".")[2]] += 1
            yield one

    @property
    def total(self) -> int:
        return sum(self.by_event.values())


def _told(document: AuditDocument, late: frozenset[FindingKey]) -> Iterator[_Told]:
    there = (
        _standing(row, finding)
        for row in document.versions
        for finding in row.findings
        if finding.waived is None and (finding.new is not False or _key(row, finding) in late)
    )
    gone = (
        _Told(FINDING_RESOLVED, None, r.rule, r.name, r.version, r.path, "no longer found", r.first_seen)
        for r in document.resolved
    )
    return chain(there, gone)


def _key(row: VersionRow, finding: FindingRow) -> FindingKey:
    return storable(row.name), storable(row.version), finding.rule, finding.path or ""


def _standing(row: VersionRow, finding: FindingRow) -> _Told:
    return _Told(
        FINDING_FOUND if finding.new is None else FINDING_NEW,
        finding.severity.value,
        finding.rule,
        row.name,
        row.version,
        finding.path,
        finding.message,
        finding.first_seen,
        is_late=finding.new is False,
    )


class _Registry:
    """Makes the resources of a registry and of its versions, under a key that works for any URI."""

    def __init__(self, uri: str) -> None:
        self._uri = _text(uri)
        parts = urlsplit(uri)
        is_plain_host = parts.scheme in ("http", "https") and parts.path in ("", "/") and parts.hostname
        host = parts.netloc.rpartition("@")[2].lower()
        self._key = host if is_plain_host else hashlib.sha256(uri.encode()).hexdigest()[:_KEY_DIGITS]

    def resource(self) -> dict[str, str]:
        return {
            "prefect.resource.id": f"registry-audit.registry.{self._key}",
            "prefect.resource.name": self._uri,
            "registry-audit.registry": self._uri,
        }

    def related(self) -> dict[str, str]:
        return self.resource() | {"prefect.resource.role": "registry"}

    def version(self, one: _Told) -> dict[str, str]:
        label = f"{_short(one.name)}/{one.version}"
        return {
            "prefect.resource.id": f"registry-audit.version.{self._key}.{label}",
            "prefect.resource.name": label,
            "registry-audit.registry": self._uri,
            "registry-audit.model": _short(one.name),
            "registry-audit.rule": one.rule,
        } | ({"registry-audit.severity": one.severity} if one.severity else {})


def _audit_resource(audit_id: str) -> dict[str, str]:
    return {"prefect.resource.id": f"registry-audit.audit.{audit_id}", "prefect.resource.role": "audit"}


def _labels(document: AuditDocument, counted: _Counted) -> dict[str, str]:
    """Return the labels that automations match. A trigger sees labels, but not payloads."""
    by_event = counted.by_event
    return {
        "registry-audit.outcome": document.outcome.state,
        "registry-audit.full": _yes(is_full(document)),
        "registry-audit.new-findings": "unknown" if by_event["found"] else _yes(by_event["new"] > 0),
        "registry-audit.unverifiable": _yes(document.coverage.unverifiable > 0),
    }


def is_full(document: AuditDocument) -> bool:
    """Say whether every byte of every version of the registry was read, so that nothing else can have happened.

    A listing with notes (it kept changing, versions were deleted meanwhile) does not count as full.
    """
    asked, coverage = document.options, document.coverage
    chosen = any(asked.get(name) for name in ("models", "filter", "latest", "subset", "quick"))
    left = coverage.unverifiable or coverage.not_sampled or coverage.not_read or coverage.notes
    return not chosen and not left and coverage.audited > 0


def _audit_payload(document: AuditDocument, audit_id: str, counted: _Counted, told: list[_Told]) -> dict[str, Any]:
    changes, ledger = document.changes, document.ledger
    shown = [one.sentence for one in told if one.event != FINDING_RESOLVED][:_NAMED_LIMIT]
    standing = counted.total - counted.by_event["resolved"]
    unshown = standing - len(shown)
    return {
        "audit_id": audit_id,
        "registry": _text(document.registry.registry_uri),
        "generated_at": document.generated_at,
        "outcome": document.outcome.state,
        "exit_status": document.outcome.exit_status,
        "full": is_full(document),
        "sentence": _text(lede(document)),
        "coverage": document.coverage.model_dump(mode="json", exclude={"notes"}),
        "verdicts": {verdict.value: number for verdict, number in document.summary.verdicts.items()},
        "findings": document.summary.findings,
        "changes": changes.model_dump(mode="json") if changes else None,
        "ledger_head": ledger.head if ledger else None,
        # For notifications: the new findings, or without a ledger all findings.
        "new_or_found": standing,
        "headline": count(standing, "finding" if counted.by_event["found"] else "new finding"),
        "worst": [*shown, f"and {count(unshown, 'more finding')}"] if unshown else shown,
    }


def _finding_payload(one: _Told, audit_id: str) -> dict[str, Any]:
    return {
        "audit_id": audit_id,
        "rule": one.rule,
        "rule_name": RULE_BY_ID[one.rule].name if one.rule in RULE_BY_ID else one.rule,
        "severity": one.severity,
        "model": _short(one.name),
        "version": one.version,
        "path": _text(one.path) if one.path else None,
        "message": _text(one.message),
        "first_seen": one.first_seen,
    }


def _short(name: str) -> str:
    """Shorten a name so that it stays distinguishable even if a part of it is not shown."""
    public = redact(name)
    shown = printable(public)
    if public == name and len(shown) <= _NAME_CHARACTERS:
        return shown
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]
    return f"{shown[: _NAME_CHARACTERS - _KEY_DIGITS - 1]}~{digest}"


def _text(text: str) -> str:
    # Messages are printable already, and escaping them twice would double their backslashes.
    shown = redact(text if text.isprintable() else printable(text))
    return shown if len(shown) <= _MESSAGE_CHARACTERS else f"{shown[: _MESSAGE_CHARACTERS - 3]}..."


def _yes(it_is: bool) -> str:
    return "yes" if it_is else "no"
