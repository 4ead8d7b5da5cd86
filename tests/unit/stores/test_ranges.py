"""A large file in ranges: in order, few at once, and nothing left behind."""

import threading
from collections.abc import Iterator

import pytest

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.transfers import RANGES_AT_ONCE, Transfers
from registry_audit.stores.ranges import RANGE_BYTES, Range, in_order


@pytest.fixture
def transfers() -> Iterator[Transfers]:
    transfers = Transfers()
    yield transfers
    room = [transfers.room.acquire(blocking=False) for _ in range(RANGES_AT_ONCE)]
    assert all(room), "a range that nobody holds still takes room"
    transfers.stop()


class Fetched:
    """Counts the ranges that are in memory: fetched, or being fetched, and not yet taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.held = self.most = 0

    def __call__(self, part: Range, left: threading.Event) -> list[bytes]:
        with self._lock:
            self.held += 1
            self.most = max(self.most, self.held)
        return [f"{part.start}-{part.end};".encode()]

    def taken(self) -> None:
        with self._lock:
            self.held -= 1


@pytest.mark.parametrize("size", [1, RANGE_BYTES, RANGE_BYTES + 1, 200 * RANGE_BYTES + 7])
def test_in_order_and_to_the_last_byte(transfers: Transfers, size: int) -> None:
    fetched, got = Fetched(), list[bytes]()
    for piece in in_order(fetched, Range(0, size), transfers):
        fetched.taken()
        got.append(piece)
    starts = range(0, size, RANGE_BYTES)
    assert got == [f"{start}-{min(start + RANGE_BYTES, size)};".encode() for start in starts]


def test_many_large_files_together_hold_no_more_than_there_is_room_for(transfers: Transfers) -> None:
    fetched = Fetched()

    def work() -> None:
        for _ in in_order(fetched, Range(0, 60 * RANGE_BYTES), transfers):
            fetched.taken()

    threads = [threading.Thread(target=work) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "files wait for each other's room"
    assert fetched.most <= RANGES_AT_ONCE


def test_an_error_ends_it_and_the_rest_is_not_fetched(transfers: Transfers) -> None:
    asked: list[int] = []

    def fetch(part: Range, left: threading.Event) -> list[bytes]:
        asked.append(part.start)
        if part.start == 5 * RANGE_BYTES:
            raise CouldNotVerify("denied")
        return [b"x"]

    with pytest.raises(CouldNotVerify):
        list(in_order(fetch, Range(0, 1_000 * RANGE_BYTES), transfers))
    assert len(asked) < 30


def test_what_is_left_in_the_middle_is_told_to_those_that_fetch(transfers: Transfers) -> None:
    events: list[threading.Event] = []

    def fetch(part: Range, left: threading.Event) -> list[bytes]:
        events.append(left)
        return [b"x"]

    pieces = in_order(fetch, Range(0, 100 * RANGE_BYTES), transfers)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert all(event.is_set() for event in events)
