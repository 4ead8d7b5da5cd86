"""Checks a ledger's chain: recomputes every entry, and requires every known head to be in the chain.

No entry is used before the check. If a known head is missing, the chain lost entries or was rewritten.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from registry_audit.errors import LedgerError, UsageError
from registry_audit.home import home_directory
from registry_audit.ledger.chain import GENESIS, Entry, Kind, check_link
from registry_audit.ledger.entry_bodies import AuditFinished, StatedBaselines, body_of
from registry_audit.printable import printable

_Key = tuple[str, str, str]  # registry, name, version


_KINDS = frozenset(Kind)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:  # as with the 31st of a month of 30 days
        return False
    return _TIME.fullmatch(text) is not None


@dataclass(slots=True)
class CheckedChain:
    """Holds what is known of a chain that was read from its first entry to its head.

    It can only be created and continued by checking. A ledger's reader holds one, and shows no entry outside of it.
    """

    head: Entry | None = None
    first_digest: str | None = None  # of the first entry, which distinguishes one ledger from another
    _accepted: dict[_Key, tuple[int, str]] = field(default_factory=dict)  # -> number and digest of the newest entry

    @property
    def seq(self) -> int:
        return self.head.seq if self.head else 0

    def copy(self) -> "CheckedChain":
        return CheckedChain(self.head, self.first_digest, dict(self._accepted))

    def continue_with(self, rows: Iterable[Sequence[Any]], *, stated_at: int | None = None) -> None:
        """Check rows of the table of entries that follow the head, in the order of their numbers.

        Args:
            stated_at: the number of the last finished audit, whose statement of the baselines is compared with them.

        Raises:
            LedgerError: an entry was changed, removed, added or moved, or a baseline was lost.
        """
        seq, previous = (self.head.seq, self.head.digest) if self.head else (0, GENESIS)
        row: Sequence[Any] | None = None
        for row in rows:
            seq, previous = check_link(row, seq, previous)
            if row[2] not in _KINDS or not _is_time(row[1]):
                strange = f"of the unknown kind {row[2]}" if row[2] not in _KINDS else f"dated {row[1]}"
                raise LedgerError(f"entry {seq} of the ledger cannot be read: it is {printable(strange)}")
            if seq == 1:
                self.first_digest = previous
            if row[2] == Kind.ACCEPTED:
                self._accepted[row[3], row[4], row[5]] = seq, previous
            elif seq == stated_at:
                self._must_be_as_stated(Entry(*row))
        if row is not None:
            self.head = Entry(*row)

    def baselines(self) -> StatedBaselines:
        lines = sorted(json.dumps([*key, *newest]) for key, newest in self._accepted.items())
        digest = "sha256:" + hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()
        return StatedBaselines(count=len(lines), digest=digest)

    def _must_be_as_stated(self, finished: Entry) -> None:
        stated = body_of(finished, AuditFinished).baselines  # None in entries of older releases
        if stated is not None and stated != self.baselines():
            raise LedgerError(
                f"the ledger's baselines are not those that the audit of {finished.at} stated at its end: "
                f"there are {len(self._accepted)}; a baseline was removed or added, and the chain after it rewritten"
            )


# This machine remembers the last head of each ledger that it has used.
#
# A ledger that was deleted, emptied or cut looks like a new or shorter one. The remembered head reveals the loss. It is
# kept in a small file per ledger, outside the ledger.


@dataclass(frozen=True, slots=True)
class KnownHead:
    """This is the last head that this machine saw of a ledger."""

    url: str  # without credentials
    seq: int
    digest: str
    first: str | None  # digest of the first entry, which stays the same when the ledger moves; not recorded by 0.1.0
    file: Path  # the file that remembers it


def known_heads() -> list[KnownHead]:
    """List the known heads of all ledgers that this machine has used, sorted by URL."""
    found = []
    for file in sorted((home_directory() / "known-ledgers").glob("*.json")):
        try:
            known = json.loads(file.read_text(encoding="ascii"))
            first = known.get("first")
            found.append(KnownHead(str(known["url"]), int(known["seq"]), str(known["digest"]), first, file))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue  # ignore a damaged file
    return sorted(found, key=lambda head: head.url)


def known_head(url: str) -> tuple[int, str] | None:
    """Return number and digest of the last head that this machine saw of this ledger; None if it never used it."""
    try:
        known = json.loads(memory_file(url).read_text(encoding="ascii"))
        return int(known["seq"]), str(known["digest"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def remember_head(url: str, seq: int, digest: str, first: str | None = None) -> None:
    """Remember a ledger's head, as best effort: an audit must not fail because this file cannot be written.

    Args:
        first: digest of the ledger's first entry.
    """
    path = memory_file(url)
    known = known_head(url)
    if known is not None and known[0] > seq:
        return  # another process has seen a later head
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(
            json.dumps({"url": url, "seq": seq, "digest": digest, "first": first}, indent=1), encoding="ascii"
        )
        fresh.replace(path)
    except OSError:
        return


def memory_file(url: str) -> Path:
    """Return the file that remembers the last head of a ledger. `url` has no credentials."""
    name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return home_directory() / "known-ledgers" / f"{name}.json"


_DIGITS = 64
_FEWEST = 8

Find = Callable[[str], list[Entry]]  # the entries of a chain whose digest begins with these digits


@dataclass(frozen=True, slots=True)
class GivenHead:
    """This head was given by hand, in full or by its first digits, or is stated by a report."""

    digits: str
    source: str

    @property
    def is_whole(self) -> bool:
        return len(self.digits) == _DIGITS


def given_head(text: str) -> GivenHead:
    """Parse the value of `--head`: a digest, its first digits, or the path of a report's audit.json.

    Raises:
        UsageError: it is neither.
    """
    path = Path(text)
    if path.suffix == ".json" or os.path.isfile(path):  # noqa: PTH113 - never raises
        return GivenHead(_head_of_report(path), f"the report {printable(text)}")
    digits = text.strip().removesuffix("...").removesuffix("…").lower()
    if not re.fullmatch(f"[0-9a-f]{{{_FEWEST},{_DIGITS}}}", digits):
        raise UsageError(
            f"--head {printable(text)} is no head: give {_DIGITS} hexadecimal digits, or at least the first {_FEWEST}, "
            "or the path of a report's audit.json"
        )
    return GivenHead(digits, f"--head {digits}")


def must_be_in(find: Find, head: GivenHead) -> Entry:
    """Return the entry whose digest is this head.

    Raises:
        UsageError: the head is abbreviated, and no entry or several entries begin with its digits.
        LedgerError: the head is complete, and no entry has it.
    """
    found = find(head.digits)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{head.source} is abbreviated, and several entries begin like that: give all {_DIGITS} digits"
        )
    if not head.is_whole:
        raise UsageError(
            f"{head.source} is abbreviated, and no entry begins like that: whether it was mistyped or lost cannot be "
            f"said. Give all {_DIGITS} digits, as audit.json has them"
        )
    raise LedgerError(
        f"{head.source} is not in the ledger's chain: its past was rewritten or cut, or it is of another ledger"
    )


def must_hold_known(find: Find, first: str | None, known: Iterable[KnownHead], url: str) -> int:
    """Return how many of the heads that this machine remembers are in the chain.

    Args:
        first: digest of the chain's first entry; ledgers that share it are one ledger, wherever they are kept.
        url: the current address of the ledger.

    Raises:
        LedgerError: a remembered head of this ledger is not in the chain.
    """
    held = 0
    for head in known:
        if find(head.digest):
            held += 1
        elif head.url == url or (head.first is not None and head.first == first):
            raise LedgerError(
                f"it has lost entries: this machine last saw the ledger {head.url} with {head.seq} entries and the "
                f"head {head.digest[:16]}..., which is not in it. To go on without them knowingly, remove {head.file}"
            )
    return held


def _head_of_report(path: Path) -> str:
    try:
        ledger = json.loads(path.read_text(encoding="utf-8")).get("ledger")
        head = str(ledger["head"]).lower()
    except OSError as error:
        raise UsageError(f"--head {printable(str(path))} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise UsageError(
            f"--head {printable(str(path))} states no head of a ledger: it is no audit.json, or its audit had no ledger"
        ) from error
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", head):
        raise UsageError(f"--head {printable(str(path))} states no head of a ledger: {printable(head[:80])}")
    return head
