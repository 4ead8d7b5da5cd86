"""The report of an audit that did not come to its end: what was done is said, and what was not is counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.rows import Rows
from registry_audit.audit.scope import Scope
from registry_audit.errors import AuditError, Stopped
from registry_audit.ledger.assess import Beside
from registry_audit.ledger.store import Ledger
from registry_audit.registry.translate import reason_of
from registry_audit.report.build_document import DocumentBuilder
from registry_audit.report.document import AuditDocument
from registry_audit.verdict import ExitStatus

_AT_ONCE = 250  # rows


@dataclass(frozen=True, slots=True)
class Interruption:
    """Why an audit, or a comparison, did not come to its end."""

    why: str
    exit_status: ExitStatus

    @classmethod
    def by(cls, error: BaseException, what: str = "the audit") -> "Interruption":
        if isinstance(error, Stopped) or not isinstance(error, Exception):  # Ctrl-C, or a signal to the process
            return cls(f"{what} was interrupted", ExitStatus.INTERRUPTED)
        status = error.exit_status if isinstance(error, AuditError) else ExitStatus.INCOMPLETE
        return cls(f"{what} was broken off: {reason_of(error)}", status)


def interrupted_report(
    ledger: Ledger | None,
    options: AuditOptions,
    scope: Scope,
    rows: Rows,
    error: BaseException,
    directory: Path | None = None,
) -> AuditDocument:
    """The report on the rows that there are. Nothing is recorded; the ledger is only read, as far as it can be.

    Args:
        rows: of some of the versions of the scope, in its order.
        error: what broke the audit off.
        directory: for the report's rows, where there are more than memory should hold.
    """
    interruption = Interruption.by(error)
    notes = [f"{interruption.why}. Nothing of it was recorded in the ledger" if ledger else interruption.why]
    if ledger is not None:
        try:
            with ledger.reading() as reader:
                beside = Beside(reader, scope.registry, scope.versions)
                return _document(options, scope, _assessed(beside, rows), interruption, notes, directory)
        except AuditError as unusable:
            if unusable.message not in interruption.why:
                notes.append(f"the ledger could not be read: {unusable.message}")
            notes.append("no version was compared with its baseline")
    return _document(options, scope, rows, interruption, notes, directory)


def _assessed(beside: Beside, rows: Iterable[VersionAudit]) -> Iterator[VersionAudit]:
    remaining = iter(rows)
    while some := list(islice(remaining, _AT_ONCE)):
        yield from beside(some)


def _document(
    options: AuditOptions,
    scope: Scope,
    rows: Iterable[VersionAudit],
    interruption: Interruption,
    notes: list[str],
    directory: Path | None,
) -> AuditDocument:
    builder = DocumentBuilder(options, scope, directory=directory)
    for row in rows:
        builder.add(row)
    return builder.document(interruption=(interruption.exit_status, tuple(notes)))
