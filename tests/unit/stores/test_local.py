"""A hostile directory neither hangs the audit nor leads it out of the model."""

import os
import random
import sys
from pathlib import Path

import pytest

from registry_audit.errors import CouldNotVerify
from registry_audit.model.listing import Limits, ListedFile, Listing
from registry_audit.net.transfers import ReadBuffer
from registry_audit.stores.base import NotSeen, Unreadable
from registry_audit.stores.local import LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "model" / "data").mkdir(parents=True)
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}")
    (tmp_path / "model" / "data" / "x.bin").write_bytes(b"x" * 10)
    (tmp_path / "secret").write_text("not yours")
    return tmp_path / "model"


def listing(root: Path, limits: Limits | None = None) -> Listing:
    return LocalStore(root).listing(limits or Limits())


@pytest.fixture(params=[None, ReadBuffer], ids=["as it is", "memory used again"], autouse=True)
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is read in both ways."""
    read = LocalStore.read
    monkeypatch.setattr(LocalStore, "read", lambda self, file: read(self, file, request.param and request.param()))


def content(root: Path, file: ListedFile) -> bytes:
    return b"".join(map(bytes, LocalStore(root).read(file)))


@pytest.mark.parametrize("size", [0, 1, 511 << 10, 512 << 10, (512 << 10) + 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_a_file_is_read_to_its_last_byte_and_no_further(root: Path, size: int) -> None:
    whole = random.Random(size).randbytes(size)
    (root / "data" / "x.bin").write_bytes(whole)
    assert content(root, listing(root).files[1]) == whole


def test_every_file_with_its_size_in_posix_paths(root: Path) -> None:
    assert [(file.path, file.size) for file in listing(root).files] == [("MLmodel", 11), ("data/x.bin", 10)]


def test_a_young_file_does_not_tell_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within one tick of the clock have one change time."""
    monkeypatch.setattr("registry_audit.stores.local._YOUNG_NS", 3600 * 10**9)
    assert not listing(root).tells_changes
    monkeypatch.setattr("registry_audit.stores.local._YOUNG_NS", -3600 * 10**9)
    assert listing(root).tells_changes


def test_a_root_that_is_gone_or_a_file_lists_as_empty(root: Path) -> None:
    assert listing(root / "nope").files == ()
    assert listing(root / "MLmodel").files == ()


RUN = "3dced78e4c0d4a7f9b1f4a5d6c7b8a90"


@pytest.mark.parametrize(
    ("missing", "there"),
    [
        (f"store/1/{RUN}/artifacts/model", "store/1"),
        (f"store/1/models/m-{RUN}/artifacts", "store/1"),
        ("models/churn", "models/other"),
    ],
)
def test_gone_is_what_is_missing_from_a_place_that_is_there(tmp_path: Path, missing: str, there: str) -> None:
    (tmp_path / there).mkdir(parents=True)
    assert listing(tmp_path / missing).files == ()


@pytest.mark.parametrize(
    "missing",
    [
        f"/no-such-mount/1/{RUN}/artifacts/model",
        f"/srv/no-such-store/1/{RUN}/artifacts/model",
        f"/srv/no-such-store/1/models/m-{RUN}/artifacts",
        "/no-such-model",
        "/tmp/no-such-model-of-anybody",
    ],
)
def test_a_place_that_is_not_seen_is_not_called_empty(missing: str) -> None:
    with pytest.raises(NotSeen, match="not on this machine"):
        listing(Path(missing))


def test_an_empty_directory_is_perhaps_a_mount_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    missing = tmp_path / "mount" / "churn"
    with pytest.raises(NotSeen):
        listing(missing)
    recorded = LocalStore(missing, lambda: [str(tmp_path / "mount")])
    assert recorded.listing(Limits()).files == ()


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("../secret", "leaves the model"),
        ("/etc/hostname", "leaves the model"),
        ("nowhere", "to nothing"),
        ("link", "to itself"),
        (".", "holds it"),
        ("data/..", "holds it"),
    ],
)
def test_symlinks_that_leave_or_loop_are_refused(root: Path, target: str, why: str) -> None:
    (root / "link").symlink_to(target)
    found = listing(root)
    assert [file.path for file in found.files] == ["MLmodel", "data/x.bin"]
    assert found.unsafe == ("link",)
    assert (found.problems[0].rule, found.problems[0].blocks) == ("RA013", True)
    assert why in found.problems[0].message


