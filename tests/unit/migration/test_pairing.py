"""Which version is which: by bytes, never by a number alone, and never by a guess."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.two_registries import compare_two, compared, down, facts, model, side

from registry_audit.migration.facts import VersionFacts

SHUFFLES = settings(max_examples=60)


def _models(count: int) -> dict[int, dict[str, bytes]]:
    return {number: model(f"weights {number}") for number in range(1, count + 1)}


@SHUFFLES
@given(numbers=st.lists(st.integers(1, 400), min_size=1, max_size=14, unique=True), seed=st.randoms())
def test_distinct_contents_are_paired_whatever_their_numbers(numbers: list[int], seed: random.Random) -> None:
    """Gaps close, and versions arrive in any order: content finds each."""
    arrived = list(numbers)
    seed.shuffle(arrived)
    source = [facts(version=number, files=model(f"weights {number}", run_id="old")) for number in numbers]
    target = [facts(version=at, files=model(f"weights {number}")) for at, number in enumerate(arrived, 1)]

    found = compared(source, target, fail_on="critical")

    assert found.pairs == {f"Wine/{number}": f"Wine/{at}" for at, number in enumerate(arrived, 1)}
    assert set(found.verdicts.values()) == {"equivalent"}
    moved = {(str(number), str(at)) for at, number in enumerate(arrived, 1) if number != at}
    assert set(found.models["Wine"].renumbered) == moved
    for label, row in found.rows.items():
        assert row.target is not None
        same = label == f"Wine/{row.target.version}"
        assert row.found_by == ("same_number" if same else "content")


@SHUFFLES
@given(
    kept=st.lists(st.booleans(), min_size=2, max_size=10),
    extra=st.integers(0, 3),
    seed=st.randoms(),
)
def test_every_loss_is_found_and_nothing_else(kept: list[bool], extra: int, seed: random.Random) -> None:
    """Numbers of the target begin where the source's end, so that nothing is left to a number."""
    source = [facts(version=number, files=model(f"weights {number}")) for number in range(1, len(kept) + 1)]
    contents = [f"weights {number}" for number, stays in enumerate(kept, 1) if stays]
    contents += [f"new {number}" for number in range(extra)]
    seed.shuffle(contents)
    target = [facts(version=100 + at, files=model(content)) for at, content in enumerate(contents)]

    found = compared(source, target)

    lost = {f"Wine/{number}" for number, stays in enumerate(kept, 1) if not stays}
    assert {label for label, verdict in found.verdicts.items() if verdict == "missing"} == lost
    assert sum(verdict == "only_in_target" for verdict in found.verdicts.values()) == extra
    assert found.exit_status == (1 if lost else 0)
    assert found.document.summary.complete is (not lost and any(kept))
    one_way = compared(source, target, one_way=True)
    assert one_way.verdicts == {label: one for label, one in found.verdicts.items() if one != "only_in_target"}


@SHUFFLES
@given(count=st.integers(2, 6), seed=st.randoms())
def test_twins_are_told_apart_by_what_differs_and_it_is_said(count: int, seed: random.Random) -> None:
    order = list(range(1, count + 1))
    seed.shuffle(order)
    twin = model("one content")
    source = [facts(version=number, files=twin, description=f"of {number}") for number in range(1, count + 1)]
    target = [facts(version=at, files=twin, description=f"of {number}") for at, number in enumerate(order, 1)]

    found = compared(source, target, fail_on="critical")

    assert found.pairs == {f"Wine/{number}": f"Wine/{at}" for at, number in enumerate(order, 1)}
    for row in found.rows.values():
        assert row.metadata == ()
        assert (row.candidates, row.verdict) == (count, "match")
        assert "tags and description" in str(row.told_apart_by)


def _twin(number: int, run: str = "a", description: str | None = None, aliases: tuple[str, ...] = ()) -> VersionFacts:
    return facts(version=number, files=model(run_id=run), description=description, aliases=aliases)


LIVE = ("champion",)


@pytest.mark.parametrize(
    ("source", "target", "counterparts", "by"),
    [
        ([_twin(1), _twin(2)], [_twin(1), _twin(2)], "12", "number"),
        ([_twin(1), _twin(2), _twin(3)], [_twin(1), _twin(3)], "1-3", "number"),
        ([_twin(2), _twin(3)], [_twin(1), _twin(2)], "12", "order"),  # a gap closed: number 2 is another version
        ([_twin(1, "a"), _twin(2, "b")], [_twin(1, "b"), _twin(2, "a")], "21", "exact bytes"),
        ([_twin(1, "a"), _twin(2, "b")], [_twin(4, "c"), _twin(5, "d")], "45", "order"),
        (
            [_twin(1, "a", "x"), _twin(2, "b", "y")],
            [_twin(1, "a", "y"), _twin(2, "b", "x")],
            "21",
            "tags and description",
        ),
        ([_twin(1, aliases=LIVE), _twin(2)], [_twin(1), _twin(2, aliases=LIVE)], "21", "aliases and stage"),
        ([_twin(1), _twin(2, aliases=LIVE)], [_twin(1, aliases=LIVE)], "-1", "aliases and stage"),
    ],
)
def test_by_what_twins_are_told_apart(
    source: list[VersionFacts], target: list[VersionFacts], counterparts: str, by: str
) -> None:
    found = compared(source, target)
    expected = [f"Wine/{number}" if number != "-" else None for number in counterparts]
    assert found.pairs == dict(zip((one.version.label for one in source), expected, strict=True))
    assert {row.told_apart_by for row in found.rows.values() if row.found_by} == {by}


