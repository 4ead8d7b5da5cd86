"""What the ledger recorded of one audit, beside the report that says it is of that audit.

Only the head of a ledger need be known elsewhere to trust the entries before it. A report is worth no more than they
are, so each of its verdicts must be theirs.
"""

from collections import Counter
from collections.abc import Iterator

from registry_audit.ledger.chain import Entry
from registry_audit.ledger.entry_bodies import Accepted, AuditFinished, Read, any_body_of
from registry_audit.printable import printable, storable
from registry_audit.report.document import AuditDocument, CopyRow, VersionRow

# Digests of a list without files, which a report leaves out and the ledger records.
_OF_NOTHING = (
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
)
_Reading = tuple[tuple[str, str | tuple[str, ...] | None], ...]  # what was recorded, by its name in the report


class Recorded:
    """Told of every entry up to the head, in order."""

    def __init__(self, audit_id: str) -> None:
        self._audit_id = audit_id
        self._readings: dict[tuple[str, str], _Reading] = {}
        self._finished: AuditFinished | None = None
        self._acceptances = set[tuple[str, str, str]]()

    @property
    def reading_count(self) -> int:
        return len(self._readings)

    def add(self, entry: Entry) -> None:
        """Raises: LedgerError: the entry does not say what such an entry says."""
        match any_body_of(entry):
            case Read() as read if entry.audit_id == self._audit_id:
                self._readings[entry.name, entry.version] = _recorded(read)
            case AuditFinished() as finished if entry.audit_id == self._audit_id:
                self._finished = finished
            case Accepted(by=by, reason=reason):
                self._acceptances.add((entry.at, by, reason))
            case _:
                pass

    def contradictions(self, document: AuditDocument, head: Entry) -> list[str]:
        """In what the report differs from the ledger, in sentences."""
        return [*self._of_the_whole(document, head), *self._of_versions(document)]

    def _of_the_whole(self, document: AuditDocument, head: Entry) -> Iterator[str]:
        finished, exit_status = self._finished, document.outcome.exit_status
        if finished is None or head.audit_id != self._audit_id:
            if exit_status in (0, 1):
                yield "the ledger does not say that the audit of audit.json came to its end"
            return
        counted = Counter(row.verdict.value for row in document.versions)
        if finished.exit_status != exit_status:
            yield f"audit.json says exit status {exit_status}, and the ledger recorded {finished.exit_status}"
        if counted != Counter({verdict: count for verdict, count in finished.verdicts.items() if count}):
            yield "audit.json has other verdicts than the ledger recorded"
        if document.coverage.listed != finished.listed:
            yield f"audit.json says {document.coverage.listed} versions, and the ledger recorded {finished.listed}"

    def _of_versions(self, document: AuditDocument) -> Iterator[str]:
        left = dict(self._readings)
        for row in document.versions:
            label = f"{printable(row.name)}/{printable(row.version)}"
            recorded = left.pop((storable(row.name), row.version), None)
            if recorded is None and (row.verdict.passes or _digest(row.reg_model) or _digest(row.run_model)):
                yield f"audit.json says that {label} was read, and the ledger recorded no reading of it"
            if recorded is not None:
                said = _said(row)
                different = [name for name, value in recorded if said[name] != value]
                if different:
                    yield f"audit.json says another {', '.join(different)} of {label} than the ledger recorded"
            accepted = row.accepted_at or "", row.accepted_by or "", row.accepted_reason or ""
            if any(accepted) and accepted not in self._acceptances:
                yield f"audit.json says that {label} was accepted as the ledger did not record it"
        for name, version in sorted(left):
            yield f"audit.json leaves out {printable(name)}/{printable(version)}, which the audit read"


def _recorded(read: Read) -> _Reading:
    """Only what the release that wrote the entry recorded."""
    values: dict[str, tuple[str, str | tuple[str, ...] | None]] = {
        "verdict": ("verdict", read.verdict),
        "baseline": ("baseline", read.baseline),
        "manifest": ("registry model", _shown(read.manifest)),
        "run_manifest": ("run model", _shown(read.run_manifest)),
        "rules": ("findings", tuple(read.rules)),
    }
    return tuple(value for field, value in values.items() if field in read.model_fields_set)


def _shown(manifest: str | None) -> str | None:
    return None if manifest in _OF_NOTHING else manifest


def _said(row: VersionRow) -> dict[str, str | tuple[str, ...] | None]:
    return {
        "verdict": row.verdict.value,
        "baseline": row.baseline.value if row.baseline else None,
        "registry model": _digest(row.reg_model),
        "run model": _digest(row.run_model),
        "findings": tuple(sorted({finding.rule for finding in row.findings})),
    }


def _digest(copy: CopyRow | None) -> str | None:
    return copy.manifest_digest if copy else None
