"""Only what an audit wrote is removed from the place of results, which is also a usual name of other directories."""

import os
import time
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr

from tasks.result_storage import SignedResults

_NAME = f"compare-{'0123456789' * 4}"
_RECORD = b'{"metadata": {}}'


def results_in(place: Path | str) -> SignedResults:
    return SignedResults(basepath=str(place), key=SecretStr("k" * 32))


def aged(directory: Path) -> None:
    two_days_ago = time.time() - 2 * 86_400
    for path in directory.rglob("*"):
        os.utime(path, (two_days_ago, two_days_ago), follow_symlinks=False)


@pytest.mark.parametrize("is_swept", [True, False], ids=["swept", "forgotten"])
def test_files_of_others_stay(tmp_path: Path, is_swept: bool) -> None:
    place = tmp_path / "registry-audit"
    theirs = {
        "ledger.db": b"baselines",
        "results.key": b"key",
        "reports/audit.json": b"{}",
        f"reports/{_NAME}": b"the report of a commit",
        f"reports/more/{_NAME}": b"0" * 64 + b"\n{",
        "reports/compare-0123": b"0" * 64 + b"\n{",
        _NAME: b"0" * 64 + b"\n{",
    }
    results = results_in(tmp_path)
    results.write_path(f"registry-audit/reports/{_NAME[:-1]}a", _RECORD)
    for name, content in theirs.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    (tmp_path / "record").write_bytes(b"0" * 64 + b"\n{")
    (place / "reports" / f"{_NAME[:-1]}b").symlink_to(tmp_path / "record")
    aged(tmp_path)
    results.sweep() if is_swept else results.forget("reports")
    found = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    assert found.pop(f"reports/{_NAME[:-1]}b").is_symlink()
    assert {name: path.read_bytes() for name, path in found.items()} == theirs


def test_what_is_old_is_swept(tmp_path: Path) -> None:
    results, place = results_in(tmp_path), tmp_path / "registry-audit"
    for name in (_NAME, f"resolve-version-{'a' * 40}"):
        results.write_path(f"registry-audit/old/{name}", _RECORD)
    (place / "old" / f".{'0' * 16}").touch()  # a draft of a process that was killed
    os.mkfifo(place / "old" / f"compare-{'f' * 40}")
    aged(place)
    results.write_path(f"registry-audit/young/{_NAME}", _RECORD)
    results.sweep()
    assert [path.name for path in (place / "old").iterdir()] == [f"compare-{'f' * 40}"]
    assert (place / "young" / _NAME).is_file()
    (place / "old" / f"compare-{'f' * 40}").unlink()
    results.write_path(f"registry-audit/old/{_NAME}", _RECORD)
    aged(place / "old")
    results.sweep()
    assert not (place / "old").exists()


def test_what_an_audit_kept_is_forgotten_in_a_bucket_too() -> None:
    results, bucket = results_in("memory://bucket"), MemoryFileSystem()
    try:
        for audit_id in ("r1", "r2"):
            results.write_path(f"registry-audit/{audit_id}/{_NAME}", _RECORD)
        bucket.pipe_file("/bucket/registry-audit/r1/notes.txt", b"mine")
        results.forget("r1")
        found = bucket.find("/bucket")
        assert found == ["/bucket/registry-audit/r1/notes.txt", f"/bucket/registry-audit/r2/{_NAME}"]
    finally:
        bucket.rm("/bucket", recursive=True)
