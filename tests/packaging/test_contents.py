"""The wheel holds the library, all of it and nothing else; neither archive tells where it was built."""

import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist())
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            if member.isfile() and (handle := sdist.extractfile(member)) is not None:
                yield member.name, handle.read()


def test_the_wheel_is_the_library_as_git_knows_it(built) -> None:
    listed = subprocess.run(
        # Also what is new and not added yet: a developer's next commit.
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "registry_audit"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    library = {name for name in listed.split("\0") if name and (CHECKOUT / name).is_file()}
    dist_info = f"{'-'.join(built.wheel.name.split('-')[:2])}.dist-info"
    assert names(built.wheel) == library | {f"{dist_info}/{name}" for name in DIST_INFO}
    assert {name.partition("/")[0] for name in names(built.wheel)} == {"registry_audit", dist_info}


def test_the_report_has_its_template_style_and_script(built) -> None:
    templates = {name.rpartition("/")[2] for name in names(built.wheel) if "/report/templates/" in name}
    assert {"audit.html.j2", "audit.css", "audit.js", "shared.js", "migration.html.j2", "migration.js"} <= templates


def test_the_wheel_brings_three_programs(built) -> None:
    ((_, text),) = [(name, data) for name, data in contents(built.wheel) if name.endswith("entry_points.txt")]
    scripts = [line.split(" = ") for line in text.decode().splitlines() if " = " in line]
    assert sorted(name for name, _ in scripts) == ["check-model-version", "compare-model-versions", "registry-audit"]
    for name, value in scripts:
        assert callable(EntryPoint(name, value, "console_scripts").load())


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_path_of_the_building_machine(built, kind: str) -> None:
    archive = getattr(built, kind)
    places = [str(CHECKOUT).encode(), str(archive.parent).encode()]
    assert [name for name, data in contents(archive) for place in places if place in data] == []


def test_the_sdist_carries_no_environment_and_no_cache(built) -> None:
    top = {name.split("/")[1] for name, _ in contents(built.sdist)}
    assert {"registry_audit", "tests", "pyproject.toml", "requirements.lock", "LICENSE"} <= top
    assert (
        top & {".venv", ".git", ".demo", ".hypothesis", ".fuzz", ".mypy_cache", ".pytest_cache", ".ruff_cache"} == set()
    )
