"""A chain whose every entry was recomputed. Nothing of a ledger is believed before that, and nothing outside of it."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry_audit.errors import LedgerError
from registry_audit.ledger.chain import GENESIS, Entry, Kind, check_link
from registry_audit.ledger.entry_bodies import AuditFinished, StatedBaselines, body_of
from registry_audit.printable import printable

_Key = tuple[str, str, str]  # registry, name, version


_KINDS = frozenset(Kind)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(slots=True)
class CheckedChain:
    """What is known of a chain after it was read from its first entry to its head.

    It can only be made by checking, and continued by checking. A ledger's reader holds one, and shows no entry that
    is outside of it.
    """

    head: Entry | None = None
    first_digest: str | None = None  # of the first entry, which tells one ledger from another
    _accepted: dict[_Key, tuple[int, str]] = field(default_factory=dict)  # -> number and digest of the newest entry

    @property
    def seq(self) -> int:
        return self.head.seq if self.head else 0

    def copy(self) -> "CheckedChain":
        return CheckedChain(self.head, self.first_digest, dict(self._accepted))

    def continue_with(self, rows: Iterable[Sequence[Any]], *, stated_at: int | None = None) -> None:
        """Check rows of the table of entries, in the order of their numbers, which follow the head.

        Args:
            stated_at: the number of the last finished audit: what it states of the baselines is compared with them.

        Raises:
            LedgerError: an entry was changed, removed, added or moved, or a baseline was lost.
        """
        seq, previous = (self.head.seq, self.head.digest) if self.head else (0, GENESIS)
        row: Sequence[Any] | None = None
        for row in rows:
            seq, previous = check_link(row, seq, previous)
            if row[2] not in _KINDS or not _TIME.fullmatch(row[1]):
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
        stated = body_of(finished, AuditFinished).baselines  # older ledgers do not say
        if stated is not None and stated != self.baselines():
            raise LedgerError(
                f"the ledger's baselines are not those that the audit of {finished.at} stated at its end: "
                f"there are {len(self._accepted)}; a baseline was removed or added, and the chain after it rewritten"
            )
