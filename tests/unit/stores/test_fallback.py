"""Several roots read as one keep what each of them says of itself."""

from pathlib import Path

import pytest

from registry_audit.model.listing import Limits, Listing
from registry_audit.registry.storage import StorageIdentity
from registry_audit.stores.fallback import OverlayStore
from registry_audit.stores.local import LocalStore


def overlay(*roots: Path) -> OverlayStore:
    own, logged = map(LocalStore, roots)
    return OverlayStore(own, logged, "model")


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    for name, content in (("run", b"of the run"), ("logged", b"of the model")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLmodel").write_bytes(content)
    (tmp_path / "run" / "extra.txt").write_bytes(b"kept")
    return tmp_path / "run", tmp_path / "logged"


def test_both_are_read_and_neither_is_vouched_for(roots: tuple[Path, Path]) -> None:
    store = overlay(*roots)
    found = store.listing(Limits())
    contents = {file.path: b"".join(store.read(file)) for file in found.files}
    assert contents == {"MLmodel": b"of the run", "extra.txt": b"kept", "model/MLmodel": b"of the model"}
    assert [problem.rule for problem in found.problems] == ["RA015"]


def test_with_one_root_empty_it_is_the_other_storage(roots: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    store = overlay(tmp_path / "empty", roots[1])
    store.listing(Limits())
    assert store.identity == StorageIdentity.of_directory(roots[1])


@pytest.mark.parametrize(("young_ns", "tells"), [(3600 * 10**9, False), (-3600 * 10**9, True)])
def test_a_file_too_young_to_tell_a_change_is_so_in_the_whole(
    roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, young_ns: int, tells: bool
) -> None:
    monkeypatch.setattr("registry_audit.stores.local._YOUNG_NS", young_ns)
    listing: Listing = overlay(*roots).listing(Limits())
    assert listing.tells_changes is tells
