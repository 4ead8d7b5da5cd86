"""MLflow's file store is listed from its directories: what is damaged there is in no listing of MLflow's."""

import os
from pathlib import Path

import pytest
import yaml

from registry_audit.errors import CouldNotVerify
from registry_audit.migration.filestore import unlisted_versions


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name, numbers in (("Wine", (1, 2, 3)), ("Beer", (1,))):
        for number in numbers:
            version = tmp_path / "models" / name / f"version-{number}"
            version.mkdir(parents=True)
            _write(version / "meta.yaml", {"name": name, "version": number, "current_stage": "None"})
        _write(tmp_path / "models" / name / "meta.yaml", {"name": name})
    return tmp_path


def _write(file: Path, fields: dict[str, object]) -> None:
    file.write_text(yaml.safe_dump(fields), encoding="utf-8")


LISTED = {("Wine", "1"), ("Wine", "2"), ("Wine", "3"), ("Beer", "1")}


def test_nothing_is_said_of_what_mlflow_lists(store: Path) -> None:
    assert list(unlisted_versions(store, LISTED)) == []
    assert list(unlisted_versions(store / "absent", LISTED)) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "version-2/meta.yaml is missing"),
        (b"{", "version-2/meta.yaml is not valid YAML at line 2"),
        (b"\x80", "version-2/meta.yaml is not valid YAML"),
        (b"", "version-2/meta.yaml is empty or no mapping"),
        (b"[" * 20_000, "version-2/meta.yaml is not valid YAML"),
    ],
)
def test_a_damaged_version_is_named_with_its_damage(store: Path, content: bytes | None, why: str) -> None:
    meta = store / "models" / "Wine" / "version-2" / "meta.yaml"
    meta.unlink()
    if content is not None:
        meta.write_bytes(content)
    (found,) = unlisted_versions(store, LISTED - {("Wine", "2")})
    assert (found.name, found.version) == ("Wine", "2")
    assert found.reason == f"MLflow does not list it: its directory is in the file store, but {why}"


def test_a_model_without_its_own_file_loses_every_version(store: Path) -> None:
    (store / "models" / "Wine" / "meta.yaml").unlink()
    found = list(unlisted_versions(store, {("Beer", "1")}))
    assert [one.version for one in found] == ["1", "2", "3"]
    assert all("Wine/meta.yaml is missing" in one.reason for one in found)


@pytest.mark.parametrize("left", ["link", "file"])
def test_a_version_without_its_directory_is_named(store: Path, left: str) -> None:
    """Its files were on a disk that is no longer there, say."""
    version = store / "models" / "Wine" / "version-4"
    if left == "link":
        version.symlink_to(store / "nowhere")
    else:
        version.write_text("")
    (found,) = unlisted_versions(store, LISTED)
    assert (found.version, "version-4/meta.yaml" in found.reason) == ("4", True)


def test_what_is_unlisted_without_any_damage_is_said_too(store: Path) -> None:
    (found,) = unlisted_versions(store, LISTED - {("Beer", "1")})
    assert found.reason == "MLflow does not list it: its directory is in the file store"


def test_deleted_versions_prompts_and_other_directories_are_no_versions(store: Path) -> None:
    wine = store / "models" / "Wine"
    _write(wine / "version-3" / "meta.yaml", {"current_stage": "Deleted_Internal"})
    for other in ("version-x", "version", "versions-4", "tags", "version-²"):
        (wine / other).mkdir()
    assert list(unlisted_versions(store, LISTED - {("Wine", "3")})) == []


def test_prompts_are_no_versions(store: Path) -> None:
    beer = store / "models" / "Beer" / "version-1"
    unlisted = LISTED - {("Beer", "1")}
    assert list(unlisted_versions(store, unlisted, {"Beer"})) == []
    (beer / "tags").mkdir()
    (beer / "tags" / "mlflow.prompt.text").write_text("Hello")
    assert [one.name for one in unlisted_versions(store, unlisted)] == ["Beer"]  # a tag alone hides nothing
    _write(beer / "meta.yaml", {"name": "Beer", "version": 1, "source": "dummy-source"})
    assert list(unlisted_versions(store, unlisted)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_ends_the_comparison(store: Path) -> None:
    (store / "models" / "Wine").chmod(0)
    with pytest.raises(Exception, match="cannot be read: Permission denied"):
        list(unlisted_versions(store, LISTED))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter everything")
def test_a_directory_that_cannot_be_entered_ends_the_comparison(store: Path) -> None:
    (store / "models").chmod(0o400)
    with pytest.raises(CouldNotVerify, match="cannot be read: Permission denied"):
        list(unlisted_versions(store, LISTED))
    (store / "models").chmod(0o700)
