from pathlib import Path

import pytest

from registry_audit.errors import UsageError
from registry_audit.pulling.place import place_for


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
