"""The unit tests mirror the tree, and no module does what no linter notices."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
ROOMS = ("registry_audit", "tasks", "flows", "deployments")
FILES = sorted(file for file in HERE.rglob("test_*.py") if file != Path(__file__))
MODULES = [file for room in ROOMS for file in sorted((CHECKOUT / room).rglob("*.py"))]
# Such a docstring is a part of a sentence, which `help()` and an IDE show without the line that would complete it.
FRAGMENT = re.compile(r"(As|How|None|Of|The same|Those|What|Where|Whether|Which|Who|Whoever)\b")


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
    for file in MODULES:
        module = ast.parse(file.read_text(encoding="utf-8"))
        for scope in (module, *(node for node in ast.walk(module) if isinstance(node, ast.ClassDef))):
            twice = [name for name, count in Counter(_constants(scope.body)).items() if count > 1]
            assert not twice, f"{file.relative_to(CHECKOUT)}: {twice}"


def test_no_docstring_begins_in_the_middle_of_a_sentence() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    count = 0
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            count += text is not None
            assert not FRAGMENT.match(text or ""), f"{file.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 1)}: {text}"
    assert count > 1_000, count
