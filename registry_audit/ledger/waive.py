"""Waiving a finding: somebody answers for it, until a day, or until the bytes or what differs in them change."""

from datetime import date

from registry_audit.errors import UsageError
from registry_audit.ledger.chain import Entry, Kind
from registry_audit.ledger.entry_bodies import Waived
from registry_audit.ledger.memory import Subject, last_reading, load_findings, today
from registry_audit.ledger.store import Ledger
from registry_audit.printable import printable, storable
from registry_audit.rules import RULE_BY_ID


def waive(
    ledger: Ledger,
    registry: str,
    name: str,
    version: str,
    rule: str,
    *,
    path: str | None,
    by: str,
    reason: str,
    until: str,
) -> Entry:
    """Waive the open findings of a rule on a version; with `path` only the one on that file.

    Args:
        until: the last day it holds, YYYY-MM-DD, UTC.

    Raises:
        UsageError: no such rule or open finding, no name or reason, a day that has passed, or the version was not read
            whole, so that there is nothing that the waiver could be bound to.
    """
    if rule not in RULE_BY_ID:
        raise UsageError(f"there is no rule '{printable(rule)}': rules are {', '.join(sorted(RULE_BY_ID))}")
    if not reason.strip():
        raise UsageError("waiving needs a reason: --reason TEXT")
    if not by.strip():
        raise UsageError("waiving needs the name of who answers for it: --by NAME")
    name, label = storable(name), f"{printable(name)}/{printable(version)}"
    try:
        day = date.fromisoformat(until).isoformat()
    except ValueError as error:
        raise UsageError(f"--until '{printable(until)}' is no day: write YYYY-MM-DD") from error
    if day < today():
        raise UsageError(f"--until {day} has passed")
    with ledger.writing() as writer:
        memory = load_findings(writer, registry)
        paths = sorted(key[3] for key in memory.open_findings if key[:3] == (name, version, rule))
        if not paths or (path is not None and path not in paths):
            raise UsageError(f"{label} has no open finding {rule}")
        readings = writer.of_version(registry, name, version, Kind.READING)
        seen = last_reading(readings[-1]).subject if readings else Subject(None, None, None)
        if not seen.is_whole:
            raise UsageError(
                f"{label} was not read whole by its last audit: there are no bytes that a waiver of {rule} could be "
                "bound to, and it would hold whatever they become. Make it readable, audit it, then waive"
            )
        if seen.differences is None:
            raise UsageError(f"{label} was last audited by an older release: audit it once more, then waive")
        waived = Waived(
            rule=rule,
            path=path,
            by=by,
            reason=reason,
            until=day,
            run_manifest=seen.run_manifest,
            manifest=seen.manifest,
            differences=seen.differences,
            paths=tuple(paths) if path is None else (path,),
        )
        return writer.append([waived.draft(registry, name, version)])
