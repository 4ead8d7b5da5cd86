"""Renders one line per version, in the style of `rclone check --combined`."""

from collections import Counter

from registry_audit.audit.comparing import Difference, Kind
from registry_audit.printable import printable
from registry_audit.report.document import BaselineDifferenceRow, DifferenceRow, VersionRow
from registry_audit.report.overview import is_clean, is_missing, is_uncompared, is_vanished
from registry_audit.report.view import (
    accepted_words,
    side_words,
    signature_words,
    version_id,
)
from registry_audit.report.words import VERDICT_WORDS, moment_words
from registry_audit.verdict import BaselineStatus, Verdict

MISSING_SYMBOL = "!"
CHANGED_SYMBOL = VERDICT_WORDS[Verdict.MISMATCH].symbol

LEGEND = """\
= match         two separate copies, the same bytes
@ same storage  both names lead to the same files: there is no second copy to compare
~ equivalent    differs only where a named rule explains it
* mismatch      the two copies differ, or the bytes differ from the baseline
? unverifiable  something could not be read: neither a pass nor proof of damage
! missing       READY, but its storage is gone, empty or has no MLmodel
. skipped       its registration is not finished, or it is no longer in the registry
- a file only in the run model, or gone since the baseline
+ a file only in the registry model, or added since the baseline
Only a baseline in the ledger shows that somebody overwrote a model after registration."""


def symbol(row: VersionRow) -> str:
    """Return the symbol of the verdict, or that of a missing model or of bytes that differ from the baseline."""
    if is_missing(row):
        return MISSING_SYMBOL
    return CHANGED_SYMBOL if row.baseline is BaselineStatus.CHANGED else VERDICT_WORDS[row.verdict].symbol


def version_line(row: VersionRow) -> str:
    """Return `= Wine/3`. If it is not clean, was not read or its signature was verified, a tab and the details follow.

    The result is exactly one line, and that tab is its only control character: names, messages and reasons pass
    `printable`.
    """
    line = f"{symbol(row)} {printable(version_id(row))}"
    parts = [] if is_clean(row) else [_why(row)]
    if is_uncompared(row):
        parts.append("nothing was compared")
    if row.last_read_at and not is_vanished(row):
        parts.append(f"not read; last read in full {moment_words(row.last_read_at)}")
    parts.append(signature_words(row))
    told = "; ".join(part for part in parts if part)
    return f"{line}\t{printable(told)}" if told else line


def _why(row: VersionRow) -> str:
    found = Counter(
        f"{finding.rule} {finding.severity}{' (waived)' if finding.waived else ''}" for finding in row.findings
    )
    findings = ", ".join(f"{words} ({number} times)" if number > 1 else words for words, number in found.items())
    reason = row.reason or ""
    if row.verdict not in (Verdict.UNVERIFIABLE, Verdict.SKIPPED) or not reason:
        return findings or reason
    # A version that cannot be read shows its reason, but known differences from the baseline must still be shown.
    known = row.baseline in (BaselineStatus.CHANGED, BaselineStatus.VANISHED) or any(f.waived for f in row.findings)
    return f"{findings}: {reason}" if known and findings else reason


def baseline_lines(row: VersionRow) -> list[str]:
    """Return lines for below the version's line: what differs from the baseline, and who accepted that.

    May be empty.
    """
    if not row.baseline_differences:
        return []
    changed = row.baseline is BaselineStatus.CHANGED
    head = (
        f"{'not ' if changed else ''}what {accepted_words(row)}{'' if changed else ', but for expected differences'}:"
    )
    return [printable(head), *(f"  {_baseline_row_line(difference)}" for difference in row.baseline_differences)]


def _baseline_row_line(row: BaselineDifferenceRow) -> str:
    kinds = {"removed": Kind.ONLY_LEFT, "added": Kind.ONLY_RIGHT, "content": Kind.CONTENT}
    sizes, digests = (row.sizes.baseline, row.sizes.now), (row.digests.baseline, row.digests.now)
    return baseline_line(Difference(row.path, kinds[row.kind], sizes, digests, row.expected_by))


def baseline_line(difference: Difference) -> str:
    """Return `* path  old -> new`, `+ path  new` or `- path  was old`; `~` with the rule's name if a rule explains it.

    Args:
        difference: the left side is what was accepted, the right side the current state.
    """
    old, new = (side_words(*side) for side in zip(difference.sizes, difference.digests, strict=True))
    marks = {Kind.ONLY_LEFT: ("-", f"was {old}"), Kind.ONLY_RIGHT: ("+", new)}
    mark, sides = marks.get(difference.kind, ("*", f"{old} -> {new}"))
    line = f"{printable(difference.path)}  {printable(sides)}"
    if difference.expected_by is not None:
        return f"~ {line} (expected: {printable(difference.expected_by)})"
    return f"{mark} {line}"


def difference_line(difference: DifferenceRow) -> str:
    """Return `+ path`, `- path` or `* path`; `~ path` with the rule's name if a rule explains the difference."""
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
