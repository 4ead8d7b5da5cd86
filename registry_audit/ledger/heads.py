"""Heads that somebody still knows of a ledger: a chain that does not hold one of them lost it, or was rewritten."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from registry_audit.errors import LedgerError, UsageError
from registry_audit.ledger.chain import Entry
from registry_audit.ledger.known_heads import KnownHead
from registry_audit.printable import printable

_DIGITS = 64
_FEWEST = 8

Find = Callable[[str], list[Entry]]  # the entries of a chain whose digest begins with these digits


@dataclass(frozen=True, slots=True)
class GivenHead:
    """A head that was given by hand, whole or by its first digits, or that a report states."""

    digits: str
    source: str

    @property
    def is_whole(self) -> bool:
        return len(self.digits) == _DIGITS


def given_head(text: str) -> GivenHead:
    """Of `--head`: a digest, its first digits, or the path of a report's audit.json.

    Raises:
        UsageError: it is neither.
    """
    path = Path(text)
    if path.suffix == ".json" or path.is_file():
        return GivenHead(_head_of_report(path), f"the report {printable(text)}")
    digits = text.strip().removesuffix("...").removesuffix("…").lower()
    if not re.fullmatch(f"[0-9a-f]{{{_FEWEST},{_DIGITS}}}", digits):
        raise UsageError(
            f"--head {printable(text)} is no head: give {_DIGITS} hexadecimal digits, or at least the first {_FEWEST}, "
            "or the path of a report's audit.json"
        )
    return GivenHead(digits, f"--head {digits}")


def must_be_in(find: Find, head: GivenHead) -> Entry:
    """The entry that a head is the digest of.

    Raises:
        UsageError: the head is abbreviated, and not one entry begins like that, or several do.
        LedgerError: the head is whole, and no entry has it.
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
    """How many of the heads that this machine remembers are in the chain.

    Args:
        first: digest of the chain's first entry; ledgers that share it are one ledger, wherever they are kept.
        url: where the ledger is now.

    Raises:
        LedgerError: one of this ledger is not in it.
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
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise UsageError(
            f"--head {printable(str(path))} states no head of a ledger: it is no audit.json, or its audit had no ledger"
        ) from error
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", head):
        raise UsageError(f"--head {printable(str(path))} states no head of a ledger: {printable(head[:80])}")
    return head
