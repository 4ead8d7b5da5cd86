import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.errors import UsageError
from registry_audit.refs import Alias, Latest, Number, Selector, Stage, parse_selector


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
