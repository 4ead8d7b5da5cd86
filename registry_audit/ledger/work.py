"""Batches of one audit, shared out among workers through the ledger's database: all they have in common.

A worker takes a batch, says now and then that it is still at it, and delivers its rows. A batch whose worker has not
been heard of is anybody's again, so a worker that is lost costs time and nothing else.
"""

import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.rows import decode_row, encode_row
from registry_audit.ledger.schema import shared_work
from registry_audit.ledger.store import Ledger
from registry_audit.registry.listed import decode_version, encode_version
from registry_audit.registry.version import RegisteredVersion

LOST_AFTER_SECONDS = 60.0
_ROWS_HOLD_SECONDS = 3_600.0  # of an interrupted run, for the one that resumes it

Batch = tuple[RegisteredVersion, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    position: int
    versions: Batch


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an audit's work is."""

    total: int
    delivered: int
    at_work: int  # batches whose worker was heard of lately

    @property
    def done(self) -> bool:
        return self.delivered == self.total


class SharedWork:
    """Each method is a short transaction of its own. Raises: LedgerError: the database cannot be used."""

    def __init__(self, ledger: Ledger, audit_id: str, lost_after_seconds: float = LOST_AFTER_SECONDS) -> None:
        self._ledger, self._audit_id, self.lost_after_seconds = ledger, audit_id, lost_after_seconds
        self._mine = shared_work.c.audit_id == audit_id

    def offer(self, batches: Iterable[Batch]) -> int:
        """Put out the batches of an audit; how many.

        What an interrupted run of this audit put out stays, with the rows it has, where the batches are the same.
        """
        offered = [_pack(map(encode_version, batch)) for batch in batches]
        with self._ledger.beside_the_chain() as writer:
            found = writer.execute(select(shared_work.c.versions).where(self._mine).order_by(shared_work.c.position))
            if [bytes(row[0]) for row in found] == offered:
                # Who resumes days later must not be told what the bytes were then.
                old = shared_work.c.seen_at < time.time() - _ROWS_HOLD_SECONDS
                writer.execute(update(shared_work).where(self._mine, old).values(rows=None))
                return len(offered)
            writer.execute(delete(shared_work).where(self._mine))
            for position, versions in enumerate(offered):
                row = {"audit_id": self._audit_id, "position": position, "versions": versions}
                writer.execute(shared_work.insert().values(**row, worker="", seen_at=0.0))
        return len(offered)

    def take(self, worker: str) -> Taken | None:
        """The next batch that nobody is at; None if there is none, for now or for good."""
        now = time.time()
        free = shared_work.c.seen_at < now - self.lost_after_seconds
        with self._ledger.beside_the_chain() as writer:
            chosen = select(shared_work.c.position, shared_work.c.versions)
            chosen = chosen.where(self._mine, shared_work.c.rows.is_(None), free).order_by(shared_work.c.position)
            row = writer.execute(chosen.limit(1).with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            this = (self._mine, shared_work.c.position == row[0])
            writer.execute(update(shared_work).where(*this).values(worker=worker, seen_at=now))
        return Taken(row[0], tuple(map(decode_version, _unpack(row[1]))))

    def still_at(self, worker: str, position: int) -> bool:
        """Say that the worker is still at a batch; False if it is no longer wanted: the audit ended or was stopped."""
        this = (self._mine, shared_work.c.position == position, shared_work.c.worker == worker)
        with self._ledger.beside_the_chain() as writer:
            told = writer.execute(update(shared_work).where(*this).values(seen_at=time.time()))
            return bool(told.rowcount)

    def deliver(self, worker: str, position: int, rows: Iterable[VersionAudit]) -> bool:
        """The rows of a batch, in the order of its versions; False if it is another's by now, or no longer wanted."""
        this = (self._mine, shared_work.c.position == position, shared_work.c.worker == worker)
        with self._ledger.beside_the_chain() as writer:
            told = writer.execute(update(shared_work).where(*this).values(rows=_pack(map(encode_row, rows))))
            return bool(told.rowcount)

    def standing(self) -> Standing:
        lately = time.time() - self.lost_after_seconds
        columns = shared_work.c
        with self._ledger.beside_the_chain(only_look=True) as reader:
            total, delivered = reader.execute(select(func.count(), func.count(columns.rows)).where(self._mine)).one()
            busy = select(func.count()).where(self._mine, columns.rows.is_(None), columns.seen_at >= lately)
            return Standing(total, delivered, reader.execute(busy).scalar_one())

    def rows(self) -> Iterator[VersionAudit]:
        """All that was delivered, in the order of the audit; a batch at a time in memory."""
        for position in range(self.standing().total):
            with self._ledger.beside_the_chain(only_look=True) as reader:
                this = (self._mine, shared_work.c.position == position)
                packed = reader.execute(select(shared_work.c.rows).where(*this)).scalar()
            if packed is not None:
                yield from map(decode_row, _unpack(packed))

    def undelivered(self) -> list[Taken]:
        with self._ledger.beside_the_chain(only_look=True) as reader:
            columns = shared_work.c.position, shared_work.c.versions
            found = reader.execute(select(*columns).where(self._mine, shared_work.c.rows.is_(None)))
            return [Taken(row[0], tuple(map(decode_version, _unpack(row[1])))) for row in found]

    def close(self) -> None:
        """Forget the audit's work; who is still at it stops."""
        with self._ledger.beside_the_chain() as writer:
            writer.execute(delete(shared_work).where(self._mine))


def _pack(lines: Iterable[str]) -> bytes:
    return zlib.compress("\n".join(lines).encode("ascii"), 1)


def _unpack(packed: bytes) -> list[str]:
    text = zlib.decompress(packed).decode("ascii")
    return text.split("\n") if text else []
