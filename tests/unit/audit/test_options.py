"""Which models `--model` chooses, and numbers that are too large to mean anything."""

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.audit.options import AuditOptions, ModelChoice, checked_options
from registry_audit.errors import UsageError
from registry_audit.model.listing import MOST_DAYS, MOST_SECONDS

_names = st.text("ab[]*?1-", min_size=1, max_size=5)


def chosen(texts: list[str], names: set[str]) -> set[str]:
    choice = ModelChoice(texts, names)
    return {name for name in names if name in choice}


def test_a_name_is_taken_exactly_before_it_is_a_pattern() -> None:
    assert chosen(["a[1]"], {"a[1]", "a1"}) == {"a[1]"}
    assert chosen(["a[1]"], {"a1", "a2"}) == {"a1"}
    assert chosen(["*"], {"*", "a"}) == {"*"}
    assert chosen([], {"*", "a"}) == {"*", "a"}


def test_what_chooses_nothing_is_named() -> None:
    choice = ModelChoice(["b", "a[1]", "prod-*", "t*"], {"a[1]", "team"})
    assert choice.without_any({"a[1]", "team"}) == ("b", "prod-*")


@given(st.lists(_names, min_size=1), st.sets(_names))
def test_every_text_means_its_name_or_else_its_pattern(texts: list[str], names: set[str]) -> None:
    expected = {
        name for name in names if any(text == name if text in names else fnmatchcase(name, text) for text in texts)
    }
    assert chosen(texts, names) == expected


@given(st.lists(_names, min_size=1), st.sets(_names))
def test_nothing_is_idle_exactly_when_every_text_chooses(texts: list[str], names: set[str]) -> None:
    idle = set(ModelChoice(texts, names).without_any(names))
    assert idle == {text for text in texts if not chosen([text], names)}


_NUMBERS = [name for name, field in AuditOptions.model_fields.items() if "int" in str(field.annotation)]


@pytest.mark.parametrize("name", _NUMBERS)
@pytest.mark.parametrize("number", [0, -1, 10**16, 10**400])
def test_no_number_is_without_bounds(name: str, number: int) -> None:
    with pytest.raises(UsageError, match=f"^{name}: "):
        checked_options(tracking_uri="http://host", quick=True, **{name: number})


def test_the_longest_times_can_be_reckoned_with() -> None:
    assert datetime.now(UTC) - timedelta(days=MOST_DAYS) < datetime.now(UTC) - timedelta(seconds=MOST_SECONDS)
