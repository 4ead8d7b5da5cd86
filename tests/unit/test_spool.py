"""What is put at a position comes out there, from memory or from disk."""

import json
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.spool import Spool

TEXTS = st.lists(st.text(), max_size=12)


def spool(in_memory: int, directory: Path | None = None) -> Spool[str]:
    return Spool(json.dumps, json.loads, directory=directory, in_memory=in_memory)


@given(TEXTS, st.integers(0, 15), st.randoms())
def test_rows_come_out_in_their_order_whatever_was_put_first(texts: list[str], in_memory: int, random: object) -> None:
    kept = spool(in_memory)
    positions = list(range(len(texts)))
    random.shuffle(positions)  # type: ignore[attr-defined]
    for position in positions:
        kept.put(position, texts[position])
    assert len(kept) == len(texts)
    assert list(kept) == texts == list(kept)
    assert [kept.at(position) for position in range(len(texts))] == texts


@given(TEXTS, st.integers(0, 15))
def test_appended_rows_are_in_order(texts: list[str], in_memory: int) -> None:
    kept = spool(in_memory)
    for text in texts:
        kept.append(text)
    assert list(kept) == texts


@pytest.mark.parametrize("in_memory", [0, 1, 9])
def test_a_position_without_a_row_does_not_count(in_memory: int) -> None:
    """An audit compares the number of its rows with that of its versions."""
    kept = spool(in_memory)
    for position in (0, 3, 3, 5):
        kept.put(position, f"row {position}")
    assert len(kept) == 3
    assert list(kept) == ["row 0", "row 3", "row 5"]


def test_two_readers_do_not_disturb_each_other() -> None:
    kept = spool(0)
    for number in range(5):
        kept.append(str(number))
    assert [(one, two) for one, two in zip(kept, kept, strict=True)] == [(str(n), str(n)) for n in range(5)]


def test_a_file_that_cannot_be_made_costs_memory_and_no_row(tmp_path: Path) -> None:
    kept = spool(1, tmp_path / "nowhere")
    for number in range(3):
        kept.append(str(number))
    kept.put(1, "again")
    assert (list(kept), len(kept), kept.at(2)) == (["0", "again", "2"], 3, "2")


@given(st.lists(st.tuples(st.integers(0, 8), st.text(max_size=4_000)), max_size=20), st.integers(0, 4))
def test_a_disk_that_takes_no_more_costs_no_row(puts: list[tuple[int, str]], in_memory: int) -> None:
    """A process may write no file longer than some thousand bytes: the system refuses, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        kept, expected = spool(in_memory), dict[int, str]()
        for position, text in puts:
            kept.put(position, text)
            expected[position] = text
        assert list(kept) == [expected[position] for position in sorted(expected)]
        assert len(kept) == len(expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_nothing_stays_on_disk(tmp_path: Path) -> None:
    kept = spool(0, tmp_path)
    kept.append("row")
    assert list(tmp_path.iterdir()) == []
    assert list(kept) == ["row"]
