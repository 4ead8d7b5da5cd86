"""What an audit has read outlives its process: whole, for a day, and only what it wrote itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry_audit.audit import shared_readings as module
from registry_audit.audit.copies import Reading
from registry_audit.audit.shared_readings import KeptReadings
from registry_audit.audit.work_directory import KEY_FILE, TIME_FORMAT, now
from registry_audit.errors import UsageError
from registry_audit.home import home_directory
from registry_audit.model.listing import Problem
from registry_audit.model.manifest import ManifestEntry

READING = Reading(
    (ManifestEntry("a\n\udcff", 3, "sha256:00"), ManifestEntry("b", 0, "sha256:11")),
    b"\xff\x00\n",
    (Problem("RA013", "x", blocks=False),),
    2,
    3,
    signature=b"{}",
    read_at=now(),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With a reading under each of two keys."""
    kept = KeptReadings(tmp_path)
    for key in ("one", "two"):
        kept.put(key, (READING,))
    return tmp_path / "readings.jsonl"


def found(file: Path) -> list[bool]:
    kept = KeptReadings(file.parent)
    for key in ("one", "two"):
        assert kept.get(key) in (None, (READING,))
    return [kept.get(key) is not None for key in ("one", "two")]


def test_it_comes_back_as_it_was(file: Path) -> None:
    assert found(file) == [True, True]
    assert file.stat().st_mode & 0o777 == 0o600
    assert KeptReadings(file.parent).get("three") is None
    assert b"one" not in file.read_bytes(), "keys hold addresses, which may hold secrets"


def _other_digest(line: bytes) -> bytes:
    """A model that was overwritten is made to look as it was."""
    return line.replace(b"sha256:00", b"sha256:ff")


def _unsigned(line: bytes) -> bytes:
    return b"0" * 64 + line[64:]


def _under_the_other_key(line: bytes) -> bytes:
    signature, digest, text = line.split(b" ", 2)
    other = digest.translate(bytes.maketrans(b"0123456789abcdef", b"123456789abcdef0"))
    return b" ".join((signature, other, text))


@pytest.mark.parametrize(
    "damage",
    [
        _other_digest,
        _unsigned,
        _under_the_other_key,
        lambda line: line[:-1],
        lambda line: line[:70],
        lambda line: b"",
        lambda line: line.split(b" ", 2)[2],
        lambda line: b"\xff\x00 " + line,
        lambda line: b"{" * 5_000,
    ],
)
def test_a_line_that_does_not_hold_is_read_again_and_no_other(file: Path, damage: Callable[[bytes], bytes]) -> None:
    first, second = file.read_bytes().splitlines()
    file.write_bytes(damage(first) + b"\n" + second + b"\n")
    assert found(file) == [False, True]


def test_two_lines_that_were_swapped_are_read_again(file: Path) -> None:
    lines = [line.split(b" ", 2) for line in file.read_bytes().splitlines()]
    lines[0][1], lines[1][1] = lines[1][1], lines[0][1]
    file.write_bytes(b"".join(b" ".join(line) + b"\n" for line in lines))
    assert found(file) == [False, False]


@pytest.mark.parametrize("cut", [1, 80, -1])
def test_a_torn_last_line_is_read_again_and_does_not_swallow_the_next(file: Path, cut: int) -> None:
    first, second = file.read_bytes().splitlines()
    file.write_bytes(first + b"\n" + second[:cut])
    assert found(file) == [True, False]
    kept = KeptReadings(file.parent)
    kept.put("two", (READING,))
    assert found(file) == [True, True]


@pytest.mark.parametrize(("age", "holds"), [(23, True), (25, False), (-1, False)])
def test_it_holds_for_a_day(tmp_path: Path, age: int, holds: bool) -> None:
    at = (datetime.now(UTC) - timedelta(hours=age)).strftime(TIME_FORMAT)
    KeptReadings(tmp_path).put("one", (READING, replace(READING, read_at=at)))
    assert (KeptReadings(tmp_path).get("one") is not None) is holds


def test_one_that_does_not_say_when_is_read_again(tmp_path: Path) -> None:
    KeptReadings(tmp_path).put("one", (replace(READING, read_at=None),))
    assert KeptReadings(tmp_path).get("one") is None


def test_that_of_another_audit_is_read_again(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / file.name).write_bytes(file.read_bytes())
    assert found(other / file.name) == [False, False]


def test_that_of_other_code_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "code_digest", lambda *packages: "other code")
    assert found(file) == [False, False]


def test_that_of_another_key_is_read_again(file: Path) -> None:
    (home_directory() / KEY_FILE).unlink()
    assert found(file) == [False, False]


def test_the_file_of_an_older_release_is_read_again(tmp_path: Path) -> None:
    line = json.dumps({"key": "one", "readings": [{"entries": [["a", 3, "sha256:00"]]}]})
    (tmp_path / "readings.jsonl").write_text(f"{line}\n")
    assert found(tmp_path / "readings.jsonl") == [False, False]


def test_without_a_secret_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "file"))
    kept = KeptReadings(tmp_path)
    kept.put("one", (READING,))
    assert kept.get("one") is None
    assert (tmp_path / "readings.jsonl").read_bytes() == b""


def test_a_directory_that_cannot_be_written_is_an_error_of_use(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"working directory .* is not writable"):
        KeptReadings(tmp_path / "file")
