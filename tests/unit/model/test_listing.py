import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.model.listing import ListedFile, Problem, illegal_path, make_listing


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a//b",
        "a/./b",
        "a/",
        "C:\\x",
        "C:/x",
        "\\\\host\\x",
        "a\\..\\b",
        "nul\0",
        "a/" + "b" * 1_025,
    ],
)
def test_paths_that_leave_a_model_are_illegal(path: str) -> None:
    assert illegal_path(path)


@pytest.mark.parametrize(
    "path", ["MLmodel", "data/a.csv", "a b", "q?", "..a", "a..", "é", "new\nline", "a:b", "back\\slash"]
)
def test_unusual_names_are_legal(path: str) -> None:
    assert illegal_path(path) is None


@given(st.lists(st.text("abAB", min_size=1, max_size=3), unique=True))
def test_names_that_differ_only_by_case_are_named(names: list[str]) -> None:
    listing = make_listing([ListedFile(name, 1) for name in names])
    colliding = {name for name in names if any(other != name and other.lower() == name.lower() for other in names)}
    assert bool(listing.problems) == bool(colliding)
    assert {problem.path for problem in listing.problems} <= colliding


def test_unicode_forms_collide() -> None:
    forms = [unicodedata.normalize(form, "é.txt") for form in ("NFC", "NFD")]
    (problem,) = make_listing([ListedFile(name, 1) for name in forms]).problems
    assert (problem.rule, problem.blocks) == ("RA013", False)


def test_a_name_listed_twice_cannot_be_told_apart() -> None:
    (problem,) = make_listing([ListedFile("a", 1), ListedFile("a", 2)]).problems
    assert problem.rule == "RA009"
    assert problem.blocks


def test_a_file_that_is_also_a_directory_is_named() -> None:
    """A bucket holds both. A file system does not, and so MLflow cannot load the model."""
    names = ["MLmodel", "data", "data/a.csv", "code/x/y", "code/x", "data2/a", "deep/1/2/3"]
    problems = make_listing([ListedFile(name, 1) for name in names]).problems
    assert [(problem.rule, problem.path) for problem in problems] == [("RA013", "code/x"), ("RA013", "data")]
    assert all("a file and a directory" in problem.message for problem in problems)


@given(st.permutations([ListedFile("a", 1, "x"), ListedFile("b", 2, "y"), ListedFile("c/d", 3, "z")]))
def test_the_fingerprint_does_not_depend_on_the_order_and_covers_every_field(files: list[ListedFile]) -> None:
    listing = make_listing(files)
    assert listing.fingerprint() == make_listing(sorted(files, key=lambda file: file.path)).fingerprint()
    first, *rest = listing.files
    for changed in (
        ListedFile("A", first.size, first.change_token),
        ListedFile(first.path, 9, first.change_token),
        ListedFile(first.path, first.size, "changed"),
    ):
        assert make_listing([changed, *rest]).fingerprint() != listing.fingerprint()


def test_a_listing_without_markers_does_not_tell_changes() -> None:
    assert make_listing([ListedFile("a", 1, "etag")]).tells_changes
    assert not make_listing([ListedFile("a", 1, "etag"), ListedFile("b", 1)]).tells_changes


_paths = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4).map("/".join)


@given(st.lists(_paths | st.none(), max_size=3), _paths)
def test_what_lies_in_an_unknown_directory_is_unknown(unknown: list[str | None], path: str) -> None:
    listing = make_listing([], problems=[Problem("RA009", "denied", one) for one in unknown])
    expected = any(one is not None and (not one or path == one or path.startswith(f"{one}/")) for one in unknown)
    assert listing.is_unknown(path) == expected


def test_many_unknown_paths_are_asked_about_at_once() -> None:
    """Comparing each with each would take as long as an attacker likes."""
    names = [f"d{number}/%" for number in range(100_000)]
    listing = make_listing([], problems=[Problem("RA009", "cannot be carried", name) for name in names])
    assert all(listing.is_unknown(f"{name}/x") for name in names)
    assert not any(listing.is_unknown(name.partition("/")[0]) for name in names)


def test_a_name_is_never_so_long_that_folding_it_takes_for_ever() -> None:
    assert illegal_path("b" * 1_024) is None
    assert illegal_path("a/" + "b" * 1_025)
    assert illegal_path("e" + "\u0301\u0323" * 5_000_000)
