"""Listing a registry: whole, each version once, in the order of a report, and honest when it changed meanwhile."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST

from registry_audit.audit.judging import unresolvable
from registry_audit.audit.rows import decode_row, encode_row
from registry_audit.errors import CouldNotVerify
from registry_audit.registry.prompts import TAG, TEXT_TAG
from registry_audit.registry.version import KeySet, decode_version, encode_version
from registry_audit.registry.versions import RegistryListing, is_gone, list_versions
from registry_audit.spool import IN_MEMORY

Key = tuple[str, int]
PAGE = 7


class Page(list[Any]):
    def __init__(self, rows: Sequence[Any], token: str | None) -> None:
        super().__init__(rows)
        self.token = token


class Paging:
    """A registry that is listed by offset, a few rows a page; `rows_at` says what is there at each question."""

    is_uc = is_databricks = False
    own_spelling = staticmethod(str)
    databricks = None

    def __init__(
        self, rows_at: Callable[[int], Sequence[Key]], aliases: dict[str, dict[str, str]] | None = None
    ) -> None:
        self._rows_at, self._aliases, self.asked = rows_at, aliases or {}, 0

    @property
    def client(self) -> "Paging":
        return self

    def search_registered_models(
        self, max_results: int, page_token: str | None = None, filter_string: str | None = None
    ) -> Page:
        if filter_string is not None:  # for what carries a prompt's tag
            return Page([], None)
        found = [SimpleNamespace(name=name, aliases=held) for name, held in self._aliases.items()]
        start = int(page_token or 0)
        return Page(found[start : start + 1], str(start + 1) if start + 1 < len(found) else None)

    def search_model_versions(
        self, filter_string: str | None, max_results: int, order_by: list[str], page_token: str | None = None
    ) -> Page:
        if filter_string is not None:
            return Page([], None)
        rows, start = self._rows_at(self.asked), int(page_token or 0)
        rows = rows[::-1] if order_by[0].endswith("DESC") else rows
        self.asked += 1
        end = start + PAGE
        return Page([_row(*key) for key in rows[start:end]], str(end) if end < len(rows) else None)


def _row(name: str, number: int) -> Any:
    own = dict.fromkeys(
        ("aliases", "run_id", "creation_timestamp", "last_updated_timestamp", "description", "user_id", "run_link",
         "status_message", "tags")
    )  # fmt: skip
    return SimpleNamespace(name=name, version=number, status="READY", current_stage="None", source="file:///m", **own)


def listed(registry: Paging) -> RegistryListing:
    return list_versions(registry)  # type: ignore[arg-type]


def keys(listing: RegistryListing) -> list[Key]:
    return [(version.name, int(version.version)) for version in listing.versions]


class CutShort(Paging):
    """What stands before the registry shortens its pages, in every pass in the same way."""

    def __init__(self, names: Sequence[Key], cut: Callable[[Page], Page]) -> None:
        super().__init__(lambda asked: names)
        self._cut = cut

    def search_model_versions(self, *arguments: Any, **named: Any) -> Page:
        return self._cut(super().search_model_versions(*arguments, **named))


@pytest.mark.parametrize(
    "cut",
    [
        lambda page: Page(page[:-1], page.token),
        lambda page: Page(page[1:], page.token),
        lambda page: Page(page, None),
        lambda page: Page(page[:3], page.token),
    ],
    ids=["last-row", "first-row", "no-token", "short"],
)
def test_pages_that_are_cut_short_are_noticed(cut: Callable[[Page], Page]) -> None:
    listing = listed(CutShort([("m", n) for n in range(1, 3 * PAGE + 6)], cut))
    assert not listing.whole
    assert "or its list is cut short" in listing.notes[0]


def test_a_model_that_the_list_of_models_leaves_out_keeps_its_aliases() -> None:
    registry = Paging(lambda asked: [("m", 1)])
    registry.registry = SimpleNamespace(  # type: ignore[attr-defined]
        get_registered_model=lambda name: SimpleNamespace(name=name, aliases={"champion": "1"})
    )
    assert [version.aliases for version in listed(registry).versions] == [("champion",)]


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, IN_MEMORY + 3])
def test_every_version_once_by_name_and_number(count: int) -> None:
    rows = [(f"model {chr(97 + n % 3)}", n // 3 + 1) for n in range(count)]
    registry = Paging(lambda asked: rows)
    listing = listed(registry)
    assert keys(listing) == sorted(rows)
    assert (len(listing.keys), listing.notes, listing.whole) == (count, (), True)


def test_the_order_is_not_the_databases() -> None:
    """PostgreSQL sorts letters by its locale, and the tenth version comes after the ninth."""
    rows = [("a", 10), ("a", 9), ("B", 1), ("ä", 2), ("b", 1), ("C", 3)]
    assert keys(listed(Paging(lambda asked: rows))) == sorted(rows)


def test_rows_that_a_page_repeats_count_once() -> None:
    rows = [("m", n) for n in range(1, 20)]
    repeated = rows[:10] + rows[7:]
    listing = listed(Paging(lambda asked: repeated))
    assert keys(listing) == rows
    assert len(listing.keys) == len(rows)


class TwoStatuses(Paging):
    """It lists one version twice in a page, with another status each time."""

    statuses = ("READY", "FAILED_REGISTRATION")

    def search_model_versions(self, *arguments: Any, **named: Any) -> Page:
        page = super().search_model_versions(*arguments, **named)
        for row, status in zip([row for row in page if row.version == 1], self.statuses, strict=False):
            row.status = status
        return page


@pytest.mark.parametrize("statuses", [TwoStatuses.statuses, TwoStatuses.statuses[::-1]], ids="-then-".join)
def test_a_version_that_is_listed_with_two_statuses_is_doubted(statuses: tuple[str, str]) -> None:
    """By one of them it would be skipped, and its bytes go unread."""
    registry = TwoStatuses(lambda asked: [("m", 1), ("m", 2), ("m", 1)])
    registry.statuses = statuses
    doubts = [version.doubt for version in listed(registry).versions]
    assert doubts == ["the registry lists it twice, and differently", None]


def test_a_row_lost_between_two_pages_is_found_by_the_next_pass() -> None:
    """A version of the first page is deleted after it: all that follows moves up by one, and one is skipped.

    The first pass begins at the end.
    """
    rows = [("m", n) for n in range(1, 20)]
    listing = listed(Paging(lambda asked: rows if asked == 0 else rows[:-1]))
    assert keys(listing) == rows[:-1]
    assert listing.whole
    assert listing.notes == ("1 versions were deleted or denied while the registry was listed",)


def test_a_registry_that_never_holds_still_says_so() -> None:
    listing = listed(Paging(lambda asked: [("m", n) for n in range(1, 5 + asked)]))
    assert not listing.whole
    seen = len(listing.keys)
    assert listing.notes == (
        f"the registry kept changing while it was listed, or its list is cut short; {seen} versions were seen in all",
    )
    assert keys(listing) == [("m", n) for n in range(1, seen + 1)]


def test_pages_that_lead_in_a_circle() -> None:
    class Circle(Paging):
        def search_model_versions(self, *arguments: Any, **named: Any) -> Page:
            return Page([_row("m", 1)], "again")

    with pytest.raises(CouldNotVerify, match="circle"):
        listed(Circle(lambda asked: ()))


def test_aliases_stand_on_the_registered_model() -> None:
    aliases = {"a": {"champion": "2", "best": "2"}, "b": {"other": "1"}}
    listing = listed(Paging(lambda asked: [("a", 1), ("a", 2), ("b", 1)], aliases))
    assert [version.aliases for version in listing.versions] == [(), ("best", "champion"), ("other",)]


def test_sets_of_versions() -> None:
    one, two = KeySet(), KeySet()
    assert [one.add(("a", "1")), one.add(("a", "1")), one.add(("a\n1", "1"))] == [True, False, True]
    two.add(("a", "1"))
    assert (("a", "1") in one, ("a", "2") in one, len(one), one == two, one.missing_from(two)) == (
        True,
        False,
        2,
        False,
        1,
    )
    two.update(one)
    assert one == two


class Cut(Paging):
    """A registry of four versions, whose list of versions lacks the end, and whose models name their newest."""

    newest = (("a", "2"), ("b", "2"))

    def __init__(self, there: Sequence[Key], *, by_alias: bool = False, **of_newest: Any) -> None:
        super().__init__(lambda asked: [("a", 1), ("a", 2), ("b", 1)])
        self._there, self._by_alias, self._of_newest = there, by_alias, of_newest

    @property
    def registry(self) -> "Cut":
        return self

    def search_registered_models(self, filter_string: str | None = None, **_: Any) -> Page:  # type: ignore[override]
        models = [
            SimpleNamespace(name=name, aliases={"champion": number})
            if self._by_alias
            else SimpleNamespace(name=name, aliases={}, latest_versions=[_row(name, int(number))])
            for name, number in self.newest
        ]
        return Page([] if filter_string else models, None)

    def get_model_version(self, name: str, version: str) -> Any:
        if (name, int(version)) not in self._there:
            raise MlflowException("gone", RESOURCE_DOES_NOT_EXIST)
        return SimpleNamespace(**_row(name, int(version)).__dict__ | self._of_newest)


@pytest.mark.parametrize("by_alias", [False, True], ids=["newest", "alias"])
def test_a_list_that_lacks_what_a_model_names_was_cut_short(by_alias: bool) -> None:
    """Unity Catalog names no newest version, and tells a model's aliases."""
    listing = listed(Cut([("b", 2)], by_alias=by_alias))
    assert not listing.whole
    (note,) = listing.notes
    assert note.startswith("the registry's list of versions leaves out b/2, which its registered models name")


