"""Two manifests side by side: what was accepted, and what is there now."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import FILES, manifest_of

from registry_audit.audit.comparing import Kind
from registry_audit.ledger.assess import baseline_differences

_paths = st.sampled_from(["MLmodel", "model.pkl", "data/a", "data/\n", "café", "registered_model_meta"]) | st.text(
    min_size=1, max_size=6
)
_contents = st.dictionaries(_paths, st.binary(max_size=3), max_size=6)


@given(_contents, _contents)
def test_every_difference_and_nothing_else(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    found = baseline_differences(manifest_of(before), manifest_of(after))
    expected = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert [difference.path for difference in found] == sorted(expected)
    for difference in found:
        old, new = before.get(difference.path), after.get(difference.path)
        kinds = {(True, True): Kind.CONTENT, (True, False): Kind.ONLY_LEFT, (False, True): Kind.ONLY_RIGHT}
        assert difference.kind is kinds[old is not None, new is not None]
        assert difference.sizes == tuple(None if data is None else len(data) for data in (old, new))
        assert difference.digests == tuple(
            None if data is None else f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (old, new)
        )


@given(_contents, _contents)
def test_there_is_a_difference_exactly_when_the_digests_differ(one: dict[str, bytes], two: dict[str, bytes]) -> None:
    first, second = manifest_of(one), manifest_of(two)
    assert bool(baseline_differences(first, second)) == (first.digest() != second.digest())


@given(_contents, _contents)
def test_the_other_way_round_is_the_same_mirrored(one: dict[str, bytes], two: dict[str, bytes]) -> None:
    there, back = (baseline_differences(*map(manifest_of, pair)) for pair in ((one, two), (two, one)))
    assert [(d.path, d.sizes, d.digests) for d in there] == [(d.path, d.sizes[::-1], d.digests[::-1]) for d in back]


def test_only_a_small_file_that_mlflow_writes_itself_is_expected() -> None:
    before = manifest_of(FILES)

    def expected(path: str, size: int) -> bool:
        after = manifest_of({**FILES, path: b"x" * size})
        (unknown,) = baseline_differences(before, after)
        assert unknown.expected_by is None
        (difference,) = baseline_differences(before, after, is_mlflows=True)
        return difference.expected_by is not None

    assert expected("registered_model_meta", 100)
    assert not expected("registered_model_meta", 5_000)
    assert not expected("data/registered_model_meta", 100)
    assert not expected("registered_model_meta.py", 100)


@given(_contents, _contents, st.booleans(), st.booleans())
def test_a_difference_is_expected_only_where_mlflow_wrote_what_was_there_and_what_is_there(
    one: dict[str, bytes], two: dict[str, bytes], was_mlflows: bool, is_mlflows: bool
) -> None:
    found = baseline_differences(
        manifest_of(one), manifest_of(two), was_mlflows=lambda digest: was_mlflows, is_mlflows=is_mlflows
    )
    for difference in found:
        was_theirs = difference.path not in one or was_mlflows
        is_theirs = difference.path not in two or is_mlflows
        of_mlflow = difference.path == "registered_model_meta" and was_theirs and is_theirs
        assert (difference.expected_by is not None) == of_mlflow
