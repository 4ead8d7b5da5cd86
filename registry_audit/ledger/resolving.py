"""Findings of earlier audits that this one no longer has."""

from dataclasses import dataclass

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.liveness import RULES_SEEN
from registry_audit.ledger.absent import Expected
from registry_audit.ledger.memory import FindingKey, Key, finding_key
from registry_audit.printable import storable
from registry_audit.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Resolved:
    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str


class Resolving:
    """Is shown every row of an audit, and then knows which open findings are no more."""

    def __init__(self, open_findings: dict[FindingKey, str]) -> None:
        self._open = dict(open_findings)
        self._versions = {key[:2] for key in open_findings}
        self._looked_at: dict[Key, VersionAudit] = {}

    def show(self, audit: VersionAudit) -> None:
        key = (storable(audit.version.name), audit.version.version)
        if key not in self._versions:
            return
        self._looked_at[key] = audit
        for finding in audit.findings:
            self._open.pop(finding_key(audit.version, finding), None)

    def resolved(self, expected: Expected) -> tuple[Resolved, ...]:
        """Those of versions that were looked at, or are gone, and that no longer have them."""
        return tuple(
            Resolved(name, version, rule, path or None, first_seen)
            for (name, version, rule, path), first_seen in sorted(self._open.items())
            if self._is_settled(name, version, rule, expected)
        )

    def _is_settled(self, name: str, version: str, rule: str, expected: Expected) -> bool:
        audit = self._looked_at.get((name, version))
        if audit is None:
            return expected.lacks(name, version)
        if audit.only_listed:
            return rule in RULES_SEEN and audit.verdict is not Verdict.UNVERIFIABLE
        # A version that could not be read whole has not lost its findings.
        return audit.verdict is not Verdict.UNVERIFIABLE or rule == "RA009"
