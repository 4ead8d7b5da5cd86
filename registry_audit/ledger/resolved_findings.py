"""Findings of earlier audits that this one no longer has."""

from dataclasses import dataclass

from registry_audit.audit.judging import VersionAudit, Waiver
from registry_audit.audit.liveness import RULES_SEEN
from registry_audit.ledger.memory import FindingKey, Key, Memory, finding_key
from registry_audit.ledger.vanished import Expected
from registry_audit.printable import printable, storable
from registry_audit.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Resolved:
    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str
    by: str  # what ended it, in one sentence


class Resolving:
    """Is shown every row of an audit, and then knows which open findings are no more."""

    def __init__(self, memory: Memory) -> None:
        """
        Args:
            memory: its findings and waivers are those of all versions.
        """
        self._memory, self._open = memory, dict(memory.open_findings)
        self._versions = {key[:2] for key in self._open}
        self._waived = list[Resolved]()
        self._same_bytes = set[Key]()  # as the audit before read
        self._looked_at: dict[Key, VersionAudit] = {}

    def show(self, audit: VersionAudit, read_before: str | None) -> None:
        """
        Args:
            read_before: digest of the manifest that the audit before read.
        """
        key = (storable(audit.version.name), audit.version.version)
        if key not in self._versions:
            return
        self._looked_at[key] = audit
        if audit.reg_model is not None and audit.reg_model.manifest_digest == read_before:
            self._same_bytes.add(key)
        for finding in audit.findings:
            self._show_open(finding_key(audit.version, finding), finding.waiver)

    def _show_open(self, key: FindingKey, waiver: Waiver | None) -> None:
        known = self._open.pop(key, None)
        given = self._memory.given_since(key, waiver) if known is not None and waiver is not None else None
        if known is not None and given is not None:
            by, reason = printable(given.waiver.by), printable(given.waiver.reason)
            said = (
                f"a waiver, which {by} gave on {given.at[:10]} until {given.waiver.until}: {reason}; it is still there"
            )
            name, version, rule, path = key
            self._waived.append(Resolved(name, version, rule, path or None, known.first_seen, said))

    @property
    def waived(self) -> tuple[Resolved, ...]:
        """Findings that are still there, and that somebody has answered for since the audit before."""
        return tuple(sorted(self._waived, key=lambda one: (one.name, one.version, one.rule, one.path or "")))

    def resolved(self, expected: Expected) -> tuple[Resolved, ...]:
        """Those of versions that were looked at, or are gone, and that no longer have them."""
        return tuple(
            Resolved(name, version, rule, path or None, known.first_seen, self._ended_by(name, version, rule))
            for (name, version, rule, path), known in sorted(self._open.items(), key=lambda item: item[0])
            if self._is_settled(name, version, rule, expected)
        )

    def _ended_by(self, name: str, version: str, rule: str) -> str:
        audit = self._looked_at.get((name, version))
        if audit is None:
            return "the version is no longer in the registry"
        if rule == "RA011":
            return "the version is in the registry again, or was accepted as gone"
        baseline = audit.baseline
        if rule == "RA002" and baseline is not None and baseline.accepted_at is not None:
            if (name, version) in self._same_bytes:
                by, reason = printable(baseline.accepted_by or "somebody"), printable(baseline.reason or "")
                return f"a new baseline, which {by} accepted on {baseline.accepted_at[:10]}: {reason}"
            return "the bytes of the baseline came back"
        return "this audit no longer found it"

    def _is_settled(self, name: str, version: str, rule: str, expected: Expected) -> bool:
        audit = self._looked_at.get((name, version))
        if audit is None:
            return expected.lacks(name, version)
        if audit.only_listed:
            return rule in RULES_SEEN and audit.verdict is not Verdict.UNVERIFIABLE
        # A version that could not be read whole has not lost its findings.
        return audit.verdict is not Verdict.UNVERIFIABLE or rule == "RA009"
