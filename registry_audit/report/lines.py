"""One line for one version, in the manner of `rclone check --combined`."""

from registry_audit.printable import printable
from registry_audit.report.document import DifferenceRow, VersionRow
from registry_audit.report.view import is_clean, is_missing, version_id
from registry_audit.report.words import VERDICT_WORDS
from registry_audit.verdict import Verdict

MISSING_SYMBOL = "!"

LEGEND = """\
= match         two separate copies, the same bytes
@ same storage  one storage behind both: readable and complete where read, nothing compared
~ equivalent    differs only where a named rule explains it
* mismatch      the two copies differ
? unverifiable  not everything could be read: neither a pass nor proof of damage
! missing       READY, but its storage is gone, empty or has no MLmodel
. skipped       not a finished registration
- a file only in the run model    + a file only in the registry model
A baseline in the ledger is the only protection against an overwrite after registration."""


def symbol(row: VersionRow) -> str:
    return MISSING_SYMBOL if is_missing(row) else VERDICT_WORDS[row.verdict].symbol


def version_line(row: VersionRow) -> str:
    """`= Wine/3`; of a version that is not clean, after a tab, its findings or the reason.

    Exactly one line without control characters but that tab: names, messages and reasons pass `printable`.
    """
    line = f"{symbol(row)} {printable(version_id(row))}"
    if is_clean(row):
        return line
    findings = ", ".join(f"{finding.rule} {finding.severity}" for finding in row.findings)
    told_by_reason = row.verdict in (Verdict.UNVERIFIABLE, Verdict.SKIPPED) and row.reason
    why = row.reason if told_by_reason else findings or row.reason
    return f"{line}\t{printable(why)}" if why else line


def difference_line(difference: DifferenceRow) -> str:
    """`+ path`, `- path` or `* path`; `~ path` with the rule's name where a rule explains the difference."""
    path = printable(difference.path)
    if difference.expected_by is not None:
        return f"~ {path} (expected: {printable(difference.expected_by)})"
    match difference.kind:
        case "only_in_run_model":
            return f"- {path}"
        case "only_in_reg_model":
            return f"+ {path}"
        case "content":
            return f"* {path}"
        case "type":
            return f"* {path} (not the same kind of entry)"
