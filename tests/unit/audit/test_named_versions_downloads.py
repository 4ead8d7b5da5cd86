"""A download replaces only what an earlier download made."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry_audit.audit.copies import Role
from registry_audit.audit.named_versions import empty_download_dir, kept_path, prepare_download_dir
from registry_audit.errors import UsageError
from registry_audit.registry.resolve import Location, ResolvedVersion
from registry_audit.registry.runs import RunState
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.version import RegisteredVersion
from registry_audit.verdict import Storage

_MARKER = ".registry-audit-downloads"
_SESSION: Any = SimpleNamespace(connection=SimpleNamespace(copies_models=True))  # no version uses its source


def version(role: str = "here") -> ResolvedVersion:
    root = f"s3://bucket/{role}/model"
    location = Location(root, (root,), (StorageIdentity("s3", "", "bucket", f"{role}/model"),))
    described = RegisteredVersion("Wine", "1", "READY", None, (), None, root)
    return ResolvedVersion(described, location, location, Storage.SHARED, RunState.NONE)


def download(directory: Path, *versions: ResolvedVersion, roles: tuple[Role, ...] = tuple(Role)) -> list[Path]:
    """Do as a command does, and put a file into each copy."""
    versions = versions or (version(),)
    prepare_download_dir(directory)
    empty_download_dir(directory, (_SESSION,), *versions, roles=roles)
    files = []
    for n, each in enumerate(versions, 1):
        for role in roles:
            place = kept_path(directory, role, each, f"server_{n}" if len(versions) > 1 else "")
            assert place is not None
            assert list(place.iterdir()) == []
            (place / "MLmodel").write_text("flavors: {}")
            files.append(place / "MLmodel")
    return files


def found(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_downloads_replace_each_other(tmp_path: Path) -> None:
    of_two = download(tmp_path / "kept", version(), version("there"))
    assert download(tmp_path / "kept") == download(tmp_path / "kept")
    assert not any(file.exists() for file in of_two)
    (file,) = download(tmp_path / "kept", roles=(Role.REG_MODEL,))
    assert found(tmp_path / "kept") == [_MARKER, "reg_model", "reg_model/model", "reg_model/model/MLmodel"]
    assert download(tmp_path / "kept", version(), version("there"), roles=(Role.RUN_MODEL,))
    assert not file.exists()


def test_a_download_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    (tmp_path / _MARKER).touch()
    (tmp_path / "run_model" / "old").mkdir(parents=True)
    download(tmp_path)
    assert not (tmp_path / "run_model" / "old").exists()


def test_a_copy_that_is_lost_makes_no_directory(tmp_path: Path) -> None:
    described = version()
    lost = ResolvedVersion(
        described.version, Location("runs:/gone/model"), described.reg_model, Storage.UNKNOWN, RunState.NONE
    )
    empty_download_dir(tmp_path, (_SESSION,), lost)
    assert found(tmp_path) == [_MARKER, "reg_model", "reg_model/model"]


def _made_anew(directory: Path) -> None:
    shutil.rmtree(directory / "run_model")
    (directory / "run_model" / "model").mkdir(parents=True)  # perhaps with the inode of the earlier one
    os.utime(directory / "run_model", ns=(1, 1))


def _put_beside_the_model(directory: Path) -> None:
    (directory / "run_model" / "own.txt").write_text("own")
    os.utime(directory / "run_model", ns=(1, 1))


def _a_link(directory: Path) -> None:
    (directory / "run_model").rename(directory / "elsewhere")
    (directory / "run_model").symlink_to(directory / "elsewhere")


def _a_dangling_link(directory: Path) -> None:
    shutil.rmtree(directory / "run_model")
    (directory / "run_model").symlink_to(directory / "nowhere")


def _a_file(directory: Path) -> None:
    shutil.rmtree(directory / "run_model")
    (directory / "run_model").write_text("own")


def _a_link_as_marker(directory: Path) -> None:
    (directory / _MARKER).rename(directory / "marker")
    (directory / _MARKER).symlink_to(directory / "marker")


def _a_dangling_link_as_marker(directory: Path) -> None:
    (directory / _MARKER).unlink()
    (directory / _MARKER).symlink_to(directory / "nowhere")


def _no_marker(directory: Path) -> None:
    (directory / _MARKER).unlink()


def _another_marker(directory: Path) -> None:
    (directory / _MARKER).write_text("[1]")


def _a_pipe_as_marker(directory: Path) -> None:
    (directory / _MARKER).unlink()
    os.mkfifo(directory / _MARKER)


@pytest.mark.parametrize(
    "change",
    [
        _made_anew,
        _put_beside_the_model,
        _a_link,
        _a_dangling_link,
        _a_file,
        _a_link_as_marker,
        _a_dangling_link_as_marker,
        _no_marker,
        _another_marker,
        _a_pipe_as_marker,
    ],
)
def test_what_no_download_made_stays(tmp_path: Path, change: Callable[[Path], None]) -> None:
    download(tmp_path)
    change(tmp_path)
    before = found(tmp_path)
    with pytest.raises(UsageError, match="was not made by an earlier download, or was changed since"):
        prepare_download_dir(tmp_path)
    with pytest.raises(UsageError, match="was not made by an earlier download"):  # put there after the first look
        empty_download_dir(tmp_path, (_SESSION,), version())
    assert found(tmp_path) == before


def test_a_link_does_not_become_an_earlier_versions_download(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / _MARKER).touch()
    (tmp_path / "kept" / "run_model").symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="run_model was not made by an earlier download"):
        prepare_download_dir(tmp_path / "kept")
