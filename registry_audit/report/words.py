"""Defines the words of a report: labels, symbols and what each verdict proves."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from registry_audit.registry.address import shown_identity
from registry_audit.report.document import Registry
from registry_audit.verdict import BaselineStatus, SignatureStatus, Storage, Verdict


@dataclass(frozen=True, slots=True)
class VerdictWords:
    """Describes one verdict. `symbol` is one ASCII character, the same in every rendering."""

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
        "The run model and the registry model are the same files. What was read is complete.",
        "Anything about the bytes: nothing was compared, because there is no second copy. "
        "Only a baseline in the ledger shows that somebody overwrote them.",
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
        "Nothing: the registration is not finished, or the version is gone from the registry.",
        "That the version will be sound once it is finished, or that the bytes of a deleted version are gone.",
    ),
}

NOTHING_COMPARED = "one storage is behind both copies and there is no baseline: nothing was compared"

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

SIGNATURE_WORDS: dict[SignatureStatus, str] = {
    SignatureStatus.VERIFIED: "verified",
    SignatureStatus.PARTIAL: "verified, but for files that the signer left out",
    SignatureStatus.NOT_READ: "verified for bytes that were not read now",
    SignatureStatus.NOT_VERIFIED: "not verified",
    SignatureStatus.UNVERIFIABLE: "unverifiable",
    SignatureStatus.INVALID: "invalid",
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

BASELINE_KIND_WORDS: dict[Literal["removed", "added", "content"], str] = {
    "removed": "removed",
    "added": "added",
    "content": "content changed",
}

HEAD_WHY = "Keep a copy of this digest elsewhere: it proves that the past was not rewritten."

WHAT_A_BASELINE_IS = (
    "A baseline is the list of every file of a version, with its size and its digest, as somebody accepted it. "
    "Every audit compares the bytes with it and only says what changed; the baseline itself changes when somebody "
    "accepts other bytes, with a name, a time and a reason."
)

WHAT_FIRST_USE_CANNOT_SEE = (
    "An overwrite before the first audit of a version: what was there then is what was accepted.",
    "A rewrite by whoever can write both the store and the ledger, unless the head digest is kept out of their reach.",
    "An overwrite that was undone before the next audit.",
    "Whether the accepted bytes are good: a baseline says that they are the same, not that they are right or safe.",
)


def registry_words(registry: Registry) -> str:
    """Return `http://server:5000, workspace team-a, known to the ledger as prod`; the last two only if informative."""
    words = [registry.registry_uri]
    if registry.workspace is not None:
        words.append(f"workspace {registry.workspace}")
    if registry.known_as is not None and not _says_no_more(registry):
        words.append(f"known to the ledger as {registry.known_as}")
    return ", ".join(words)


def _says_no_more(registry: Registry) -> bool:
    """Say whether the ledger's name for a registry is only its normalised address."""
    address = (registry.known_as or "").partition("#workspace=")[0]
    return address in (registry.registry_uri, shown_identity(registry.registry_uri))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 version` or `1,234 versions`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def bytes_words(number: int) -> str:
    """Return a size in decimal units with at least three significant digits: `512 B`, `1.02 kB`, `34.5 MB`."""
    if number < 1000:
        return f"{number} B"
    size, units = number / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {units[0]}"


def short_digest(digest: str) -> str:
    """Return `sha256:0123456789ab…`, enough to tell two digests apart by eye. The report has the full digest."""
    algorithm, colon, hex_digits = digest.rpartition(":")
    return digest if len(hex_digits) <= 12 else f"{algorithm}{colon}{hex_digits[:12]}…"


def moment_words(at: str) -> str:
    """Return an ISO 8601 time with a zone as `2026-11-20 06:00 UTC`. Any other text is returned unchanged."""
    moment = _moment(at)
    return at if moment is None else moment.strftime("%Y-%m-%d %H:%M UTC")


def age_words(then: str, now: str) -> str:
    """Return the time between two ISO 8601 times, as `2 days`, `5 hours` or `less than an hour`; empty if not known."""
    first, last = _moment(then), _moment(now)
    if first is None or last is None or last < first:
        return ""
    hours = int((last - first).total_seconds()) // 3600
    return count(hours // 24, "day") if hours >= 48 else count(hours, "hour") if hours else "less than an hour"


def _moment(at: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(at)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):  # the second one at the ends of the calendar
        return None
