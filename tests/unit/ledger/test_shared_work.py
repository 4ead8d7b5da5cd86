"""Batches shared out among workers: each version audited, whoever is lost; on both databases."""

import json
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select
from support.ledgers import database, row

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.work_directory import Seal
from registry_audit.errors import UsageError
from registry_audit.ledger import shared_work as module
from registry_audit.ledger.shared_work import Batch, NotOurs, SharedWork
from registry_audit.ledger.store import Ledger
from registry_audit.verdict import Verdict

SEAL, KEY = Seal(b"k" * 32), "key"
ROWS: tuple[tuple[VersionAudit, ...], ...] = tuple(
    tuple(row(f"model-{batch}", str(number)) for number in range(1, 4)) for batch in range(6)
)
BATCHES: tuple[Batch, ...] = tuple(tuple(audit.version for audit in batch) for batch in ROWS)


@pytest.fixture
def work(ledger: Ledger) -> SharedWork:
    shared = SharedWork(ledger, "audit", SEAL)
    assert shared.offer(BATCHES, KEY) == len(BATCHES)
    return shared


def delivered(work: SharedWork) -> list[tuple[VersionAudit, ...] | None]:
    return [work.rows(position) for position in range(len(BATCHES))]


def test_a_batch_is_given_to_one_worker_only(work: SharedWork) -> None:
    taken = [work.take(worker, KEY) for worker in ("one", "two", "one")]
    assert [(t.position, t.versions) for t in taken if t] == list(enumerate(BATCHES[:3]))


def test_rows_come_back_in_the_order_of_the_audit(work: SharedWork) -> None:
    for worker in "abcdef":
        assert work.take(worker, KEY) is not None
    for position in (3, 0, 5, 1, 4, 2):
        assert work.deliver("abcdef"[position], position, ROWS[position])
    assert delivered(work) == list(ROWS)
    assert work.standing().done
    assert work.take("late", KEY) is None


def test_the_batch_of_a_lost_worker_is_anybodys_again(ledger: Ledger) -> None:
    SharedWork(ledger, "audit", SEAL).offer(BATCHES[:1], KEY)
    patient, impatient = SharedWork(ledger, "audit", SEAL), SharedWork(ledger, "audit", SEAL, lost_after_seconds=-1)
    assert patient.take("lost", KEY) is not None
    assert patient.take("other", KEY) is None, "its worker was heard of a moment ago"
    again = impatient.take("other", KEY)
    assert again is not None
    assert again.versions == BATCHES[0]
    assert not patient.still_at("lost", 0), "it is another's now"
    assert not patient.deliver("lost", 0, ROWS[1]), "what it says now, stopped in the middle, is not wanted"
    assert patient.still_at("other", 0)


def test_a_worker_that_would_give_other_rows_is_refused_and_leaves_the_batch(work: SharedWork) -> None:
    """Of another registry, for instance, in which the same names and numbers are something else."""
    with pytest.raises(UsageError, match="this worker would audit something else"):
        work.take("stranger", "other key")
    assert work.standing().at_work == 0
    taken = work.take("one", KEY)
    assert taken is not None
    assert taken.position == 0


def test_who_is_at_work_is_told_when_the_audit_ends(work: SharedWork) -> None:
    taken = work.take("one", KEY)
    assert taken is not None
    assert work.still_at("one", taken.position)
    work.close()
    assert not work.still_at("one", taken.position)
    assert not work.deliver("one", taken.position, ROWS[taken.position])
    assert delivered(work) == [None] * len(BATCHES)
    assert work.take("one", KEY) is None


def test_an_interrupted_audit_goes_on_where_it_was(ledger: Ledger, work: SharedWork) -> None:
    for _ in range(3):
        work.take("one", KEY)
    work.deliver("one", 2, ROWS[2])
    again = SharedWork(ledger, "audit", SEAL)
    again.offer(BATCHES, KEY)
    assert again.standing().delivered == 1
    assert again.rows(2) == ROWS[2]
    again.offer(BATCHES[1:], KEY)
    assert again.standing().delivered == 0, "another registry than that of the interrupted run: nothing is kept"


@pytest.mark.parametrize("left", ["another key", "unverifiable", "broken off"])
def test_what_may_be_otherwise_now_is_read_again(ledger: Ledger, work: SharedWork, left: str) -> None:
    rows = [ROWS[0][0], *ROWS[0][1:]]
    if left == "unverifiable":
        rows[1] = replace(rows[1], verdict=Verdict.UNVERIFIABLE)
    if left == "broken off":
        rows[1] = replace(rows[1], retryable=True)
    for position, batch in ((0, rows), (1, ROWS[1])):
        work.take("one", KEY)
        work.deliver("one", position, batch)
    again = SharedWork(ledger, "audit", SEAL)
    again.offer(BATCHES, "other options" if left == "another key" else KEY)
    assert (again.rows(0), again.rows(1)) == (None, None if left == "another key" else ROWS[1])