def test_a_twin_too_few_is_missing_and_one_too_many_is_only_there() -> None:
    twins = [facts(version=number, files=model()) for number in (1, 2, 3)]
    fewer = compared(twins, [facts(version=9, files=model())])
    assert sorted(fewer.verdicts.values()) == ["match", "missing", "missing"]
    told = {finding.message for row in fewer.rows.values() for finding in row.findings}
    assert told == {"more versions of the source hold its bytes than of the target"}
    assert fewer.exit_status == 1
    more = compared([facts(version=9, files=model())], twins)
    assert sorted(more.verdicts.values()) == ["match", "only_in_target", "only_in_target"]
    told = {finding.message for row in more.rows.values() for finding in row.findings}
    assert told == {"more versions of the target hold its bytes than of the source"}


def test_the_same_number_is_no_pair_while_the_content_is_elsewhere() -> None:
    """Source 3 and target 3 both exist, and are different versions: target 3 is source 4."""
    source = [facts(version=number, files=model(f"weights {number}")) for number in (1, 3, 4, 5)]
    target = [facts(version=at, files=model(f"weights {number}")) for at, number in ((1, 1), (2, 3), (3, 4), (4, 5))]
    found = compared(source, target)
    assert found.pairs == {"Wine/1": "Wine/1", "Wine/3": "Wine/2", "Wine/4": "Wine/3", "Wine/5": "Wine/4"}
    assert found.rows["Wine/3"].found_by == "content"


def test_swapped_numbers_are_said_once_for_the_model() -> None:
    models = _models(2)
    source = [facts(version=number, files=models[number], creation_time_ms=number) for number in (1, 2)]
    new = {"run_id": "r2"}
    target = [facts(version=3 - number, files=models[number], creation_time_ms=3 - number, **new) for number in (1, 2)]
    found = compared(source, target)
    assert set(found.verdicts.values()) == {"match"}
    told = {finding.rule: finding.message for finding in found.models["Wine"].findings}
    assert told["RA024"] == "2 of 2 renumbered: 1 -> 2, 2 -> 1"
    assert "order of creation: 1, 2 in the source, 2, 1 in the target" in told["RA022"]


ROWS = {number: {"version": number, "creation_time_ms": 1_000 + number, "run_id": f"r{number}"} for number in (1, 2, 3)}


def test_rows_that_were_copied_are_no_other_versions_whatever_their_bytes() -> None:
    """A copied database keeps numbers, times and runs: what changed places there is contents, and not numbers."""
    models = _models(3)
    source = [facts(**ROWS[number], files=models[number]) for number in ROWS]
    target = [facts(**ROWS[number], files=models[holds]) for number, holds in ((1, 2), (2, 1), (3, 3))]
    found = compared(source, target, fail_on="critical")
    assert found.pairs == {f"Wine/{number}": f"Wine/{number}" for number in ROWS}
    assert found.verdicts == {"Wine/1": "mismatch", "Wine/2": "mismatch", "Wine/3": "match"}
    assert [row.found_by for row in found.rows.values()] == ["same_row", "same_row", "same_number"]
    assert (found.rules("Wine/1"), found.exit_status) == (["RA021"], 1)
    assert found.rows["Wine/1"].reason == "another version of the target holds its bytes: were they exchanged?"
    assert found.models["Wine"].renumbered == ()


@pytest.mark.parametrize("same", [{"creation_time_ms": 7}, {"run_id": "new"}, {"creation_time_ms": None}])
def test_without_its_time_and_run_a_number_is_no_row(same: dict[str, Any]) -> None:
    """A time that several versions share tells none of them from the others."""
    models = _models(2)
    before = {} if "run_id" in same else same | {"run_id": "new"}
    source = [facts(**ROWS[number] | before, files=models[number]) for number in (1, 2)]
    target = [facts(**ROWS[3 - number] | same | {"run_id": "new"}, files=models[number]) for number in (1, 2)]
    assert compared(source, target).pairs == {"Wine/1": "Wine/2", "Wine/2": "Wine/1"}


