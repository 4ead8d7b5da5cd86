from pathlib import Path

import pytest

from registry_audit.errors import UsageError
from registry_audit.pulling.place import place_for


@pytest.mark.timeout(10)
@pytest.mark.parametrize("output", ["/proc/output", "/dev/fd/output", "nul\0byte"])
def test_where_nothing_can_be_made_that_is_said(output: str) -> None:
    """In some file systems of the kernel a new directory fails as if its parent were missing, each time anew."""
    with pytest.raises(UsageError, match="--output"), place_for(Path(output)):
        pass