@pytest.mark.parametrize(
    ("there", "of_newest"),
    [
        ([], {}),
        ([("b", 2)], {"tags": {TAG: "true", TEXT_TAG: "Hello"}, "source": "dummy-source"}),
    ],
    ids=["deleted-meanwhile", "prompt"],
)
def test_what_is_no_version_any_more_or_a_prompt_cuts_no_list_short(
    there: Sequence[Key], of_newest: dict[str, Any]
) -> None:
    listing = listed(Cut(there, **of_newest))
    assert (listing.whole, listing.notes) == (True, ())


def test_what_a_model_names_and_nobody_shows_to_be_gone_cuts_the_list_short() -> None:
    class Denying(Cut):
        def get_model_version(self, name: str, version: str) -> Any:
            raise MlflowException("no", PERMISSION_DENIED)

    assert not listed(Denying([])).whole


class Saying(Paging):
    """A registry that lists these versions as they are."""

    def __init__(self, *versions: dict[str, Any]) -> None:
        super().__init__(lambda asked: [])
        self._said = [_row("m", 1).__dict__ | version for version in versions]

    def search_model_versions(self, filter_string: str | None = None, **_: Any) -> Page:  # type: ignore[override]
        return Page([] if filter_string else [SimpleNamespace(**said) for said in self._said], None)


