"""Two copies in lockstep: what is digested once is what was the same, to the last byte."""

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_audit.audit import reading as reading_module
from registry_audit.audit.copies import Reading
from registry_audit.audit.reading import equal, in_lockstep, read_pair
from registry_audit.errors import BodyEndedEarly, CouldNotVerify, NotFound, Stopped
from registry_audit.model.listing import Limits, ListedFile, Listing, make_listing
from registry_audit.net.transfers import ReadBuffer, Transfers, Where
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.base import Chunks, Unreadable

LENGTH = 40_000
WHOLE = bytes(range(256)) * (LENGTH // 256)
MLMODEL = b"flavors: {a: {}}\n"


class Small(ReadBuffer):
    """Pieces that are used up quickly, and wiped when they are given out again."""

    def __init__(self) -> None:
        self._pieces = memoryview(bytearray(1_000)), memoryview(bytearray(1_000))
        self._turn = 0

    def __call__(self) -> memoryview:
        piece = super().__call__()
        piece[:] = bytes(len(piece))
        return piece


class Streamed:
    """A store: content by file, and at what byte which reading of it fails."""

    directory: Path | None = None
    root_listing: Any = None

    def __init__(self, transfers: Transfers | None, chunk: int, files: dict[str, bytes]) -> None:
        """
        Args:
            transfers: as a remote store has them, whose files are read one by one; None: as a local one.
        """
        self.transfers, self._chunk, self._files = transfers, chunk, files
        self.identity = StorageIdentity("fake", str(id(self)))
        self.faults: dict[int, tuple[int, Exception]] = {}  # by the number of the reading of "data"
        self.sizes: dict[str, int] = {}
        self.readings: list[str] = []

    def listing(self, limits: Limits = Limits()) -> Listing:  # noqa: B008
        return make_listing([ListedFile(path, self.sizes.get(path, len(data))) for path, data in self._files.items()])

    def read(self, file: ListedFile, where: Where | None = None) -> Chunks:
        at, fault = self.faults.get(self.readings.count("data"), (0, None)) if file.path == "data" else (0, None)
        self.readings.append(file.path)
        content, given = self._files[file.path], 0
        while given < len(content):
            if fault is not None and given >= at:
                raise fault
            size = min(self._chunk, len(content) - given)
            piece: bytes | memoryview = content[given : given + size]
            if where is not None:
                memory = where()[:size]
                memory[:] = piece
                piece = memory
            given += len(piece)
            yield piece
        if fault is not None:
            raise fault


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_audit.audit.reading._LARGE_BYTES", 1)
    monkeypatch.setattr("registry_audit.net.retry.FIRST_PAUSE_SECONDS", 0)


@pytest.fixture(params=["remote", "local"])
def transfers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transfers | None]:
    monkeypatch.setattr("registry_audit.audit.reading.ReadBuffer", Small)
    if request.param == "local":
        yield None
        return
    made = Transfers()
    yield made
    made.stop()


def pair(
    transfers: Transfers | None, one: bytes, two: bytes, chunks: tuple[int, int] = (700, 700)
) -> tuple[Streamed, Streamed]:
    left = Streamed(transfers, chunks[0], {"MLmodel": MLMODEL, "data": one})
    right = Streamed(transfers, chunks[1], {"MLmodel": MLMODEL, "data": two})
    return left, right


def read(left: Streamed, right: Streamed, pulse: Callable[[int], None] = lambda count: None) -> tuple[Reading, Reading]:
    return read_pair(left, left.listing(), right, right.listing(), "sha256", pulse=pulse)


def digest_of(reading: Reading, path: str = "data") -> str | None:
    found = {entry.path: entry.digest for entry in reading.entries}
    return found[path].removeprefix("sha256:") if path in found else None


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


pieces = st.lists(st.binary(max_size=9), max_size=9)


@given(pieces, pieces)
@example([b"ab", b"", b"c"], [b"a", b"bcd"])
def test_pieces_are_as_long_as_each_other_until_one_content_ends(one: list[bytes], two: list[bytes]) -> None:
    got = [(bytes(a), bytes(b)) for a, b in in_lockstep(iter(one), iter(two))]
    assert b"".join(a for a, _ in got) == b"".join(one)
    assert b"".join(b for _, b in got) == b"".join(two)
    ended = False
    for a, b in got:
        assert a or b
        ended = ended or not (a and b)
        assert len(a) == len(b) if not ended else not (a and b)


SPELLINGS: dict[str, Callable[[bytes], bytes | memoryview]] = {
    "bytes": bytes,
    "memory": lambda content: memoryview(bytearray(content)),
    "within memory": lambda content: memoryview(bytearray(b"ab" + content + b"c"))[2:-1],
    "view of bytes": memoryview,
}


