import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.errors import UsageError
from registry_audit.refs import Alias, Latest, Number, Selector, Stage, parse_selector, split_version


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("1", Number("1")),
        ("007", Number("7")),
        ("PRODUCTION", Stage("Production")),
        ("staging", Stage("Staging")),
        ("none", Stage("None")),
        ("@1", Alias("1")),
        ("@Production", Alias("Production")),
        ("@@x", Alias("@x")),
        ("Latest", Latest()),
    ],
)
def test_how_a_person_names_a_version(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector


@pytest.mark.parametrize("text", ["", "@", "0", "-1", "1.5", "²", "٣", "champion", "v1", "1 ", "\x1b[31m"])
def test_everything_else_is_refused_and_says_what_would_do(text: str) -> None:
    with pytest.raises(UsageError, match="@alias") as refused:
        parse_selector(text)
    assert "\x1b" not in str(refused.value)


@given(st.integers(1, 10**12))
def test_every_number_is_itself(number: int) -> None:
    assert parse_selector(str(number)) == Number(str(number))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Wine/3", ("Wine", "3")),
        ("Wine@champion", ("Wine", "@champion")),
        ("team/Wine@2/latest", ("team/Wine@2", "latest")),
        ("models:/Wine/3", ("Wine", "3")),  # as MLflow writes it
        ("models:/Wine@champion", ("Wine", "@champion")),
    ],
)
def test_a_version_in_one_word(text: str, parts: tuple[str, str]) -> None:
    assert split_version(text) == parts


@pytest.mark.parametrize("text", ["Wine", "models:/Wine", "/3", "@champion", "Wine@", "Wine:3"])
def test_a_model_alone_is_no_version(text: str) -> None:
    with pytest.raises(UsageError, match=f"^'{text}' is not a version"):
        split_version(text)
