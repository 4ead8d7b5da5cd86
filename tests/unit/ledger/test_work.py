"""Batches shared out among workers: each version audited, whoever is lost; on both databases."""

import threading
from collections import Counter

import pytest
from support.ledgers import row

from registry_audit.audit.judging import VersionAudit
from registry_audit.ledger import work as module
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.work import Batch, SharedWork

ROWS: tuple[tuple[VersionAudit, ...], ...] = tuple(
    tuple(row(f"model-{batch}", str(number)) for number in range(1, 4)) for batch in range(6)
)
BATCHES: tuple[Batch, ...] = tuple(tuple(audit.version for audit in batch) for batch in ROWS)


@pytest.fixture
def work(ledger: Ledger) -> SharedWork:
    shared = SharedWork(ledger, "audit")
    assert shared.offer(BATCHES) == len(BATCHES)
    return shared


def test_a_batch_is_given_to_one_worker_only(work: SharedWork) -> None:
    taken = [work.take(worker) for worker in ("one", "two", "one")]
    assert [(t.position, t.versions) for t in taken if t] == list(enumerate(BATCHES[:3]))


def test_rows_come_back_in_the_order_of_the_audit(work: SharedWork) -> None:
    for worker in "abcdef":
        assert work.take(worker) is not None
    for position in (3, 0, 5, 1, 4, 2):
        assert work.deliver("abcdef"[position], position, ROWS[position])
    assert list(work.rows()) == [audit for batch in ROWS for audit in batch]
    assert work.standing().done
    assert work.take("late") is None


def test_the_batch_of_a_lost_worker_is_anybodys_again(ledger: Ledger) -> None:
    SharedWork(ledger, "audit").offer(BATCHES[:1])
    patient, impatient = SharedWork(ledger, "audit"), SharedWork(ledger, "audit", lost_after_seconds=-1)
    assert patient.take("lost") is not None
    assert patient.take("other") is None, "its worker was heard of a moment ago"
    again = impatient.take("other")
    assert again is not None
    assert again.versions == BATCHES[0]
    assert not patient.still_at("lost", 0), "it is another's now"
    assert not patient.deliver("lost", 0, ROWS[1]), "what it says now, stopped in the middle, is not wanted"
    assert patient.still_at("other", 0)


def test_who_is_at_work_is_told_when_the_audit_ends(work: SharedWork) -> None:
    taken = work.take("one")
    assert taken is not None
    assert work.still_at("one", taken.position)
    work.close()
    assert not work.still_at("one", taken.position)
    assert not work.deliver("one", taken.position, ROWS[taken.position])
    assert list(work.rows()) == []
    assert work.take("one") is None


def test_an_interrupted_audit_goes_on_where_it_was(ledger: Ledger, work: SharedWork) -> None:
    for _ in range(3):
        work.take("one")
    work.deliver("one", 2, ROWS[2])
    again = SharedWork(ledger, "audit")
    again.offer(BATCHES)
    assert again.standing().delivered == 1
    assert list(again.rows()) == list(ROWS[2])
    again.offer(BATCHES[1:])
    assert again.standing().delivered == 0, "another registry than that of the interrupted run: nothing is kept"


def test_an_audit_resumed_much_later_reads_again(
    ledger: Ledger, work: SharedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the bytes were then says nothing about them now."""
    work.take("one")
    work.deliver("one", 0, ROWS[0])
    monkeypatch.setattr(module, "_ROWS_HOLD_SECONDS", -1.0)
    again = SharedWork(ledger, "audit")
    assert again.offer(BATCHES) == len(BATCHES)
    assert again.standing().delivered == 0
    assert list(again.rows()) == []
    taken = SharedWork(ledger, "audit", lost_after_seconds=-1).take("two")
    assert taken is not None
    assert taken.versions == BATCHES[0], "and the batch is anybody's"


def test_audits_do_not_mix(ledger: Ledger, work: SharedWork) -> None:
    other = SharedWork(ledger, "other")
    other.offer(BATCHES[:1])
    other.close()
    assert work.standing().total == len(BATCHES)


def test_many_workers_at_once_take_everything_exactly_once(work: SharedWork) -> None:
    taken: Counter[int] = Counter()

    def worker(name: str) -> None:
        while (batch := work.take(name)) is not None:
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
