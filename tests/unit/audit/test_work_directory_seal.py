"""The secret of a user, and what is signed with it."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry_audit.audit.work_directory import KEY_FILE, TIME_FORMAT, Seal, code_digest, is_recent, now, own_seal


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sealed() -> str:
    seal = own_seal()
    assert seal is not None
    return seal.sign("place", b"content")


def test_a_signature_holds_for_its_content_its_place_and_its_key_only() -> None:
    seal = Seal(b"k" * 32)
    signature = seal.sign("place", b"content")
    assert seal.holds(signature, "place", b"content")
    assert not seal.holds(signature, "place", b"Content")
    assert not seal.holds(signature, "other", b"content")
    assert not Seal(b"K" * 32).holds(signature, "place", b"content")
    assert not seal.holds("é" * 64, "place", b"content")
    assert seal.sign("a\n1", b"\nx") != seal.sign("a", b"1\n\nx"), "where the place ends is part of it"


def test_the_secret_is_made_once_for_this_user_alone(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(lambda _: sealed(), range(16))}) == 1
    (file,) = home.iterdir()
    assert file.name == KEY_FILE
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_secret_that_others_may_read_or_write_is_none(home: Path, mode: int) -> None:
    before = sealed()
    (home / KEY_FILE).chmod(mode)
    assert sealed() != before
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["short", "long", "empty", "fifo", "directory", "symlink"])
def test_what_is_no_secret_is_replaced_or_does_without(home: Path, tmp_path: Path, kind: str) -> None:
    home.mkdir()
    file = home / KEY_FILE
    if kind == "fifo":
        os.mkfifo(file, 0o600)
    elif kind == "directory":
        file.mkdir(mode=0o700)
    elif kind == "symlink":
        (tmp_path / "theirs").write_bytes(b"k" * 32)
        (tmp_path / "theirs").chmod(0o600)
        file.symlink_to(tmp_path / "theirs")
    else:
        file.write_bytes(b"k" * {"short": 31, "long": 33, "empty": 0}[kind])
        file.chmod(0o600)
    seal = own_seal()
    assert seal is None if kind in ("directory", "symlink") else seal is not None
    assert seal is None or seal.sign("place", b"") != Seal(b"k" * 32).sign("place", b"")


def test_without_a_home_there_is_no_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGISTRY_AUDIT_HOME", str(tmp_path / "file"))
    assert own_seal() is None


def test_recent_is_the_last_day_and_no_future() -> None:
    def at(**ago: float) -> str:
        return (datetime.now(UTC) - timedelta(**ago)).strftime(TIME_FORMAT)

    assert is_recent(now())
    assert is_recent(at(hours=23))
    assert not is_recent(at(hours=25))
    assert is_recent(at(minutes=-2)), "clocks differ"
    assert not is_recent(at(minutes=-10))
    assert not is_recent("")


def test_other_code_has_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"package_{time.time_ns()}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for content in ("x = 1\n", "x = 2\n", "x = 1\n"):
        (tmp_path / name / "module.py").write_text(content)
        code_digest.cache_clear()
        digests.append(code_digest(name))
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]
    code_digest.cache_clear()
    assert code_digest("registry_audit") not in digests
