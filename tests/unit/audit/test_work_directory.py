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
    with pytest.raises(UsageError, match="was not made by an audit"), WorkDirectory("here").held(_ONE):
        pytest.fail("it must not be entered")
    with WorkDirectory("registry").held(_ONE):
        assert not other.exists()


_SIGNED = f"{'0' * 64} {'1' * 64} []\n"


def made(directory: Path, files: dict[str, str]) -> Path:
    """A directory of two days ago."""
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content, encoding="ascii")
    aged(directory)
    return directory


def aged(directory: Path) -> None:
    two_days_ago = time.time() - 2 * 86_400
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (two_days_ago, two_days_ago))


FOREIGN = {
    "reports": {"audit.json": "{}", "evidence.zip": "precious"},
    "measured": {"readings.jsonl": '{"temperature": 20}\n'},
    "a name of ours": {"source/report.txt": "mine"},
    "names of ours": {"registry": "mine", "prefect-run": "mine"},
    "a full lock": {"running": "pid 7\n"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_no_audit_made_is_neither_swept_nor_entered(cache: Path, files: dict[str, str]) -> None:
    theirs = made(cache / "audits" / "2026-01", files)
    with WorkDirectory("another").held(_ONE):
        pass
    registry = files.get("registry", _ONE)
    with pytest.raises(UsageError, match="was not made by an audit"), WorkDirectory("2026-01").held(registry):
        pytest.fail("it must not be entered")
    found = {str(path.relative_to(theirs)): path.read_text() for path in theirs.rglob("*") if path.is_file()}
    assert found == files


def test_an_empty_directory_of_others_stays_and_can_be_used(cache: Path) -> None:
    theirs, killed = cache / "audits" / "theirs", cache / "audits" / "killed"
    theirs.mkdir(parents=True, mode=0o755)
    aged(theirs)
    killed.mkdir(mode=0o700)
    aged(killed)
    with WorkDirectory("another").held(_ONE):
        assert (theirs.is_dir(), killed.exists()) == (True, False)
    with WorkDirectory("theirs").held(_ONE):
        pass


def test_a_link_is_neither_swept_nor_entered(cache: Path, tmp_path: Path) -> None:
    model = made(tmp_path / "model", {"MLmodel": "flavors: {}"})
    (empty := tmp_path / "empty").mkdir(mode=0o700)
    left = interrupted("left").rename(tmp_path / "left")
    for target in (model, empty, left):
        aged(target)
        (cache / "audits" / f"link-{target.name}").symlink_to(target)
    before = sorted(tmp_path.glob("[elm]*/*"))
    with WorkDirectory("another").held(_ONE):
        pass
    for target in (model, empty, left):
        work = WorkDirectory(f"link-{target.name}")
        with pytest.raises(UsageError, match="was not made by an audit"), work.held(_ONE):
            pytest.fail("it must not be entered")
        work.remove()
    assert sorted(tmp_path.glob("[elm]*/*")) == before


@pytest.mark.parametrize(
    "files",
    [
        {"running": "", "registry": _ONE, "registry.17": _ONE[:5], "prefect-lease": "x", "prefect-run": "x"},
        {"running": "", "source/readings.jsonl": _SIGNED, "target/readings.jsonl": ""},
        {"readings.jsonl": _SIGNED},  # of a worker on another machine
        {"20260102T030405000006/readings.jsonl": _SIGNED, "0123456789abcdef/readings.jsonl": "\n" + _SIGNED},
    ],
)
def test_all_that_audits_of_any_version_left_is_swept(cache: Path, files: dict[str, str]) -> None:
    ours = made(cache / "audits" / "r1", files)
    with WorkDirectory("another").held(_ONE):
        assert not ours.exists()


@pytest.mark.parametrize("is_swept", [True, False])
def test_what_a_person_put_beside_the_readings_stays(cache: Path, is_swept: bool) -> None:
    path = interrupted()
    theirs = made(path, {"notes.txt": "mine", "source/notes.txt": "mine", "source/readings.jsonl": ""})
    elsewhere = made(cache / "elsewhere", {READINGS: "mine"})
    (path / "target").symlink_to(elsewhere)
    aged(path)
    if is_swept:
        with WorkDirectory("another").held(_ONE):
            pass
    else:
        WorkDirectory("r1").remove()
    left = sorted(str(file.relative_to(path)) for file in theirs.rglob("*"))
    assert left == ["notes.txt", "source", "source/notes.txt", "target"]
    assert (elsewhere / READINGS).read_text(encoding="ascii") == "mine"


def test_a_link_in_place_of_the_lock_is_not_followed(cache: Path, tmp_path: Path) -> None:
    path = interrupted()
    (path / "running").unlink()
    (path / "running").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError), WorkDirectory("r1").held(_ONE):
        pytest.fail("it must not be entered")
    assert not (tmp_path / "elsewhere").exists()
