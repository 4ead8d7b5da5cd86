"""The unit tests mirror the tree: a file of theirs is named for the module that it tests, and stands in its room."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
FILES = sorted(file for file in HERE.rglob("test_*.py") if file != Path(__file__))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HERE)))
def test_a_file_is_named_for_its_module_and_perhaps_for_what_of_it(file: Path) -> None:
    room = file.parent.relative_to(HERE)
    folder = next(found for found in (CHECKOUT / "registry_audit" / room, CHECKOUT / room) if found.is_dir())
    name = file.stem.removeprefix("test_")
    assert any(f"{name}_".startswith(f"{module.stem}_") for module in folder.glob("*.py")), (
        f"no such module in {folder}"
    )
