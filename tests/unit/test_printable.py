import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from registry_audit.printable import markdown, printable, restored, storable

anything = st.text(st.characters())


@given(anything)
def test_nothing_that_acts_or_hides_is_left(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029" for char in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@given(anything, anything)
def test_two_texts_are_never_shown_the_same(one: str, two: str) -> None:
    assert (printable(one) == printable(two)) == (one == two)


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("Wine-Quality", "été", "模型", "a b", "x@y"):
        assert printable(name) == name


def test_markdown_cannot_be_broken_out_of() -> None:
    shown = markdown("</td>|[x](javascript:y)`<img>\n# head")
    assert "<" not in shown
    assert "\n" not in shown
    assert all(shown[i - 1] == "\\" for i, char in enumerate(shown) if char in "|[]()`")


_escape_like = st.sampled_from(["\0", "\ud800", "\x01", "\\", "\\x00", "\\ud800", "x00", "é", "e\u0301", "a"])


@given(st.lists(_escape_like, max_size=6).map("".join), st.lists(_escape_like, max_size=6).map("".join))
def test_two_names_are_never_stored_the_same(one: str, other: str) -> None:
    assert (storable(one) == storable(other)) == (one == other)
    assert "\0" not in storable(one)
    storable(one).encode("utf-8")
    assert restored(storable(one)) == one


def test_ordinary_names_are_stored_as_they_are() -> None:
    for name in ("wine", "a\\b", "tab\there", "weiß", "\\x01", "C:\\udp"):
        assert storable(name) == name
