"""The words in which a report is told to people: labels, symbols and what each verdict proves."""

from dataclasses import dataclass
from typing import Literal

from registry_audit.verdict import BaselineStatus, Storage, Verdict


@dataclass(frozen=True, slots=True)
class VerdictWords:
    """One verdict as it is shown. `symbol` is one ASCII character, the same in every rendering."""

    symbol: str
    label: str
    proves: str
    does_not_prove: str


VERDICT_WORDS: dict[Verdict, VerdictWords] = {
    Verdict.MATCH: VerdictWords(
        "=",
        "Match",
        "The run model and the registry model are two separate copies with the same files and the same bytes.",
        "That these are the bytes that were registered: both copies may have been overwritten alike. "
        "Only a baseline in the ledger shows that.",
    ),
    Verdict.SAME_STORAGE: VerdictWords(
        "@",
        "Same storage",
        "One storage is behind both the run model and the registry model. "
        "Where it was read, it is readable and complete.",
        "Anything about the bytes: nothing was compared, because there is no second copy. An overwrite after "
        "registration stays unseen; only a baseline in the ledger protects against it.",
    ),
    Verdict.EQUIVALENT: VerdictWords(
        "~",
        "Equivalent",
        "The two copies differ only where a named rule explains it; every such difference is listed.",
        "That the copies are the same bytes: they are not.",
    ),
    Verdict.MISMATCH: VerdictWords(
        "*",
        "Mismatch",
        "The two copies differ, and no rule explains it.",
        "Which of the two is the intended one.",
    ),
    Verdict.UNVERIFIABLE: VerdictWords(
        "?",
        "Unverifiable",
        "Nothing: not everything could be read.",
        "That the version is damaged, or that it is not. "
        "It is neither a pass nor a failure until the cause is removed.",
    ),
    Verdict.SKIPPED: VerdictWords(
        ".",
        "Skipped",
        "Nothing: the registration is not finished, so there is nothing to vouch for.",
        "That the version will be sound once it is finished.",
    ),
}

STORAGE_WORDS: dict[Storage, str] = {
    Storage.SHARED: "one, shared",
    Storage.SEPARATE: "two copies",
    Storage.UNKNOWN: "unknown",
}

BASELINE_WORDS: dict[BaselineStatus, str] = {
    BaselineStatus.UNCHANGED: "unchanged",
    BaselineStatus.CHANGED: "changed",
    BaselineStatus.NEW: "new",
    BaselineStatus.VANISHED: "vanished",
    BaselineStatus.NOT_READ: "not read",
}

STATE_WORDS: dict[Literal["clean", "findings", "incomplete"], str] = {
    "clean": "Clean",
    "findings": "Findings",
    "incomplete": "Incomplete",
}

KIND_WORDS: dict[Literal["only_in_run_model", "only_in_reg_model", "content", "type"], str] = {
    "only_in_run_model": "only in the run model",
    "only_in_reg_model": "only in the registry model",
    "content": "content differs",
    "type": "not the same kind of entry",
}


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 version`, `1,234 versions`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def bytes_words(number: int) -> str:
    """A size in decimal units, three digits at least: `512 B`, `1.02 kB`, `34.5 MB`."""
    if number < 1000:
        return f"{number} B"
    size, units = number / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {units[0]}"


def short_digest(digest: str) -> str:
    """`sha256:0123456789ab…`: enough to tell two digests apart by eye; the report keeps the whole."""
    algorithm, colon, hex_digits = digest.rpartition(":")
    return digest if len(hex_digits) <= 12 else f"{algorithm}{colon}{hex_digits[:12]}…"
