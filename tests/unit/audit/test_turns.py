"""Turns: one thread at a time, no thread waiting for one that waits for it, and an end where they only cost."""

import threading
from collections.abc import Callable

import pytest

from registry_audit.audit.copies import Reading
from registry_audit.audit.shared_readings import ReadingCache
from registry_audit.audit.turns import Turns
from registry_audit.model.listing import ListedFile, make_listing

PARTS = (("file:/models/a", make_listing([ListedFile("MLmodel", 1, "marker")])),)
WAIT = 20.0


def together(*calls: Callable[[], object]) -> None:
    """Daemons, so that threads that wait for each other fail a test and do not hang it."""
    done: list[object] = []
    threads = [threading.Thread(target=lambda call=call: done.append(call() or True), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(done) == len(calls)


def test_only_one_thread_has_its_turn_and_keeps_it_in_what_it_calls() -> None:
    turns, inside, most = Turns(), [], []

    def work() -> None:
        for _ in range(200):
            with turns.taken(), turns.taken():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    together(*[work] * 4)
    assert (max(most), len(most)) == (1, 800)


def test_a_turn_given_up_is_another_thread_s_and_comes_back() -> None:
    turns, other_had_it = Turns(), threading.Event()

    def large() -> None:
        with turns.taken():
            with turns.given_up_for(1 << 30):
                assert other_had_it.wait(WAIT)
            with turns.taken():
                pass

    def small() -> None:
        with turns.taken(), turns.given_up_for(10):
            other_had_it.set()

    together(large, small)


def test_a_small_file_is_no_reason_to_give_it_up() -> None:
    turns, tried = Turns(), threading.Event()

    def other() -> None:
        with turns.taken():
            tried.set()

    with turns.taken(), turns.given_up_for(10):
        thread = threading.Thread(target=other)
        thread.start()
        assert not tried.wait(0.05)
    thread.join(WAIT)
    assert tried.is_set()


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns()
    for step in (turns.taken, turns.given_up):
        with pytest.raises(ValueError, match="broken"), turns.taken(), step():
            raise ValueError("broken")
    together(lambda: turns.taken().__enter__())


def test_who_waits_for_the_reading_of_another_lets_it_have_its_turn() -> None:
    """Else the one waits for the reading, and the reading for the one's turn, for ever."""
    turns = Turns()
    cache, reading, waits = ReadingCache(turns=turns), threading.Event(), threading.Event()
    read = (Reading((), None),)

    def slow() -> tuple[Reading, ...]:
        with turns.given_up():
            reading.set()
            assert waits.wait(WAIT)
        return read

    def first() -> None:
        with turns.taken():
            assert cache.once(PARTS, "sha256", slow) == read

    def second() -> None:
        assert reading.wait(WAIT)
        with turns.taken():
            waits.set()
            assert cache.once(PARTS, "sha256", lambda: ()) == read

    together(first, second)
    assert cache.reused_count in (0, 1)
