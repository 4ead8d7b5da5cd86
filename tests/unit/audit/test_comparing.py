import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_audit.audit.comparing import Comparison, Kind, across_servers, compare, within_one_registry
from registry_audit.audit.copies import ModelCopy, Reading
from registry_audit.audit.reading import read_pair
from registry_audit.model.listing import Limits
from registry_audit.stores.local import LocalStore

names = st.sampled_from(["MLmodel", "model.pkl", "data/a.csv", "data/deep/b", "__pycache__/c.pyc", "x"])
trees = st.dictionaries(names, st.binary(max_size=40), max_size=6)


@pytest.fixture(scope="module", autouse=True, params=[1, 4 << 20], ids=["memory used again", "as it is"])
def large_from(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registry_audit.audit.reading._LARGE_BYTES", request.param)
        yield


MLMODEL = b"flavors: {python_function: {data: model.pkl, n: 1}}\nrun_id: %s\nmodel_uuid: %s\n"


@contextmanager
def written(*contents: dict[str, bytes]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory() as scratch:
        roots = []
        for index, tree in enumerate(contents):
            root = Path(scratch) / str(index)
            root.mkdir()
            for name, content in tree.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
            roots.append(root)
        yield roots


def compared(make_copy, one: dict[str, bytes], two: dict[str, bytes], explain=within_one_registry) -> Comparison:
    with written(one, two) as (left, right):
        return compare(make_copy(left), make_copy(right), explain, by="digests")


@settings(max_examples=60)
@given(trees)
def test_a_copy_equals_itself(make_copy, tree: dict[str, bytes]) -> None:
    assert compared(make_copy, tree, tree).differences == ()


@settings(max_examples=60)
@given(trees, trees)
def test_it_finds_exactly_what_differs_and_is_symmetric(
    make_copy, one: dict[str, bytes], two: dict[str, bytes]
) -> None:
    there, back = compared(make_copy, one, two), compared(make_copy, two, one)
    assert {d.path for d in there.differences} == {n for n in one.keys() | two.keys() if one.get(n) != two.get(n)}
    swapped = {Kind.ONLY_LEFT: Kind.ONLY_RIGHT, Kind.ONLY_RIGHT: Kind.ONLY_LEFT}
    assert [(d.path, swapped.get(d.kind, d.kind), d.sizes[::-1], d.digests[::-1]) for d in back.differences] == [
        (d.path, d.kind, d.sizes, d.digests) for d in there.differences
    ]


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=3_000_000), st.data())
def test_one_flipped_byte_is_always_found_by_both_ways_of_reading(make_copy, content: bytes, data) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    with written({"m": content}, {"m": flipped}) as (left, right):
        by_digests = compare(make_copy(left), make_copy(right), within_one_registry, by="digests")
        assert [d.kind for d in by_digests.differences] == [Kind.CONTENT]
        assert lockstep(left, right) == (make_copy(left).reading.entries, make_copy(right).reading.entries)


@settings(max_examples=60)
@given(trees, trees)
def test_lockstep_gives_the_digests_that_reading_alone_gives(make_copy, one, two) -> None:
    with written(one, two) as (left, right):
        assert lockstep(left, right) == (make_copy(left).reading.entries, make_copy(right).reading.entries)


def lockstep(left: Path, right: Path):
    stores = [LocalStore(root) for root in (left, right)]
    listings = [store.listing(Limits()) for store in stores]
    one, two = read_pair(stores[0], listings[0], stores[1], listings[1], "sha256", pulse=lambda count: None)
    assert not one.problems + two.problems
    return one.entries, two.entries


def test_large_files_that_differ_in_their_last_byte(make_copy) -> None:
    big = bytes(5 * 2**20 + 17)
    with written({"m": big}, {"m": big[:-1] + b"!"}) as (left, right):
        one, two = lockstep(left, right)
        assert one != two
        assert (one, two) == (make_copy(left).reading.entries, make_copy(right).reading.entries)


def test_a_hard_link_is_one_file_under_two_names(make_copy, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "MLmodel").write_text("x")
    (tmp_path / "b" / "MLmodel").hardlink_to(tmp_path / "a" / "MLmodel")
    assert compare(make_copy(tmp_path / "a"), make_copy(tmp_path / "b"), within_one_registry, by="bytes").linked_count
    shutil.copy(tmp_path / "a" / "MLmodel", tmp_path / "b" / "other")
    (tmp_path / "b" / "MLmodel").unlink()
    (tmp_path / "b" / "other").rename(tmp_path / "b" / "MLmodel")
    assert not compare(
        make_copy(tmp_path / "a"), make_copy(tmp_path / "b"), within_one_registry, by="bytes"
    ).linked_count


