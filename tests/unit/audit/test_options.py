"""Which models `--model` chooses."""

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from registry_audit.audit.options import ModelChoice

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
