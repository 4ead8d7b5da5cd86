"""One storage is read once; a reading is used again only where the listing proves that it still holds."""

import contextlib
import errno
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from registry_audit.audit.copies import Reading
from registry_audit.audit.shared_readings import ReadingCache, Readings
from registry_audit.audit.work_directory import now
from registry_audit.errors import Stopped, UsageError
from registry_audit.model.listing import ListedFile, Listing, Problem, make_listing
from registry_audit.model.manifest import ManifestEntry

READING = Reading(
    (ManifestEntry("a\n\udcff", 3, "sha256:00"), ManifestEntry("b", 0, "sha256:11")), b"\xff\n", (), 2, 3, read_at=now()
)
STORAGE = "s3://bucket/model"


def listing(change_token: str = "etag", size: int | None = 3, **more: object) -> Listing:
    return make_listing([ListedFile("a", size, change_token)], **more)  # type: ignore[arg-type]


class Counting:
    """Reads, and counts how often."""

    def __init__(self, reading: Reading = READING) -> None:
        self.count, self._reading = 0, reading

    def __call__(self) -> Readings:
        self.count += 1
        return (self._reading,)


def ask(cache: ReadingCache, read: Callable[[], Readings], held: Listing | None = None, identity: str = STORAGE):
    return cache.once(((identity, held or listing()),), "sha256", read)


def test_one_storage_is_read_once_by_many_threads() -> None:
    cache, read = ReadingCache(), Counting()
    barrier = threading.Barrier(8)

    def slowly() -> Readings:
        time.sleep(0.05)
        return read()

    def one(_: int) -> Readings:
        barrier.wait()
        return ask(cache, slowly)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(8))) == {(READING,)}
    assert read.count == 1
    assert ask(cache, read) == (READING,)
    assert cache.reused_count == 1


def test_what_stopped_the_first_thread_stops_those_that_wait_for_it_and_nothing_is_kept() -> None:
    cache, started, go_on = ReadingCache(), threading.Event(), threading.Event()

    def stopped() -> Readings:
        started.set()
        go_on.wait(10)
        raise Stopped("the audit was stopped")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, cache, stopped)
        started.wait(10)
        second = pool.submit(ask, cache, Counting())
        go_on.set()
        for waiting in (first, second):
            with pytest.raises(Stopped):
                waiting.result(10)
    assert ask(cache, Counting()) == (READING,)


@pytest.mark.parametrize(
    "other",
    [
        listing(change_token="other etag"),
        listing(size=4),
        make_listing([ListedFile("b", 3, "etag")]),
        listing(empty_directories=["d"]),
        listing(unsafe=["link"]),
        listing(problems=[Problem("RA013", "x")]),
    ],
)
def test_it_is_read_again_when_the_listing_changed(other: Listing) -> None:
    cache, read = ReadingCache(), Counting()
    ask(cache, read)
    ask(cache, read, other)
    assert read.count == 2


def test_another_storage_and_another_digest_are_other_readings() -> None:
    cache, read = ReadingCache(), Counting()
    ask(cache, read)
    ask(cache, read, identity="s3://bucket/other")
    cache.once(((STORAGE, listing()),), "blake3", read)
    cache.once(((STORAGE, listing()), (STORAGE, listing())), "sha256", read)
    assert read.count == 4


def test_a_reading_with_problems_is_worth_another_try(tmp_path: Path) -> None:
    failed = Counting(Reading((), None, (Problem("RA009", "time-out", "a"),)))
    cache = ReadingCache(tmp_path)
    ask(cache, failed)
    assert ask(cache, Counting()) == (READING,)
    assert failed.count == 1


def test_it_outlives_the_process_whole(tmp_path: Path) -> None:
    ask(ReadingCache(tmp_path), Counting())
    read = Counting(Reading((), None))
    assert ask(ReadingCache(tmp_path), read) == (READING,)
    assert read.count == 0


def test_what_left_the_memory_comes_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.audit.shared_readings._MAX_ENTRIES", 4)
    read = Counting()  # two entries each
    for _ in range(2):
        cache = ReadingCache(tmp_path)
        for storage in "abcdabcd":
            assert ask(cache, read, identity=storage) == (READING,)
    assert read.count == 4


def test_the_oldest_readings_leave_the_memory_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.audit.shared_readings._MAX_ENTRIES", 4)
    cache, read = ReadingCache(), Counting()  # two entries each
    for storage in ("a", "b", "a", "c", "a", "b"):
        ask(cache, read, identity=storage)
    assert read.count == 4


def test_a_directory_that_cannot_be_written_is_an_error_of_use(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"working directory .* is not writable"):
        ReadingCache(tmp_path / "file")