@pytest.mark.parametrize(
    "number", ["abc", "1.0", "\u00b2", "", "9" * 5_000, "-1", "0", "007", " 1", "1_0", "\u0661", "1e3", None, b"1", 1.5]
)
def test_what_is_no_number_is_listed_and_doubted(number: object) -> None:
    listing = listed(Saying({"version": number}, {"version": "2"}))
    assert [version.doubt is None for version in listing.versions] == [False, True]
    assert "no version number" in (listing.versions[0].doubt or "")


class Hiding(Saying):
    """A registry whose versions all carry the tag of a prompt: only a search for the tag shows them."""

    @property
    def registry(self) -> "Hiding":
        return self

    def get_registered_model(self, name: str) -> Any:
        return SimpleNamespace(name=name, aliases={}, latest_versions=[SimpleNamespace(**said) for said in self._said])

    def search_model_versions(self, filter_string: str | None = None, **_: Any) -> Page:  # type: ignore[override]
        return Page([SimpleNamespace(**said) for said in self._said] if filter_string else [], None)


@pytest.mark.parametrize("number", ["abc", "1.0", "\u00b2", "", "9" * 5_000, "-1", None])
def test_what_is_no_number_is_doubted_also_where_a_prompts_tag_hides_it(number: object) -> None:
    listing = listed(Hiding({"version": number}, {"version": "1"}))
    assert [version.doubt is None for version in listing.versions] == [False, True]


def test_a_hidden_version_with_two_sources_is_doubted() -> None:
    (one,) = listed(Hiding({"version": "1", "source": "file:///m"}, {"version": "1", "source": "file:///n"})).versions
    assert "twice" in (one.doubt or "")


def test_one_version_with_two_sources_is_doubted() -> None:
    twice = {"version": "1", "source": "file:///m"}, {"version": "1", "source": "file:///other"}
    (one, other) = listed(Saying(*twice, {"version": "2"}, {"version": "2"})).versions
    assert "twice" in (one.doubt or "")
    assert other.doubt is None


