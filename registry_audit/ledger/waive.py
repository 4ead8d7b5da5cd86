"""Waiving a finding: somebody answers for it, until a day or until the bytes change."""

from datetime import date

from registry_audit.errors import UsageError
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.ledger.memory import last_reading, load_findings, today
from registry_audit.ledger.store import Ledger
from registry_audit.printable import printable
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
        UsageError: no such rule or open finding, no reason, or a day that has passed.
    """
    if rule not in RULE_BY_ID:
        raise UsageError(f"there is no rule '{printable(rule)}': rules are {', '.join(sorted(RULE_BY_ID))}")
    if not reason.strip():
        raise UsageError("waiving needs a reason: --reason TEXT")
    try:
        day = date.fromisoformat(until).isoformat()
    except ValueError as error:
        raise UsageError(f"--until '{printable(until)}' is no day: write YYYY-MM-DD") from error
    if day < today():
        raise UsageError(f"--until {day} has passed")
    with ledger.writing() as writer:
        memory = load_findings(writer, registry)
        if not any(
            key[:3] == (name, version, rule) and (path is None or key[3] == path) for key in memory.open_findings
        ):
            raise UsageError(f"{printable(name)}/{printable(version)} has no open finding {rule}")
        readings = writer.of_version(registry, name, version, Kind.READING)
        run, reg = last_reading(readings[-1]).bytes if readings else (None, None)
        body = {"rule": rule, "path": path, "by": by, "reason": reason, "until": day}
        body |= {"run_manifest": run, "manifest": reg}
        return writer.append([Draft(Kind.WAIVED, registry, name, version, body=body)])
