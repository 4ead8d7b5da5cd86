from pathlib import Path

import pytest

from registry_audit.errors import CouldNotVerify, UsageError
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