@pytest.mark.parametrize(
    "fields",
    [
        {"source": 5},
        {"source": b"\xff"},
        {"run_id": 1.5},
        {"creation_timestamp": "yesterday"},
        {"creation_timestamp": 10**40},
        {"status": "FINE"},
        {"status": 3},
        {"name": ""},
        {"name": b"\xff"},
        {"tags": {"a": 1}},
        {"aliases": [1]},
    ],
    ids=str,
)
def test_whatever_a_column_holds_a_row_can_be_made_of_it(fields: dict[str, Any]) -> None:
    (version,) = listed(Saying({"version": "1"} | fields)).versions
    assert decode_version(encode_version(version)) == version
    assert decode_row(encode_row(unresolvable(version, "x"))).version == version


def test_a_listing_that_does_not_end_is_given_up() -> None:
    class Endless(Paging):
        def search_model_versions(self, filter_string: str | None = None, **_: Any) -> Page:  # type: ignore[override]
            if filter_string:
                return Page([], None)
            self.asked += 1
            return Page([_row("m", self.asked)], f"page {self.asked}")

    with pytest.raises(CouldNotVerify, match="--max-versions"):
        list_versions(Endless(lambda asked: []), max_versions=50)  # type: ignore[arg-type]


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("what", ["search_registered_models", "search_model_versions"])
def test_every_list_has_its_bound(what: str, tagged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the list of models, and both of what carries the tag of a prompt."""
    registry, asked = Paging(lambda asked: []), list[None]()

    def endless(filter_string: str | None = None, **_: Any) -> Page:
        if (filter_string is not None) != tagged:
            return Page([], None)
        asked.append(None)
        return Page([_row("m", len(asked))], f"page {len(asked)}")

    monkeypatch.setattr(registry, what, endless)
    with pytest.raises(CouldNotVerify, match="--max-versions"):
        list_versions(registry, max_versions=50)  # type: ignore[arg-type]
    assert len(asked) == 51


class Unnameable(Saying):
    """A registry in SQLite, where a column of texts may hold bytes: here the name of a model and of its version."""

    @property
    def registry(self) -> "Unnameable":
        return self

    def search_registered_models(self, *_: Any, filter_string: str | None = None, **__: Any) -> Page:
        newest = [SimpleNamespace(version="1")]
        names = [] if filter_string else [b"\xff", "m"]
        return Page([SimpleNamespace(name=name, aliases={"a": "1"}, latest_versions=newest) for name in names], None)


def test_a_name_that_is_no_text_is_doubted_and_the_others_are_listed() -> None:
    listing = listed(Unnameable({"version": "1", "name": b"\xff"}, {"version": "1"}))
    assert [(version.name, version.doubt is None) for version in listing.versions] == [("b'\\xff'", False), ("m", True)]
    assert "its name is not what MLflow's protocol has there" in (listing.versions[0].doubt or "")


class Asked(Saying):
    """A registry whose searches show these versions, and that gives this answer to a request by name."""

    def __init__(self, answer: Any, *listed: dict[str, Any]) -> None:
        super().__init__(*listed)
        self._answer = answer

    @property
    def registry(self) -> "Asked":
        return self

    def search_model_versions(self, filter_string: str | None = None, **_: Any) -> Page:  # type: ignore[override]
        return super().search_model_versions() if filter_string == "name='m'" else Page([], None)

    def get_model_version(self, name: str, version: str) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


_NONE = MlflowException("none", RESOURCE_DOES_NOT_EXIST)


@pytest.mark.parametrize(
    ("registry", "gone"),
    [
        (Asked(_NONE), True),
        (Asked(_NONE, {"version": "2"}), True),
        (Asked(_NONE, {"version": "1"}), False),
        (Asked(_row("m", 1)), False),
    ],
    ids=["deleted", "others-are-listed", "its-models-row-was-lost", "the-search-was-cut-short"],
)
def test_only_what_is_neither_listed_nor_found_by_name_is_gone(registry: Asked, gone: bool) -> None:
    assert is_gone(registry, "m", "1") is gone  # type: ignore[arg-type]


def test_what_is_denied_is_not_gone() -> None:
    """Searches omit it, as if it had been deleted."""
    denying = Asked(MlflowException("no", PERMISSION_DENIED))
    with pytest.raises(CouldNotVerify, match="permission denied"):
        is_gone(denying, "m", "1")  # type: ignore[arg-type]
