"""Distributes the batches of one audit among workers, through the ledger's database.

A worker takes a batch, sends heartbeats while it works, and delivers the rows. A batch without heartbeats becomes free
again, so a lost worker only costs time.

Anybody who may write to the database could insert rows, and a false pass among them. So everything shared is signed
with a key that the audit and its workers get in another way. Rows without a valid signature are never parsed.
"""

import json
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.rows import decode_row, encode_row
from registry_audit.audit.work_directory import Seal
from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.ledger.store import Ledger, shared_work
from registry_audit.registry.version import RegisteredVersion, decode_version, encode_version
from registry_audit.verdict import Verdict

LOST_AFTER_SECONDS = 60.0
_ROWS_HOLD_SECONDS = 3_600.0  # how long a resumed run may reuse the rows of an interrupted one

Batch = tuple[RegisteredVersion, ...]


class NotOurs(CouldNotVerify):
    """The data in the database was not written by this audit or its workers."""


@dataclass(frozen=True, slots=True)
class Taken:
    position: int
    versions: Batch


@dataclass(frozen=True, slots=True)
class Standing:
    """This is the progress of an audit's shared work."""

    total: int
    delivered: int
    at_work: int  # batches whose worker sent a heartbeat recently

    @property
    def done(self) -> bool:
        return self.delivered == self.total