def test_a_symlink_deeper_down_cannot_loop_either(root: Path) -> None:
    (root / "data" / "up").symlink_to("..")
    assert listing(root).unsafe == ("data/up",)


def test_symlinks_inside_the_model_are_read_through(root: Path) -> None:
    (root / "same").symlink_to("MLmodel")
    (root / "dir").symlink_to("data")
    files = {file.path: file for file in listing(root).files}
    assert sorted(files) == ["MLmodel", "data/x.bin", "dir/x.bin", "same"]
    assert content(root, files["same"]) == b"flavors: {}"
    assert content(root, files["dir/x.bin"]) == b"x" * 10


def test_special_files_are_named_and_never_opened(root: Path) -> None:
    os.mkfifo(root / "pipe")
    found = listing(root)
    assert found.unsafe == ("pipe",)
    assert "named pipe" in found.problems[0].message


def test_a_fifo_put_in_a_files_place_does_not_hang(root: Path) -> None:
    file = listing(root).files[1]
    (root / file.path).unlink()
    os.mkfifo(root / file.path)
    with pytest.raises(Unreadable) as refused:
        content(root, file)
    assert refused.value.rule == "RA008"


def test_an_overwrite_between_listing_and_reading_is_seen_whatever_its_size_and_time(root: Path) -> None:
    file = listing(root).files[1]
    before = (root / file.path).stat()
    (root / file.path).write_bytes(b"y" * 10)
    os.utime(root / file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Unreadable) as refused:
        content(root, file)
    assert refused.value.rule == "RA008"


@pytest.mark.parametrize("mode", ["ab", "r+b"], ids=["longer", "as long"])
def test_an_overwrite_while_it_is_read_is_seen(root: Path, mode: str) -> None:
    file = listing(root).files[1]
    chunks = LocalStore(root).read(file)
    assert next(chunks) == b"x" * 10
    with (root / file.path).open(mode) as overwritten:
        overwritten.write(b"!")
    with pytest.raises(Unreadable, match="while it was read"):
        list(chunks)


def test_limits_end_a_listing_that_has_no_end(root: Path) -> None:
    with pytest.raises(CouldNotVerify, match="--max-files"):
        listing(root, Limits(max_files=1))
    with pytest.raises(CouldNotVerify, match="--max-bytes"):
        listing(root, Limits(max_bytes=20))
    with pytest.raises(CouldNotVerify, match="--max-depth"):
        listing(root, Limits(max_depth=0))
    with pytest.raises(CouldNotVerify, match="--max-directories"):
        listing(root, Limits(max_directories=1))


def test_symlinks_that_lead_to_each_other_are_counted_as_what_they_list(root: Path) -> None:
    """Eighty symlinks that stay inside the model list 2^40 directories."""
    for level in range(41):
        (root / f"level{level}").mkdir()
    for level in range(40):
        for name in ("a", "b"):
            (root / f"level{level}" / name).symlink_to(f"../level{level + 1}")
    with pytest.raises(CouldNotVerify, match="--max-directories"):
        listing(root, Limits(max_directories=1_000))


def test_any_depth_that_the_limits_allow_can_be_listed(root: Path) -> None:
    """Deeper than Python calls functions in each other."""
    directories = ["/".join("d" * count) for count in range(1, sys.getrecursionlimit() + 200)]
    for directory in directories:
        (root / directory).mkdir()
    try:
        assert listing(root, Limits(max_depth=len(directories))).empty_directories == (directories[-1],)
    finally:
        for directory in reversed(directories):  # pytest's own tidying up does not go so deep
            (root / directory).rmdir()


def test_names_that_are_not_text_are_carried_exactly(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/bad\xff")).write_bytes(b"raw")
    files = {file.path: file for file in listing(root).files}
    assert content(root, files["bad\udcff"]) == b"raw"


def test_empty_directories_are_known(root: Path) -> None:
    (root / "hollow").mkdir()
    assert listing(root).empty_directories == ("hollow",)
