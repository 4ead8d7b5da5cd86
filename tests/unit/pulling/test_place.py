import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_audit.errors import CouldNotVerify, UsageError
from registry_audit.model.manifest import ManifestEntry
from registry_audit.pulling.place import Place, place_for


@pytest.mark.timeout(10)
@pytest.mark.parametrize("output", ["/proc/output", "/dev/fd/output", "nul\0byte"])
def test_where_nothing_can_be_made_that_is_said(output: str) -> None:
    """In some file systems of the kernel a new directory fails as if its parent were missing, each time anew."""
    with pytest.raises(UsageError, match="cannot be"), place_for(Path(output)):
        pass


def test_the_directory_is_named_as_python_names_it_too(tmp_path: Path) -> None:
    """`ra.pull` says the same sentences, and has no options that begin with dashes."""
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "model.pkl").touch()
    file.touch()
    for output, says in ((full, "is not empty: name an empty directory"), (file, "is a file: name a directory")):
        with pytest.raises(UsageError) as refused, place_for(output):
            pass
        assert refused.value.message.startswith(f"{output} {says}")


def test_the_current_directory_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands in it would look into the empty one that was there before."""
    monkeypatch.chdir(tmp_path)
    for output in (Path(), tmp_path):
        with pytest.raises(UsageError, match="is the current directory"), place_for(output):
            pass
    assert list(tmp_path.iterdir()) == []
    with place_for(Path("model")) as place:
        place.publish([])
    assert (tmp_path / "model").is_dir()


def test_why_the_files_cannot_be_put_there(tmp_path: Path) -> None:
    full, files = tmp_path / "full", tmp_path / "files"
    (full / "mine").mkdir(parents=True)
    files.mkdir()
    with pytest.raises(UsageError, match="was filled by somebody else meanwhile"):
        Place(full, files).publish([])
    # No directory takes the place of one that something is mounted on.
    with pytest.raises(CouldNotVerify, match=r"cannot be kept in /: [A-Z]"):
        Place(Path("/"), files).publish([])


@pytest.mark.parametrize("refused", [stat.S_ISDIR, stat.S_ISREG])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_file_system_that_cannot_flush_and_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, refused: Callable[[int], bool]
) -> None:
    """Some flush no directory, or nothing on request; where the disk fails, nothing is known to be kept."""

    def fsync(descriptor: int) -> None:
        if refused(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    output = tmp_path / "output"
    with place_for(output) as place:
        (place.files / "model.pkl").write_bytes(b"weights")
        entries = [ManifestEntry("model.pkl", 7, f"sha256:{'0' * 64}")]
        if number == errno.EIO:
            with pytest.raises(CouldNotVerify, match="cannot be kept"):
                place.publish(entries)
        else:
            place.publish(entries)
    assert output.exists() == (number == errno.EINVAL)
    assert set(tmp_path.iterdir()) <= {output}


def test_a_file_system_that_replaces_no_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(path: Path, target: Path) -> None:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(path), None, str(target))

    monkeypatch.setattr(Path, "rename", rename)
    refused = pytest.raises(UsageError, match="does not replace an empty directory")
    with refused, place_for(tmp_path / "output") as place:
        place.output.mkdir()
        place.publish([])
