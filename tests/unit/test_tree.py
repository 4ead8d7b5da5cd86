"""The unit tests mirror the tree, and no module does what no linter notices."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
ROOMS = ("registry_audit", "tasks", "flows", "deployments")
FILES = sorted(file for file in HERE.rglob("test_*.py") if file != Path(__file__))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HERE)))
def test_a_file_is_named_for_its_module_and_perhaps_for_what_of_it(file: Path) -> None:
    room = file.parent.relative_to(HERE)
    folder = next(found for found in (CHECKOUT / "registry_audit" / room, CHECKOUT / room) if found.is_dir())
    name = file.stem.removeprefix("test_")
    assert any(f"{name}_".startswith(f"{module.stem}_") for module in folder.glob("*.py")), (
        f"no such module in {folder}"
    )


def _constants(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else ()
        if isinstance(statement, ast.AnnAssign):
            targets = (statement.target,)
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def test_no_module_or_class_gives_two_values_to_one_name() -> None:
    """The later value would hold everywhere in it, also where the earlier one was meant."""
    files = [file for room in ROOMS for file in sorted((CHECKOUT / room).rglob("*.py"))]
    assert len(files) > 100
    for file in files:
        module = ast.parse(file.read_text(encoding="utf-8"))
        for scope in (module, *(node for node in ast.walk(module) if isinstance(node, ast.ClassDef))):
            twice = [name for name, count in Counter(_constants(scope.body)).items() if count > 1]
            assert not twice, f"{file.relative_to(CHECKOUT)}: {twice}"