def test_twins_of_copied_rows_are_not_told_apart_by_their_tags() -> None:
    source = [facts(**ROWS[number], files=model(), description=f"of {number}") for number in (1, 2)]
    target = [facts(**ROWS[number], files=model(), description=f"of {3 - number}") for number in (1, 2)]
    found = compared(source, target)
    assert found.pairs == {"Wine/1": "Wine/1", "Wine/2": "Wine/2"}
    assert {(row.candidates, row.told_apart_by) for row in found.rows.values()} == {(2, None)}


def test_a_copied_row_that_arrived_one_directory_down() -> None:
    row = compared([facts(**ROWS[1], files=model())], [facts(**ROWS[1], files=down(model()))]).rows["Wine/1"]
    assert (row.verdict, row.found_by) == ("mismatch", "one_directory_down")


def test_versions_of_one_moment_have_no_order_to_lose() -> None:
    models = {number: model(str(number)) for number in (1, 2, 3)}
    for before, after in ((lambda number: 7, lambda number: 9 - number), (lambda number: number, lambda number: 7)):
        source = [facts(version=number, files=models[number], creation_time_ms=before(number)) for number in models]
        target = [facts(version=number, files=models[number], creation_time_ms=after(number)) for number in models]
        found = compared(source, target)
        assert (found.exit_status, found.models["Wine"].findings) == (0, ())


def test_numbers_sorted_as_text_are_recognised() -> None:
    models = _models(12)
    order = sorted(models, key=str)
    source = [facts(version=number, files=files) for number, files in models.items()]
    target = [facts(version=at, files=models[number]) for at, number in enumerate(order, 1)]
    (finding,) = compared(source, target).models["Wine"].findings
    assert finding.message.startswith("11 of 12 renumbered: numbers were sorted as text: 2 -> 5, 3 -> 6,")
    assert compared(source[:9], target[:1]).models["Wine"].findings == ()


def test_other_content_under_the_same_number_is_a_change() -> None:
    found = compared([facts(files=model("old"))], [facts(files=model("new"))])
    row = found.rows["Wine/1"]
    assert (row.verdict, row.found_by) == ("mismatch", "number_only")
    assert found.rules("Wine/1") == ["RA021"]
    assert [one.path for one in row.differences] == ["model.pkl"]
    assert found.exit_status == 1


def test_a_version_that_changed_is_recognised_by_most_of_its_bytes() -> None:
    """Numbers moved, and a file changed: the number alone would name another version as its counterpart."""

    def trained(number: int, note: str = "") -> dict[str, bytes]:
        return model(f"head {number}") | {"weights.bin": b"%d" % number * 500, "note.txt": note.encode()}

    source = [facts(version=number, files=trained(number)) for number in (1, 3, 4)]
    target = [facts(version=1, files=trained(1)), facts(version=2, files=trained(3, "cut"))]
    target += [facts(version=3, files=trained(4, "cut"))]
    found = compared(source, target)
    assert found.pairs == {"Wine/1": "Wine/1", "Wine/3": "Wine/2", "Wine/4": "Wine/3"}
    row = found.rows["Wine/3"]
    assert (row.verdict, row.found_by) == ("mismatch", "shared_files")
    assert [one.path for one in row.differences] == ["note.txt"]


def test_files_that_several_versions_share_tell_nothing() -> None:
    base = {"weights.bin": b"x" * 500}
    source = [facts(version=number, files=model(f"head {number}") | base) for number in (1, 2)]
    target = [facts(version=number, files=model(f"other {number}") | base) for number in (5, 6)]
    assert compared(source, target).pairs == {"Wine/1": None, "Wine/2": None}


def test_a_number_is_doubtful_where_numbers_changed() -> None:
    source = [facts(version=number, files=model(f"weights {number}")) for number in (1, 3, 4, 5)]
    target = [facts(version=at, files=model(f"weights {number}")) for at, number in ((1, 1), (2, 3), (4, 99))]
    row = compared(source, target).rows["Wine/4"]
    assert (row.verdict, row.found_by) == ("mismatch", "number_only")
    assert row.reason == "numbers of this model changed, so its counterpart may be another version"


def test_a_map_of_versions_wins_over_content() -> None:
    models = _models(2)
    source = [facts(version=number, files=models[number]) for number in (1, 2)]
    target = [facts(version=number, files=models[number]) for number in (1, 2)]
    found = compared(source, target, "Wine/1 -> Wine/2")
    assert found.rows["Wine/1"].found_by == "map"
    assert found.pairs == {"Wine/1": "Wine/2", "Wine/2": None}
    assert found.verdicts == {"Wine/1": "mismatch", "Wine/2": "missing", "+Wine/1": "only_in_target"}


