"""A file that a user names is written whole, and takes the place of nothing but an older one of its kind."""

import contextlib
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from registry_audit.errors import UsageError
from registry_audit.evidence.pack import must_take_pack
from registry_audit.model.mlmodel import MLMODEL
from registry_audit.report.output_file import must_take_file, written_whole
from registry_audit.report.write import write_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    with pytest.raises(RuntimeError), written_whole(file) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert file.read_text() == "old"
    write_whole(file, ["n", "ew"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert file.read_text() == "new"


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """Root, as in most containers, could put a file in its place. Here a link to it would be replaced by the fault."""
    nothing = tmp_path / "nothing"
    nothing.symlink_to(os.devnull)
    must_take_file(nothing, "--report-file")
    write_whole(nothing, "{}")
    assert nothing.is_symlink()
    assert stat.S_ISCHR(nothing.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["nothing"]


@pytest.mark.parametrize("file", [Path(os.devnull), Path("/dev/fd/1"), Path("/proc/self/fd/1")], ids=str)
def test_nothing_new_takes_a_name_of_the_system(file: Path) -> None:
    if not os.access(file, os.W_OK):
        pytest.skip(f"{file} cannot be written here")
    must_take_file(file, "--report-file")
    with written_whole(file) as draft:
        assert draft == file


def test_who_reads_a_pipe_gets_the_report(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    must_take_file(pipe, "--report-file")  # nor does this wait for anybody
    write_whole(pipe, "{}")
    reader.join(60)
    assert got == ["{}"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_database_is_not_replaced(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = database.read_bytes()
    for write in (write_whole, must_take_file):
        with pytest.raises(UsageError, match="is a database"):
            write(database, "{}")
    with pytest.raises(UsageError, match="is a database"):
        must_take_pack(database)
    assert database.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x05\x06" + bytes(18)], ids=["empty", "json", "zip"])
def test_a_pack_replaces_nothing_but_a_pack(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "audit.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="is no evidence pack, and is not replaced"):
        must_take_pack(file)
    must_take_pack(tmp_path / "new.zip")


def test_nothing_is_written_into_a_model(tmp_path: Path) -> None:
    (tmp_path / MLMODEL).touch()
    with pytest.raises(UsageError, match="is in a model"):
        must_take_file(tmp_path / "report.json", "--report-file")
    with pytest.raises(UsageError, match="is in a model"):
        must_take_pack(tmp_path / "model.pkl")
    assert [path.name for path in tmp_path.iterdir()] == [MLMODEL]


@pytest.mark.parametrize(("name", "says"), [(".", "is a directory"), ("no/report.json", "there is no directory")])
def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"^--report-file .*{says}"):
        must_take_file(tmp_path / name, "--report-file")
