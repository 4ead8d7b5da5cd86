"""A map of names, versions and stages."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.two_registries import compare_two, compared, facts, model, side

from registry_audit.errors import NotFound, UsageError
from registry_audit.migration.registries_config import Spelling, load_map, map_of, parse_map

_ANY_CASE = Spelling.of((), any_case=True)
_NAME = st.text("abAB.- *é", min_size=1, max_size=8).filter(lambda text: "*" not in text and text == text.strip())


@pytest.mark.parametrize(
    ("text", "name", "mapped"),
    [
        ("", "Wine", "Wine"),
        ("Wine -> main.ml.wine", "Wine", "main.ml.wine"),
        ("Wine -> main.ml.wine", "Wine2", "Wine2"),
        ("* -> main.ml.*", "Wine", "main.ml.Wine"),
        ("* -> main.ml.*\nWine -> other", "Wine", "other"),
        ("team-*-* -> *.*.x", "team-a-b", "a.b.x"),
        ("a* -> b*\n*z -> c*", "az", "bz"),
        ("a b   ->   c d", "a b", "c d"),
        ("a->b -> c", "a->b", "c"),
        ("[a] -> x", "[a]", "x"),
        ("  # a comment\n\nWine -> W", "Wine", "W"),
    ],
)
def test_a_name_is_mapped(text: str, name: str, mapped: str) -> None:
    names = parse_map(text, "map.txt")
    assert names.target_of(name) == mapped
    assert name in names.sources_of(mapped)


@pytest.mark.parametrize(
    ("text", "name", "mapped"),
    [
        ("", "Main.ML.Wine", "main.ml.wine"),
        ("* -> main.ml.*", "Wine", "main.ml.wine"),
        ("* -> Main.ML.*", "Wine", "main.ml.wine"),
        ("Wine -> Main.ML.Wine", "Wine", "main.ml.wine"),
    ],
)
def test_unity_catalog_has_no_capitals(text: str, name: str, mapped: str) -> None:
    assert parse_map(text, "map.txt").between(Spelling(), _ANY_CASE).target_of(name) == mapped


def test_names_of_unity_catalog_are_written_in_any_capitals_on_both_sides() -> None:
    lines = "Main.ML.* -> Prod.ML.*\nMain.ML.Wine/1 -> Prod.ML.Wine/2"
    names = parse_map(lines, "map.txt").between(_ANY_CASE, _ANY_CASE)
    assert names.target_of("main.ml.iris") == "prod.ml.iris"
    assert names.sources_of("prod.ml.iris") == ("main.ml.iris", "prod.ml.iris")
    assert names.versions == ((("main.ml.wine", "1"), ("prod.ml.wine", "2")),)


@pytest.mark.parametrize("name", ["Wine\nBeer -> Rum", "a -> b", "# no comment", " Wine ", "a\u2028b"])
def test_a_name_of_a_mapping_in_python_is_one_name(name: str) -> None:
    names = map_of({name: "wine", f"{name}/3": "wine/1", "Rum": name}, "mapping")
    assert [(pattern.source, pattern.target) for pattern in names.patterns] == [(name, "wine"), ("Rum", name)]
    assert names.versions == (((name, "3"), ("wine", "1")),)


@given(st.dictionaries(_NAME, _NAME, max_size=3))
def test_a_mapping_in_python_means_what_its_lines_mean(mapping: dict[str, str]) -> None:
    text = "\n".join(f"{one} -> {other}" for one, other in mapping.items())
    assume(not any("->" in name or name.startswith("#") for name in (*mapping, *mapping.values())))
    assert map_of(mapping, "mapping") == parse_map(text, "map.txt")


@given(name=_NAME, prefix=_NAME, suffix=_NAME)
def test_a_pattern_leads_back_to_the_name(name: str, prefix: str, suffix: str) -> None:
    names = parse_map(f"* -> {prefix}*{suffix}", "map.txt")
    assert names.sources_of(names.target_of(name)) == (name,)


@pytest.mark.parametrize("line", ["* -> main.ml.*", "Wine -> Main.ML.Wine", "* -> MAIN.ml.*", "W* -> main.ml.w*"])
@pytest.mark.parametrize("kept", ["main.ml.wine", "main.ml.Wine"])
def test_unity_catalog_finds_a_name_in_any_case(line: str, kept: str) -> None:
    """It keeps one spelling of its own, whatever the map says."""
    source, target = side([facts("Wine", 1, model())]), side([facts(kept, 1, model())], any_case=True)
    found = compare_two(source, target, line)
    assert (found.pairs, found.verdicts) == ({"Wine/1": f"{kept}/1"}, {"Wine/1": "match"})
    assert [row.target for row in found.document.models] == [kept]


def test_a_map_from_unity_catalog_is_read_in_any_case() -> None:
    files = model()
    source = side([facts("main.ml.wine", n, model(str(n))) for n in (1, 2)], any_case=True)
    target = side([facts("Wine", 1, files), facts("Wine", 2, model("2"))])
    found = compare_two(source, target, "Main.ML.Wine -> Wine\nmain.ml.WINE/1 -> Wine/1")
    assert found.pairs == {"main.ml.wine/1": "Wine/1", "main.ml.wine/2": "Wine/2"}
    assert found.rows["main.ml.wine/1"].found_by == "map"


def test_capitals_count_where_the_registry_counts_them() -> None:
    found = compare_two(side([facts("Wine", 1, model())]), side([facts("wine", 1, model())]))
    assert found.verdicts == {"Wine/1": "missing", "+wine/1": "only_in_target"}


def test_two_models_that_differ_in_capitals_would_be_one() -> None:
    source = side([facts("Wine", 1, model()), facts("wine", 1, model())])
    with pytest.raises(UsageError, match=r"'Wine' and 'wine' are both mapped to 'main\.ml\.wine'"):
        compare_two(source, side([], any_case=True), "* -> main.ml.*")


@pytest.mark.parametrize(
    "lines",
    [
        "main.ml.Wine -> a\nmain.ml.wine -> b",
        "main.ml.Wine/1 -> a/1\nmain.ml.wine/1 -> a/2",
    ],
)
def test_two_lines_for_one_name_are_refused(lines: str) -> None:
    source = side([facts("main.ml.wine", 1, model())], any_case=True)
    with pytest.raises(UsageError, match="leave out one of them"):
        compare_two(source, side([facts("a", 1, model())]), lines)


@given(st.lists(st.tuples(_NAME, _NAME), max_size=4, unique_by=lambda pair: pair[0]))
def test_the_reported_lines_are_the_map(pairs: list[tuple[str, str]]) -> None:
    names = parse_map("\n".join(f"{one} -> {other}" for one, other in pairs), "map.txt")
    assert parse_map("\n".join(names.reported()), "map.txt") == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Wine", "line 1: write one mapping a line"),
        ("Wine ->", "line 1: write one mapping a line"),
        ("a -> b -> c", "line 1: write one mapping a line"),
        ("\nWine -> *", "line 2: both sides need the same number of *"),
        ("Wine -> a\nWine -> b", "line 2: 'Wine' is mapped on an earlier line already"),
        ("Wine/1 -> a/1\nWine/1 -> a/2", "line 2: 'Wine/1' is mapped on an earlier line already"),
        ("Wine/1 -> a/1\nWine/2 -> a/1", "line 2: a/1 is the target of line 1 already"),
        ("Wine/3 -> main.ml.wine", "line 1: a version is mapped to a version"),
        ("Wine -> main.ml.wine/1", "line 1: a version is mapped to a version"),
        ("Wine/03 -> main.ml.wine/1", "line 1: a version is mapped to a version"),
        ("stage:Prod -> @x", "line 1: 'Prod' is no stage"),
        ("stage:Production -> x", "line 1: a stage is mapped to an alias"),
        ("stage:production -> @x\nstage:Production -> @y", "line 2: 'Production' is mapped on an earlier line"),
    ],
)
def test_a_wrong_line_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_map(text, "map.txt")
    assert caught.value.message.startswith("map.txt, ")
    assert said in caught.value.message


def test_a_map_that_windows_wrote(tmp_path: Path) -> None:
    file = tmp_path / "map.txt"
    file.write_bytes("\ufeffWine -> main.ml.wine\r\n".encode())
    assert load_map(file).target_of("Wine") == "main.ml.wine"


def test_two_models_are_never_mapped_to_one() -> None:
    with pytest.raises(UsageError, match="'A' and 'B' are both mapped to 'all'"):
        compared([facts("A", files=model()), facts("B", files=model())], [], "A -> all\nB -> all")
    with pytest.raises(UsageError, match="both mapped to 'B'"):
        compared([facts("A", files=model()), facts("B", files=model())], [], "A -> B")


def test_a_map_names_versions_that_there_are() -> None:
    with pytest.raises(NotFound, match="the map names Wine/7, and the source has no such version"):
        compared([facts(files=model())], [facts(files=model())], "Wine/7 -> Wine/1")


def test_models_are_chosen_by_their_names_in_the_source() -> None:
    source = [facts(name, files=model()) for name in ("Wine", "Beer")]
    target = [facts(name, files=model()) for name in ("ml.Wine", "ml.Beer", "ml.Rum", "Gin")]
    everything = compared(source, target, "* -> ml.*")
    assert everything.verdicts == {
        "Wine/1": "match", "Beer/1": "match", "+ml.Rum/1": "only_in_target", "+Gin/1": "only_in_target",
    }  # fmt: skip
    one = compared(source, target, "* -> ml.*", models=("Wine",))
    assert one.verdicts == {"Wine/1": "match"}
    some = compared(source, target, "* -> ml.*", models=("R*", "W*"))
    assert some.verdicts == {"Wine/1": "match", "+ml.Rum/1": "only_in_target"}
    with pytest.raises(NotFound, match=r"no registered model 'Whisky' in the source, nor in the target"):
        compared(source, target, models=("Whisky",))
    mapped = compared(source, target, "Wine -> ml.Wine\nBeer -> ml.Beer", one_way=True)
    assert mapped.verdicts == {"Wine/1": "match", "Beer/1": "match"}


def test_one_way_a_name_that_only_the_target_has_chooses_nothing() -> None:
    source, target = [facts("Beer", files=model())], [facts("Beer", files=model()), facts("Wine", files=model())]
    assert compared(source, target, models=("Beer", "W*")).verdicts == {"Beer/1": "match", "+Wine/1": "only_in_target"}
    for name in ("Wine", "W*"):
        with pytest.raises(NotFound, match=r"no registered model 'W.*' in the source$"):
            compared(source, target, models=("Beer", name), one_way=True)


def test_a_name_with_wildcards_in_it_is_that_model() -> None:
    source = [facts("[a]", files=model()), facts("a", files=model())]
    assert set(compared(source, source, models=("[a]",), in_place=True).rows) == {"[a]/1"}
    with pytest.raises(NotFound, match="no registered model 'B\\*'"):
        compared(source, source, models=("a", "B*"))