class SharedWork:
    """Each method runs in a short transaction of its own. Raises: LedgerError: the database cannot be used."""

    def __init__(
        self, ledger: Ledger, audit_id: str, seal: Seal, lost_after_seconds: float = LOST_AFTER_SECONDS
    ) -> None:
        """Open the shared work of one audit.

        Args:
            seal: signs with a key that only the audit and its workers know.
        """
        self._ledger, self._audit_id, self._seal = ledger, audit_id, seal
        self._key = ""  # see `offer`
        self.lost_after_seconds = lost_after_seconds
        self._mine = shared_work.c.audit_id == audit_id
        self._begun_at = time.time()

    def offer(self, batches: Iterable[Batch], key: str) -> int:
        """Publish the batches of an audit, and return how many there are.

        If an interrupted run of this audit published the same batches with the same key, their rows are kept.

        Args:
            key: identifies everything that could change the rows, for instance options and code.
        """
        self._key = key
        offered = [
            self._sealed("versions", position, _pack([key, *map(encode_version, batch)]))
            for position, batch in enumerate(batches)
        ]
        with self._ledger.beside_the_chain() as writer:
            found = writer.execute(select(shared_work.c.versions).where(self._mine).order_by(shared_work.c.position))
            if [bytes(row[0]) for row in found] == offered:
                self._forget_what_does_not_hold(writer)
                return len(offered)
            writer.execute(delete(shared_work).where(self._mine))
            for position, versions in enumerate(offered):
                row = {"audit_id": self._audit_id, "position": position, "versions": versions}
                writer.execute(shared_work.insert().values(**row, worker="", seen_at=0.0))
        return len(offered)

    def _forget_what_does_not_hold(self, writer: Any) -> None:
        """Drop rows that are too old to be reused, and rows of versions that could not be verified."""
        columns = shared_work.c
        delivered = writer.execute(select(columns.position, columns.seen_at, columns.rows).where(self._mine)).all()
        oldest = time.time() - _ROWS_HOLD_SECONDS
        for position, seen_at, rows in delivered:
            if rows is not None and (seen_at < oldest or not self._holds(position, rows)):
                this = (self._mine, columns.position == position)
                writer.execute(update(shared_work).where(*this).values(rows=None, seen_at=0.0))

    def _holds(self, position: int, sealed: bytes) -> bool:
        try:
            return all(map(_is_settled, self._rows(position, sealed)))
        except NotOurs:
            return False

    def take(self, worker: str, key: str) -> Taken | None:
        """Take the next free batch. Return None if no batch is free at the moment.

        Args:
            key: computed by the worker from its own options, registry and code, as the audit did for `offer`.

        Raises:
            NotOurs: the batch was not published by this audit.
            UsageError: the worker would produce other rows than the audit asked for.
        """
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
        asked, *lines = _unpack(self._opened("versions", row[0], row[1]))
        if asked != key:
            with self._ledger.beside_the_chain() as writer:  # free it at once for a worker that may take it
                writer.execute(update(shared_work).where(*this).values(seen_at=0.0))
            raise UsageError(
                "this worker would audit something else: its code, its MLFLOW_TRACKING_URI, its MLFLOW_WORKSPACE or "
                "its signing key is not that of the process that began the audit"
            )
        self._key = key
        return Taken(row[0], tuple(map(decode_version, lines)))

    def still_at(self, worker: str, position: int) -> bool:
        """Send a heartbeat for a batch.

        Return False if the batch is no longer wanted: the audit ended or was stopped.
        """
        this = (self._mine, shared_work.c.position == position, shared_work.c.worker == worker)
        with self._ledger.beside_the_chain() as writer:
            told = writer.execute(update(shared_work).where(*this).values(seen_at=time.time()))
            return bool(told.rowcount)

    def deliver(self, worker: str, position: int, rows: Iterable[VersionAudit]) -> bool:
        """Deliver a batch's rows, in the order of its versions.

        Return False if the batch is no longer this worker's.
        """
        this = (self._mine, shared_work.c.position == position, shared_work.c.worker == worker)
        said = [json.dumps(time.time()), *map(encode_row, rows)]
        sealed = self._sealed("rows", position, _pack(said))
        with self._ledger.beside_the_chain() as writer:
            told = writer.execute(update(shared_work).where(*this).values(rows=sealed))
            return bool(told.rowcount)

    def standing(self) -> Standing:
        lately = time.time() - self.lost_after_seconds
        columns = shared_work.c
        with self._ledger.beside_the_chain(only_look=True) as reader:
            total, delivered = reader.execute(select(func.count(), func.count(columns.rows)).where(self._mine)).one()
            busy = select(func.count()).where(self._mine, columns.rows.is_(None), columns.seen_at >= lately)
            return Standing(total, delivered, reader.execute(busy).scalar_one())

    def rows(self, position: int) -> tuple[VersionAudit, ...] | None:
        """Return the rows delivered for a batch, in the order of its versions; None if nothing was delivered.

        Raises:
            NotOurs: somebody else wrote them, or they were delivered too long ago.
        """
        with self._ledger.beside_the_chain(only_look=True) as reader:
            this = (self._mine, shared_work.c.position == position)
            sealed = reader.execute(select(shared_work.c.rows).where(*this)).scalar()
        return None if sealed is None else self._rows(position, sealed)

    def _rows(self, position: int, sealed: bytes) -> tuple[VersionAudit, ...]:
        delivered_at, *lines = _unpack(self._opened("rows", position, sealed))
        if json.loads(delivered_at) < self._begun_at - _ROWS_HOLD_SECONDS:
            raise NotOurs("what the ledger's database says of its batch is of an earlier time")
        return tuple(map(decode_row, lines))

    def close(self) -> None:
        """Remove the audit's batches. Workers that still have one stop."""
        with self._ledger.beside_the_chain() as writer:
            writer.execute(delete(shared_work).where(self._mine))

    def _sealed(self, what: str, position: int, packed: bytes) -> bytes:
        return self._seal.sign(self._place(what, position), packed).encode("ascii") + b"\n" + packed

    def _opened(self, what: str, position: int, sealed: bytes) -> bytes:
        signature, _, packed = bytes(sealed).partition(b"\n")
        if not self._seal.holds(signature.decode("latin-1"), self._place(what, position), packed):
            raise NotOurs("what the ledger's database says of its batch was not put there by this audit's workers")
        return packed

    def _place(self, what: str, position: int) -> str:
        # Rows hold only for the key that they were made with. Versions are opened to see with which key they came.
        return json.dumps([what, self._audit_id, position, self._key if what == "rows" else None])


def _is_settled(row: VersionAudit) -> bool:
    return row.verdict is not Verdict.UNVERIFIABLE and not row.retryable


def _pack(lines: Iterable[str]) -> bytes:
    return zlib.compress("\n".join(lines).encode("ascii"), 1)


def _unpack(packed: bytes) -> list[str]:
    text = zlib.decompress(packed).decode("ascii")
    return text.split("\n") if text else []