def test_a_file_seen_through_two_mounts_is_one_file(make_copy, tmp_path: Path) -> None:
    """There the device is another one. What is copied has another inode, or another time of change."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLmodel").write_text("x")

    def through_another_mount(copy: ModelCopy) -> ModelCopy:
        (file,) = copy.listing.files
        device, rest = file.change_token.split(":", 1)
        moved = replace(file, change_token=f"{int(device) + 1}:{rest}")
        return replace(copy, listing=replace(copy.listing, files=(moved,)), identity=make_copy(tmp_path / "b").identity)

    one = make_copy(tmp_path / "a")
    assert compare(one, through_another_mount(one), within_one_registry, by="bytes").linked_count == 1
    copied = through_another_mount(make_copy(tmp_path / "b"))
    assert compare(one, copied, within_one_registry, by="bytes").linked_count == 0


def test_an_empty_directory_on_one_side_is_a_difference(make_copy, tmp_path: Path) -> None:
    (tmp_path / "a" / "hollow").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (difference,) = compare(
        make_copy(tmp_path / "a"), make_copy(tmp_path / "b"), within_one_registry, by="bytes"
    ).differences
    assert (difference.path, difference.kind) == ("hollow/", Kind.ONLY_LEFT)


def test_a_file_that_became_something_else(make_copy, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    (tmp_path / "b" / "x").unlink()
    (tmp_path / "b" / "x").symlink_to("/etc/hostname")
    (difference,) = compare(
        make_copy(tmp_path / "a"), make_copy(tmp_path / "b"), within_one_registry, by="bytes"
    ).differences
    assert (difference.path, difference.kind) == ("x", Kind.TYPE)


@pytest.mark.parametrize("one_more", [b"", b"x: 1\n"])
@pytest.mark.parametrize("named", [False, True])
def test_registered_model_meta_is_expected_only_if_it_is_mlflows(make_copy, one_more: bytes, named: bool) -> None:
    mlmodel = MLMODEL.replace(b"model.pkl", b'"registered_model_\\x6deta"') if named else MLMODEL
    model = {"MLmodel": mlmodel % (b"r", b"u")}
    meta = model | {"registered_model_meta": b"model_name: Wine\nmodel_version: '1'\n" + one_more}
    for one, two in ((meta, model), (model, meta), (meta, meta | {"registered_model_meta": b"model_name: Wine"})):
        (difference,) = compared(make_copy, one, two).differences
        is_theirs = not one_more and not named and model in (one, two)
        assert difference.expected_by == ("registered-model-meta" if is_theirs else None)


def test_registered_model_meta_is_expected_only_at_the_root_and_only_small(make_copy) -> None:
    (nested,) = compared(make_copy, {"data/registered_model_meta": b"x"}, {}).differences
    (large,) = compared(make_copy, {"registered_model_meta": bytes(5000)}, {}).differences
    assert nested.expected_by is large.expected_by is None


def test_a_migration_may_rewrite_where_mlmodel_says_it_came_from_and_nothing_else(make_copy) -> None:
    one, two = {"MLmodel": MLMODEL % (b"r1", b"u1")}, {"MLmodel": MLMODEL % (b"r2", b"u2")}
    (expected,) = compared(make_copy, one, two, across_servers).differences
    assert expected.expected_by == "mlmodel-provenance"
    (within,) = compared(make_copy, one, two, within_one_registry).differences
    assert within.expected_by is None
    for changed in (b"n: 2", b"n: 1.0", b"n: true", b"n: '1'"):
        (other,) = compared(
            make_copy, one, {"MLmodel": two["MLmodel"].replace(b"n: 1", changed)}, across_servers
        ).differences
        assert other.expected_by is None, changed


def test_a_file_that_could_not_be_read_is_neither_equal_nor_a_difference(make_copy, tmp_path: Path) -> None:
    with written({"m": b"same"}, {"m": b"same"}) as (left, right):
        one, two = make_copy(left), make_copy(right)
    unread = ModelCopy(two.role, two.location, two.identity, two.listing, Reading((), None), two.directory)
    comparison = compare(one, unread, within_one_registry, by="digests")
    assert (comparison.differences, comparison.compared_count) == ((), 0)
    assert unread.manifest is None
