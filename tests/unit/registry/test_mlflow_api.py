"""What a server says of versions and models, of any type: an entity, and a doubt where part of it was left out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import texts, values

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.mlflow_api import Registry, model_entity, version_entity
from registry_audit.registry.versions import newest_versions

VERSION = {
    "name": "wine",
    "version": "1",
    "source": "s3://bucket/m",
    "run_id": "0" * 32,
    "status": "READY",
    "current_stage": "None",
    "creation_timestamp": 1_700_000_000_000,
    "last_updated_timestamp": "1700000000000",
    "description": "",
    "tags": [{"key": "a", "value": "b"}],
    "aliases": ["champion"],
}


class OneVersion:
    """A registry that lists this one."""

    is_uc = False

    def __init__(self, said: dict[str, Any]) -> None:
        self._found = [version_entity(said)]

    @property
    def client(self) -> "OneVersion":
        return self

    def search_model_versions(self, max_results: int) -> list[Any]:
        return self._found


def doubt_of(said: dict[str, Any]) -> str | None:
    (version,) = newest_versions(OneVersion(said), 1)  # type: ignore[arg-type]
    return version.doubt


class Asked:
    """A server that keeps what it was asked."""

    def __init__(self) -> None:
        self.queries: list[Any] = []

    def get(self, path: str, query: Any, *, doing: str) -> dict[str, Any]:
        self.queries.append(query)
        return {}


@pytest.mark.parametrize("filter_string", [None, "name='wine'"])
def test_models_are_not_chosen_by_a_tag_that_servers_without_prompts_give_to_none(filter_string: str | None) -> None:
    server = Asked()
    Registry(server).search_registered_models(filter_string)  # type: ignore[arg-type]
    assert [query["filter"] for query in server.queries] == [filter_string]


@pytest.mark.parametrize("token", [True, 1.5, ["x"], {"a": 1}, []], ids=str)
def test_a_next_page_that_nobody_can_ask_for_is_no_end_of_the_list(token: object) -> None:
    class Cut(Asked):
        def get(self, path: str, query: Any, *, doing: str) -> dict[str, Any]:
            return {"model_versions": [VERSION], "registered_models": [{"name": "wine"}], "next_page_token": token}

    registry = Registry(Cut())  # type: ignore[arg-type]
    for search in (registry.search_model_versions, registry.search_registered_models):
        with pytest.raises(CouldNotVerify, match="next page"):
            search()


def test_what_mlflow_says_is_not_doubted() -> None:
    assert doubt_of(VERSION) is None
    assert doubt_of({key: VERSION[key] for key in ("name", "version", "source")}) is None
    assert doubt_of(VERSION | dict.fromkeys(("tags", "aliases", "description", "run_id"))) is None


@pytest.mark.parametrize("key", ["source", "run_id", "status", "creation_timestamp", "tags", "aliases", "description"])
@pytest.mark.parametrize("value", [True, {"a": 1}, 1.5, ["x"]], ids=str)
def test_a_value_of_no_type_of_mlflows_is_doubted(key: str, value: object) -> None:
    if key not in ("tags", "aliases") or not isinstance(value, list):
        assert key in (doubt_of(VERSION | {key: value}) or "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aliases", ["champion", 1]),
        ("aliases", [None]),
        ("aliases", [{"alias": "champion"}]),
        ("tags", [{"key": "a", "value": "b"}, "c"]),
        ("tags", [None]),
        ("tags", [{"key": "a", "value": True}]),
        ("tags", [{"key": ["a"], "value": "b"}]),
    ],
    ids=str,
)
def test_a_part_of_a_list_that_has_no_type_of_mlflows_is_doubted(key: str, value: object) -> None:
    assert key in (doubt_of(VERSION | {key: value}) or "")


def test_a_tag_may_leave_out_what_is_empty() -> None:
    assert doubt_of(VERSION | {"tags": [{"key": "a"}, {"key": "b", "value": None}], "aliases": []}) is None


def test_a_registry_may_have_objects_for_aliases() -> None:
    assert version_entity(VERSION | {"aliases": [{"alias": "champion"}]}, aliases=["champion"]).nonsense == ()
    assert version_entity(VERSION | {"aliases": [{"alias": "champion"}, 1]}, aliases=["champion"]).nonsense == (
        "aliases",
    )


@given(st.dictionaries(st.sampled_from(sorted(VERSION)) | texts, values, max_size=3))
def test_an_entity_can_be_made_of_anything(said: dict[str, Any]) -> None:
    doubt_of(VERSION | said)
    model = model_entity({"name": "wine", "latest_versions": [VERSION]} | said)
    assert dict(model.aliases) is not None
