"""What an interrupted audit has read stays until an audit of that id has succeeded."""

import fcntl
import os
import time
from pathlib import Path

import pytest
from support.ledgers import registry_audit

from registry_audit.audit import work_directory
from registry_audit.audit.work_directory import READINGS, WorkDirectory
from registry_audit.errors import UsageError

_ONE, _OTHER = "http://one.example:5000", "http://other.example:5000"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def interrupted(audit_id: str = "r1") -> Path:
    """An audit that had read something, and was killed."""
    work = WorkDirectory(audit_id)
    with work.held(_ONE):
        work.belongs_to(_ONE)
        (work.path / READINGS).write_text('{"key": "x", "readings": []}\n', encoding="ascii")
    return work.path


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def test_another_registry_is_refused_and_nothing_is_touched() -> None:
    path = interrupted()
    before = contents(path)
    with pytest.raises(UsageError, match="resume it with the address"), WorkDirectory("r1").held(_OTHER):
        pytest.fail("it must not be entered")
    assert contents(path) == before
    with WorkDirectory("r1").held(_ONE):
        assert contents(path) == before


def test_a_cache_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDIT_CACHE_DIR", str(tmp_path / (300 * "x")))
    with pytest.raises(UsageError, match="Set REGISTRY_AUDIT_CACHE_DIR"), WorkDirectory("r1").held(_ONE):
        pass


def test_a_living_audit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = interrupted()
    with WorkDirectory("r1").held(_ONE):
        with WorkDirectory("r1").held(_ONE):
            pass  # a flow that runs in the process of its command
        monkeypatch.setattr(work_directory, "_held", set())  # as another process sees it
        before = contents(path)
        with pytest.raises(UsageError, match="is running in another process"), WorkDirectory("r1").held(_ONE):
            pytest.fail("it must not be entered")
        assert contents(path) == before


def test_what_could_not_go_on_leaves_readings_and_nothing_else() -> None:
    path = interrupted()
    resumed, fresh = WorkDirectory("r1"), WorkDirectory(None)
    for work in (resumed, fresh):
        with work.held(_ONE):
            work.leave()
    assert (path / READINGS).is_file()
    assert not fresh.path.exists()


@pytest.mark.parametrize("uri", ["sqlite:////nowhere/at/all.db", "ftp://what", "{tmp}/file"])
def test_a_wrong_address_leaves_everything(uri: str, tmp_path: Path) -> None:
    path = interrupted()
    before = (path / READINGS).read_bytes()
    uri = uri.format(tmp=tmp_path)
    said = registry_audit("audit", "--tracking-uri", uri, "--audit-id", "r1", "--ledger", "none", "--quiet")
    assert said.exit_status != 0
    assert (path / READINGS).read_bytes() == before
    assert (path / "registry").read_text(encoding="utf-8") == _ONE


def test_what_nobody_takes_up_any_more_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    old, young, living = (interrupted(audit_id) for audit_id in ("old", "young", "living"))
    two_days_ago = time.time() - 2 * 86_400
    for directory in (old, living):
        for path in (*directory.iterdir(), directory):
            os.utime(path, (two_days_ago, two_days_ago))
    with (living / "running").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with WorkDirectory("another").held(_ONE):
            assert [directory.exists() for directory in (old, young, living)] == [False, True, True]


def test_what_was_not_written_whole_is_no_other_registry(cache: Path) -> None:
    """As on a disk that is full: what was read can be resumed all the same."""
    work = WorkDirectory("r1")
    with work.held(_ONE):
        (work.path / f"registry.{os.getpid()}").mkdir()
        work.belongs_to(_ONE)
        (work.path / READINGS).write_text("read\n", encoding="ascii")
    with WorkDirectory("r1").held(_ONE):
        assert (work.path / READINGS).read_text(encoding="ascii") == "read\n"


def test_a_registry_that_cannot_be_read_is_refused() -> None:
    path = interrupted()
    (path / "registry").write_bytes(b"\xff")
    before = contents(path)
    with pytest.raises(UsageError, match="does not say which registry"), WorkDirectory("r1").held(_ONE):
        pytest.fail("it must not be entered")
    assert contents(path) == before


@pytest.mark.timeout(10)
def test_no_named_pipe_is_waited_for(cache: Path) -> None:
    """Neither in this audit's directory nor in an old one's, and it keeps no other old one."""
    here, registry, old, other = (interrupted(audit_id) for audit_id in ("here", "registry", "old", "zz"))
    for file in (here / "running", registry / "registry", old / "running"):
        file.unlink()
        os.mkfifo(file)
    os.mkfifo(cache / "audits" / "pipe")
    two_days_ago = time.time() - 2 * 86_400
    for path in (old, other, *old.iterdir(), *other.iterdir(), cache / "audits" / "pipe"):
        os.utime(path, (two_days_ago, two_days_ago))
    with pytest.raises(UsageError, match="not writable"), WorkDirectory("here").held(_ONE):
        pytest.fail("it must not be entered")
    with WorkDirectory("registry").held(_ONE):
        assert not other.exists()