def test_a_map_of_versions_leads_to_other_models() -> None:
    source = [facts(version=number, files=model(f"weights {number}")) for number in (1, 2)]
    target = [facts("A", 1, model("weights 1")), facts("B", 1, model("weights 2"))]
    found = compared(source, target, "Wine/1 -> A/1\nWine/2 -> B/1")
    assert found.pairs == {"Wine/1": "A/1", "Wine/2": "B/1"}
    assert found.verdicts == {"Wine/1": "match", "Wine/2": "match"}
    assert [finding.message for row in found.models.values() for finding in row.findings] == [
        "1 of 2 renumbered: 2 -> 1"
    ]


def test_a_version_that_the_map_names_and_the_target_lacks_is_missing() -> None:
    found = compared([facts(files=model())], [facts(files=model())], "Wine/1 -> Wine/7")
    row = found.rows["Wine/1"]
    assert (row.verdict, row.findings[0].rule) == ("missing", "RA020")
    assert row.findings[0].message == "the version that the map names for it is not in the target"


def test_it_is_not_called_missing_where_the_target_could_not_be_listed_whole() -> None:
    source, cut = side([facts(files=model())]), side([facts(version=2, files=model())], whole=False)
    found = compare_two(source, cut, "Wine/1 -> Wine/7")
    assert (found.verdicts["Wine/1"], found.exit_status) == ("unverifiable", 3)
    assert "could not be listed whole" in str(found.rows["Wine/1"].reason)


@pytest.mark.parametrize(("mine", "theirs"), [(1, 1), (1, 4), (2, 1)])
def test_one_directory_down_is_found_whatever_its_number(mine: int, theirs: int) -> None:
    files = model(run_id="old")
    found = compared([facts(version=mine, files=files)], [facts(version=theirs, files=down(model(run_id="new")))])
    row = found.rows[f"Wine/{mine}"]
    assert (row.verdict, row.found_by, row.one_directory_down) == ("mismatch", "one_directory_down", "model")
    assert "all 3 files are there under model/, and its source lacks /model" in row.findings[0].message
    assert {"RA021", "RA003"} <= {finding.rule for finding in row.findings}


def test_two_models_of_one_run_are_each_found_below_its_root() -> None:
    source = [facts(version=number, files=model(f"weights {number}")) for number in (1, 2)]
    both = down(model("weights 1"), "a") | down(model("weights 2"), "b")
    found = compared(source, [facts(version=number, files=both) for number in (1, 2)])
    assert found.pairs == {"Wine/1": "Wine/1", "Wine/2": "Wine/2"}
    assert [row.one_directory_down for row in found.rows.values()] == ["a", "b"]


def test_twins_one_directory_down_are_told_apart_too() -> None:
    source = [facts(version=number, files=model(), description=f"of {number}") for number in (1, 2)]
    target = [facts(version=3 - number, files=down(model()), description=f"of {number}") for number in (1, 2)]
    found = compared(source, target)
    assert found.pairs == {"Wine/1": "Wine/2", "Wine/2": "Wine/1"}
    assert {(row.candidates, row.told_apart_by) for row in found.rows.values()} == {(2, "tags and description")}


def test_what_could_not_be_read_in_the_target_may_be_anybodys_counterpart() -> None:
    source = [facts(version=number, files=model(f"weights {number}")) for number in (1, 2)]
    target = [facts(version=1, files=model("weights 1")), facts(version=7, unread="permission denied")]
    found = compared(source, target)
    assert found.verdicts == {"Wine/1": "match", "Wine/2": "unverifiable", "+Wine/7": "only_in_target"}
    assert "1 version of the target could not be read" in str(found.rows["Wine/2"].reason)
    assert found.exit_status == 3
    assert found.document.summary.complete is False


def test_what_could_not_be_read_in_the_source_is_never_called_missing() -> None:
    source = [facts(version=1, unread="permission denied")]
    found = compared(source, [facts(version=5, files=model())])
    assert found.verdicts["Wine/1"] == "unverifiable"
    assert found.exit_status == 3
    assert compared(source, []).verdicts == {"Wine/1": "missing"}


@SHUFFLES
@given(seed=st.randoms(), count=st.integers(1, 8))
def test_the_result_does_not_depend_on_the_order_of_the_listings(seed: random.Random, count: int) -> None:
    contents = [f"weights {seed.randint(1, 3)}" for _ in range(count)]
    source = [facts(version=at, files=model(text), storage=f"a{at}") for at, text in enumerate(contents, 1)]
    target = [facts(version=at, files=model(text), storage=f"b{at}") for at, text in enumerate(contents[1:], 1)]
    first = compared(source, target)
    for listing in (source, target):
        seed.shuffle(listing)
    again = compared(source, target)
    assert again.rows == first.rows
    assert again.models == first.models
    assert again.document.summary == first.document.summary
