"""requirements.lock: packages and hashes; no host, no path; and what pyproject.toml allows."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).parents[2]
LOCK = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")

PACKAGE = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*(\[[a-z0-9,-]+\])?)==(?P<version>[^ ;\\]+)( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def locked() -> dict[str, list[Version]]:
    """Every version of each package: markers choose between several."""
    found: dict[str, list[Version]] = defaultdict(list)
    for line in LOCK.splitlines():
        if match := PACKAGE.fullmatch(line):
            found[canonicalize_name(match["name"].partition("[")[0])].append(Version(match["version"]))
    return found


def asked_for() -> list[Requirement]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
        project["build-system"]["requires"],
    ]
    found = [Requirement(text) for group in groups for text in group]
    return [
        requirement for requirement in found if requirement.name != project["project"]["name"]
    ]  # an extra of an extra


def test_each_line_is_a_package_a_hash_or_a_comment() -> None:
    odd = [
        line
        for line in LOCK.splitlines()
        if not line.lstrip().startswith("#") and not PACKAGE.fullmatch(line) and not HASH.fullmatch(line)
    ]
    assert odd == []


def test_each_package_has_a_hash() -> None:
    lines = [line for line in LOCK.splitlines() if not line.lstrip().startswith("#")]
    packages = [at for at, line in enumerate(lines) if PACKAGE.fullmatch(line)]
    assert [lines[at] for at in packages if not HASH.fullmatch(lines[at + 1])] == []
    assert len(locked()) > 100


@pytest.mark.parametrize(
    "leak", ["http://", "https://", "file:", "find-links", "--index", "--extra-index", "trusted-host", "git+", " @ "]
)
def test_it_names_no_host_and_no_path(leak: str) -> None:
    assert [line for line in LOCK.splitlines() if leak in line] == []


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_it_satisfies_what_pyproject_asks_for(requirement: Requirement) -> None:
    versions = locked()[canonicalize_name(requirement.name)]
    assert versions, f"{requirement.name} is not locked: make lock"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)
