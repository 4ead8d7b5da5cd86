"""Two versions of which only a native model is compared: one file or directory, perhaps of two names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from registry_audit.audit.copies import ModelCopy
from registry_audit.audit.named_versions import PairAudit
from registry_audit.errors import UsageError
from registry_audit.verdict import Verdict

PairOf = Callable[..., PairAudit]

MLMODEL = b"flavors: {python_function: {data: %s}}\nrun_id: %s\n"
META = b"model_name: Wine\nmodel_version: '%s'\n"


@pytest.fixture
def copies(make_copy, tmp_path: Path) -> list[ModelCopy]:
    """Two copies whose `MLmodel` and `registered_model_meta` differ only as MLflow writes them."""
    for number in (b"1", b"2"):
        root = tmp_path / number.decode()
        (root / "data" / "deep").mkdir(parents=True)
        (root / "MLmodel").write_bytes(MLMODEL % (b"data", number))
        (root / "data" / "MLmodel").write_bytes(MLMODEL % (b"evil", number))
        (root / "registered_model_meta").write_bytes(META % number)
        (root / "data" / "deep" / "weights").write_bytes(b"good")
    return [make_copy(tmp_path / number) for number in "12"]


@pytest.mark.parametrize(
    "natives",
    [
        ("MLmodel", "data/MLmodel"),
        ("MLmodel/", "data/MLmodel"),
        ("data/MLmodel", "MLmodel"),
        ("registered_model_meta", "data/deep/weights"),
        ("registered_model_meta", "MLmodel"),
    ],
)
def test_a_difference_between_files_of_two_names_is_explained_by_no_rule(
    pair_of: PairOf, copies: list[ModelCopy], natives: tuple[str, str]
) -> None:
    pair = pair_of(copies, natives)
    assert pair.verdict is Verdict.MISMATCH
    assert pair.comparison is not None
    assert [difference.expected_by for difference in pair.comparison.differences] == [None]


@pytest.mark.parametrize(
    ("native", "rule"), [("MLmodel", "mlmodel-provenance"), ("registered_model_meta", "registered-model-meta")]
)
def test_a_root_file_of_one_name_may_differ_as_in_a_whole_model(
    pair_of: PairOf, copies: list[ModelCopy], native: str, rule: str
) -> None:
    for natives in ((native, native), (native, f"./{native}")):
        pair = pair_of(copies, natives)
        assert pair.verdict is Verdict.EQUIVALENT
        assert pair.comparison is not None
        assert [difference.expected_by for difference in pair.comparison.differences] == [rule]


@pytest.mark.parametrize("spelled", ["data//deep", "./data/deep", "data/./deep/", "/data/deep"])
def test_a_native_model_is_found_however_its_path_is_spelled(
    pair_of: PairOf, copies: list[ModelCopy], spelled: str
) -> None:
    for natives in ((spelled, "data/deep"), ("data/deep", spelled)):
        pair = pair_of(copies, natives)
        assert pair.verdict is Verdict.MATCH
        assert [copy.native for copy in pair.copies if isinstance(copy, ModelCopy)] == ["data/deep", "data/deep"]


@pytest.mark.parametrize("nowhere", ["/", ".", "..", "data/..", "nothing"])
def test_a_native_model_in_neither_model_is_refused_by_the_name_that_was_given(
    pair_of: PairOf, copies: list[ModelCopy], nowhere: str
) -> None:
    with pytest.raises(UsageError, match=f"^native_model '{nowhere}' is in neither model$"):
        pair_of(copies, (nowhere, nowhere))