class FullDisk(io.BytesIO):
    def write(self, content: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_the_resumption_and_not_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, started = ReadingCache(tmp_path), threading.Event()
    monkeypatch.setattr(cache._kept, "_file", FullDisk())
    given: list[Readings] = []

    def slowly() -> Readings:
        started.set()
        time.sleep(0.2)
        return (READING,)

    def one() -> None:
        with contextlib.suppress(OSError):
            given.append(ask(cache, slowly))

    threads = [threading.Thread(target=one, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
        started.wait(10)
    for thread in threads:
        thread.join(2)
    assert [thread.is_alive() for thread in threads] == [False, False]
    assert given == [(READING,), (READING,)]


# Several storages that are wanted together.


def parts(*names: str) -> tuple[tuple[str, Listing], ...]:
    return tuple((name, listing()) for name in names)


def reading_of(name: str) -> Reading:
    return replace(READING, entries=(ManifestEntry(name, 1, "sha256:00"),))


class Together:
    """Reads storages by name, and keeps which were read at once."""

    def __init__(self, *names: str) -> None:
        self._names, self.read = names, list[tuple[str, ...]]()

    def __call__(self, positions: Sequence[int]) -> Readings:
        self.read.append(tuple(self._names[position] for position in positions))
        return tuple(reading_of(self._names[position]) for position in positions)


@pytest.mark.parametrize(
    ("before", "read"), [((), [("a", "b")]), (("a",), [("b",)]), (("b",), [("a",)]), (("a", "b"), [])]
)
def test_only_what_nobody_has_read_is_read_together(before: tuple[str, ...], read: list[tuple[str, ...]]) -> None:
    cache, both = ReadingCache(), Together("a", "b")
    for name in before:
        cache.each_once(parts(name), "sha256", Together(name))
    assert cache.each_once(parts("a", "b"), "sha256", both) == (reading_of("a"), reading_of("b"))
    assert both.read == read
    assert cache.reused_count == len(before)
    assert cache.each_once(parts("b", "a"), "sha256", both) == (reading_of("b"), reading_of("a"))
    assert both.read == read


def test_a_storage_wanted_twice_is_read_once() -> None:
    twice = Together("a", "a")
    assert ReadingCache().each_once(parts("a", "a"), "sha256", twice) == (reading_of("a"), reading_of("a"))
    assert twice.read == [("a",)]


def test_threads_that_want_each_others_storages_do_not_wait_for_ever() -> None:
    """Each takes what is free, reads it, and only then waits."""
    cache, names = ReadingCache(), ("a", "b", "c", "d")
    barrier, lock, read = threading.Barrier(4), threading.Lock(), Counter[str]()

    def one(first: int) -> Readings:
        wanted = (names[first], names[(first + 1) % 4])

        def slowly(positions: Sequence[int]) -> Readings:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(0.2)  # so that the others have taken theirs
            with lock:
                read.update(wanted[position] for position in positions)
            return tuple(reading_of(wanted[position]) for position in positions)

        return cache.each_once(parts(*wanted), "sha256", slowly)

    with ThreadPoolExecutor(4) as pool:
        for first, future in enumerate([pool.submit(one, first) for first in range(4)]):
            assert future.result(20) == (reading_of(names[first]), reading_of(names[(first + 1) % 4]))
    assert read == dict.fromkeys(names, 1)


def test_of_two_read_together_only_the_one_without_problems_is_kept() -> None:
    cache = ReadingCache()
    bad = replace(reading_of("b"), problems=(Problem("RA008", "changed", "b"),))
    assert cache.each_once(parts("a", "b"), "sha256", lambda _: (reading_of("a"), bad)) == (reading_of("a"), bad)
    again = Together("a", "b")
    assert cache.each_once(parts("a", "b"), "sha256", again) == (reading_of("a"), reading_of("b"))
    assert again.read == [("b",)]


def test_after_an_error_both_are_read_again_and_who_waited_is_told() -> None:
    cache, started, go_on = ReadingCache(), threading.Event(), threading.Event()

    def stopped(_: Sequence[int]) -> Readings:
        started.set()
        go_on.wait(10)
        raise Stopped("the audit was stopped")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.each_once, parts("a", "b"), "sha256", stopped)
        started.wait(10)
        second = pool.submit(cache.each_once, parts("b"), "sha256", Together("b"))
        go_on.set()
        with pytest.raises(Stopped):
            first.result(10)
        with contextlib.suppress(Stopped):  # unless it came after the end of the first
            assert second.result(10) == (reading_of("b"),)
    again = Together("a", "b")
    assert cache.each_once(parts("a", "b"), "sha256", again) == (reading_of("a"), reading_of("b"))


def test_of_two_read_together_each_outlives_the_process(tmp_path: Path) -> None:
    ReadingCache(tmp_path).each_once(parts("a", "b"), "sha256", Together("a", "b"))
    after = Together("b")
    assert ReadingCache(tmp_path).each_once(parts("b"), "sha256", after) == (reading_of("b"),)
    assert after.read == []