@pytest.fixture(scope="module", params=["as it is", "no C library"])
def ways_to_compare(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "no C library":
            patch.setattr("registry_audit.audit.reading._memcmp", None)
        else:
            assert reading_module._memcmp is not None
        yield


@pytest.mark.parametrize("left", SPELLINGS)
@pytest.mark.parametrize("right", SPELLINGS)
def test_equal_is_equality(ways_to_compare: None, left: str, right: str) -> None:
    @given(st.binary(max_size=20), st.binary(max_size=20))
    def small(one: bytes, two: bytes) -> None:
        for a, b in ((two, two), (one, two), (one, one), (two, one)):
            assert equal(SPELLINGS[left](a), SPELLINGS[right](b)) == (a == b)

    @given(st.integers(0, 20), st.data())
    def large(more: int, data: st.DataObject) -> None:
        whole = random.Random(more).randbytes((64 << 10) + more)
        at = data.draw(st.integers(0, len(whole) - 1) | st.sampled_from([0, len(whole) - 1]))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        for a, b in ((whole, whole), (whole, flipped), (flipped, whole), (whole, whole[:-1]), (whole[:-1], whole)):
            assert equal(SPELLINGS[left](a), SPELLINGS[right](b)) == (a == b)

    small()
    large()


@pytest.mark.parametrize("chunks", [(700, 700), (700, 999), (999, 1), (1, 64), (1_000, 1_000)])
def test_equal_copies_are_read_once_each(transfers: Transfers | None, chunks: tuple[int, int]) -> None:
    left, right = pair(transfers, WHOLE, WHOLE, chunks)
    pulses: list[int] = []
    for reading in read(left, right, pulses.append):
        assert (reading.problems, reading.mlmodel) == ((), MLMODEL)
        assert digest_of(reading) == sha256(WHOLE)
        assert (reading.files_read, reading.bytes_read) == (2, len(WHOLE) + len(MLMODEL))
    assert sorted(left.readings) == sorted(right.readings) == ["MLmodel", "data"]
    assert sum(pulses) == 2 * (len(WHOLE) + len(MLMODEL))


@pytest.mark.parametrize("at", [0, 1, 699, 700, 20_000, len(WHOLE) - 1])
@pytest.mark.parametrize("chunks", [(700, 700), (700, 999), (1_000, 3)])
def test_one_flipped_bit_is_found_wherever_it_is(transfers: Transfers | None, chunks: tuple[int, int], at: int) -> None:
    flipped = WHOLE[:at] + bytes([WHOLE[at] ^ 0x80]) + WHOLE[at + 1 :]
    left, right = pair(transfers, WHOLE, flipped, chunks)
    one, two = read(left, right)
    assert one.problems + two.problems == ()
    assert (digest_of(one), digest_of(two)) == (sha256(WHOLE), sha256(flipped))


@pytest.mark.parametrize("given", [0, 1, 700, len(WHOLE) - 1, len(WHOLE) + 1, len(WHOLE) + 5_000])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("chunks", [(700, 700), (700, 999)])
def test_a_body_that_is_not_as_long_as_it_was_listed(
    transfers: Transfers | None, side: int, given: int, chunks: tuple[int, int]
) -> None:
    other = (WHOLE + bytes(5_000))[:given]
    stores = pair(transfers, *((other, WHOLE) if side == 0 else (WHOLE, other)), chunks)
    stores[side].sizes["data"] = len(WHOLE)
    readings = read(*stores)
    assert [problem.rule for problem in readings[side].problems] == ["RA008"]
    assert digest_of(readings[side]) is None
    assert readings[1 - side].problems == ()
    assert digest_of(readings[1 - side]) == sha256(WHOLE)


def test_both_bodies_longer_than_listed(transfers: Transfers | None) -> None:
    left, right = pair(transfers, WHOLE, WHOLE)
    left.sizes["data"] = right.sizes["data"] = 10_000
    pulses: list[int] = []
    for reading in read(left, right, pulses.append):
        assert [problem.rule for problem in reading.problems] == ["RA008"]
        assert digest_of(reading) is None
    assert sum(pulses) < 2 * 11_000, "a stream without end is left"


@pytest.mark.parametrize("at", [0, 700, len(WHOLE)])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    "fault",
    [
        Unreadable("RA008", "'data' changed between listing and reading", "data"),
        CouldNotVerify("permission denied"),
        NotFound("no such bucket"),
    ],
)
def test_an_error_is_a_problem_of_its_own_side_alone(
    transfers: Transfers | None, side: int, fault: Exception, at: int
) -> None:
    stores = pair(transfers, WHOLE, WHOLE)
    stores[side].faults = dict.fromkeys(range(9), (at, fault))
    stores[side]._files.pop("MLmodel")
    readings = read(*stores)
    assert [problem.message for problem in readings[side].problems] == [str(fault)]
    assert digest_of(readings[side]) is None
    assert readings[1 - side].problems == ()
    assert digest_of(readings[1 - side]) == sha256(WHOLE)


@pytest.mark.parametrize("side", [0, 1])
def test_what_passes_is_read_again_whole(transfers: Transfers | None, side: int) -> None:
    stores = pair(transfers, WHOLE, WHOLE)
    stores[side].faults = {0: (20_000, BodyEndedEarly("broke off"))}
    for reading in read(*stores):
        assert (reading.problems, digest_of(reading), reading.bytes_read) == (
            (),
            sha256(WHOLE),
            len(WHOLE) + len(MLMODEL),
        )
    assert stores[side].readings.count("data") == 2


def test_files_of_one_side_only_and_of_other_sizes_are_read_by_themselves(transfers: Transfers | None) -> None:
    left = Streamed(transfers, 700, {"same": WHOLE, "left": WHOLE, "size": WHOLE})
    right = Streamed(transfers, 700, {"same": WHOLE, "right": WHOLE, "size": WHOLE + b"!"})
    one, two = read(left, right)
    assert [entry.path for entry in one.entries] == ["left", "same", "size"]
    assert [entry.path for entry in two.entries] == ["right", "same", "size"]
    assert digest_of(one, "size") == sha256(WHOLE)
    assert digest_of(two, "size") == sha256(WHOLE + b"!")


def test_a_stopped_audit_is_no_problem_of_a_model(transfers: Transfers | None) -> None:
    def stop(count: int) -> None:
        raise Stopped("the audit was stopped")

    with pytest.raises(Stopped):
        read(*pair(transfers, WHOLE, WHOLE), stop)
