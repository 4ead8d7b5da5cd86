"""What the product's source must not do, and no linter says."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PRODUCT = Path(__file__).parents[2]
ROOMS = ("registry_audit", "tasks", "flows", "deployments")


def _constants(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else ()
        if isinstance(statement, ast.AnnAssign):
            targets = (statement.target,)
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def test_no_module_or_class_gives_two_values_to_one_name() -> None:
    """The later value would hold everywhere in it, also where the earlier one was meant."""
    files = [file for room in ROOMS for file in sorted((PRODUCT / room).rglob("*.py"))]
    assert len(files) > 100
    for file in files:
        module = ast.parse(file.read_text(encoding="utf-8"))
        for scope in (module, *(node for node in ast.walk(module) if isinstance(node, ast.ClassDef))):
            twice = [name for name, count in Counter(_constants(scope.body)).items() if count > 1]
            assert not twice, f"{file.relative_to(PRODUCT)}: {twice}"