def test_an_audit_resumed_much_later_reads_again(
    ledger: Ledger, work: SharedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the bytes were then says nothing about them now."""
    work.take("one", KEY)
    work.deliver("one", 0, ROWS[0])
    monkeypatch.setattr(module, "_ROWS_HOLD_SECONDS", -1.0)
    again = SharedWork(ledger, "audit", SEAL)
    assert again.offer(BATCHES, KEY) == len(BATCHES)
    assert again.standing().delivered == 0
    assert delivered(again) == [None] * len(BATCHES)
    taken = SharedWork(ledger, "audit", SEAL, lost_after_seconds=-1).take("two", KEY)
    assert taken is not None
    assert taken.versions == BATCHES[0], "and the batch is anybody's"


def test_audits_do_not_mix(ledger: Ledger, work: SharedWork) -> None:
    other = SharedWork(ledger, "other", SEAL)
    other.offer(BATCHES[:1], KEY)
    other.close()
    assert work.standing().total == len(BATCHES)


def test_many_workers_at_once_take_everything_exactly_once(work: SharedWork) -> None:
    taken: Counter[int] = Counter()

    def worker(name: str) -> None:
        while (batch := work.take(name, KEY)) is not None:
            taken[batch.position] += 1
            work.deliver(name, batch.position, ROWS[batch.position])

    threads = [threading.Thread(target=worker, args=(f"worker-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == dict.fromkeys(range(len(BATCHES)), 1)
    assert work.standing().done


def test_the_chain_does_not_know_of_it(ledger: Ledger, work: SharedWork) -> None:
    assert ledger.verify() is None


def put(url: str, column: str, content: bytes, position: int = 0) -> None:
    """As anybody may who may write to the database."""
    with database(url) as connection:
        work = module.shared_work
        connection.execute(work.update().where(work.c.position == position).values({column: content}))


def packed(rows: tuple[VersionAudit, ...], at: float | None = None) -> bytes:
    return module._pack([json.dumps(time.time() if at is None else at), *map(module.encode_row, rows)])


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "no seal": lambda sealed: packed(ROWS[0]),
    "a seal of zeros": lambda sealed: b"0" * 64 + b"\n" + packed(ROWS[0]),
    "a seal that is no text": lambda sealed: b"\xff" * 64 + b"\n" + packed(ROWS[0]),
    "a bit": lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]),
    "nothing": lambda sealed: b"",
    "a bomb": lambda sealed: sealed[:65] + zlib.compress(bytes(1 << 24)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_rows_that_no_worker_delivered_are_not_looked_into(
    ledger: Ledger, url: str, work: SharedWork, forgery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.take("one", KEY)
    work.deliver("one", 0, ROWS[0])
    with database(url) as connection:
        columns = module.shared_work.c
        sealed = bytes(connection.execute(select(columns.rows).where(columns.position == 0)).scalar_one())
    put(url, "rows", FORGERIES[forgery](sealed))
    monkeypatch.setattr(module, "_unpack", lambda packed: pytest.fail("it was looked into"))
    with pytest.raises(NotOurs):
        work.rows(0)
    again = SharedWork(ledger, "audit", SEAL)  # the run that goes on with it
    again.offer(BATCHES, KEY)
    assert again.rows(0) is None


def test_rows_of_another_place_do_not_pass(ledger: Ledger, url: str, work: SharedWork) -> None:
    """Of another batch, another audit, other options or another time, or sealed with another secret."""
    for position in (0, 1):
        work.take("one", KEY)
        work.deliver("one", position, ROWS[position])
    other, stranger = SharedWork(ledger, "audit-2", SEAL), SharedWork(ledger, "audit", Seal(b"another" * 5))
    otherwise = SharedWork(ledger, "audit", SEAL)
    other._key = stranger._key = KEY
    otherwise._key = "other options"
    for sealed in (
        otherwise._sealed("rows", 0, packed(ROWS[0])),
        work._sealed("rows", 1, packed(ROWS[1])),
        other._sealed("rows", 0, packed(ROWS[0])),
        stranger._sealed("rows", 0, packed(ROWS[0])),
        work._sealed("versions", 0, packed(ROWS[0])),
        work._sealed("rows", 0, packed(ROWS[0], at=time.time() - 10_000)),
    ):
        put(url, "rows", sealed)
        with pytest.raises(NotOurs):
            work.rows(0)
    assert work.rows(1) == ROWS[1]


def test_rows_that_were_made_with_other_options_are_not_put_back(ledger: Ledger, url: str, work: SharedWork) -> None:
    """The audit goes on with other options, and somebody writes what its workers delivered before."""
    for position in (0, 1):
        work.take("one", KEY)
        work.deliver("one", position, ROWS[position])
    with database(url) as connection:
        columns = module.shared_work.c
        delivered = bytes(connection.execute(select(columns.rows).where(columns.position == 0)).scalar_one())
    again = SharedWork(ledger, "audit", SEAL)
    again.offer(BATCHES, "other options")
    put(url, "rows", delivered)
    with pytest.raises(NotOurs):
        again.rows(0)
    worker = SharedWork(ledger, "audit", SEAL)
    taken = worker.take("two", "other options")
    assert taken is not None
    assert taken.position == 1
    assert worker.deliver("two", 1, ROWS[1])
    assert again.rows(1) == ROWS[1], "a worker with the same options is believed"


def test_a_worker_audits_only_what_its_audit_put_out(url: str, work: SharedWork) -> None:
    put(url, "versions", module._pack(["key", *map(module.encode_version, BATCHES[3])]))
    with pytest.raises(NotOurs):
        work.take("one", KEY)
