"""What `prefect deploy --all` will register: the flows that load, with the parameters that are promised."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.audit_registry import audit_registry
from flows.strict_forms import strict
from registry_audit.audit.options import AuditOptions, checked_options
from registry_audit.errors import UsageError

HERE = Path(__file__).parent
PROJECT: dict[str, Any] = yaml.safe_load((HERE.parents[1] / "prefect.yaml").read_text(encoding="utf-8"))
ENTRYPOINTS = sorted({deployment["entrypoint"] for deployment in PROJECT["deployments"]})


def _schema(entrypoint: str) -> dict[str, Any]:
    # With a placeholder, which `prefect deploy` uses where an import fails, parameters lose their types in silence.
    return parameter_schema(load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)).model_dump()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_an_entrypoint_is_a_module_and_its_flow_is_named_like_it(entrypoint: str) -> None:
    flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    module, _, function = entrypoint.rpartition(".")
    assert (flow.fn.__module__, flow.fn.__name__) == (module, function)
    assert flow.name == function.replace("_", "-")
    assert flow.persist_result is False


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_the_parameters_are_as_pinned(entrypoint: str) -> None:
    """A changed parameter breaks schedules and automations: change the pinned schema with it, and the change log."""
    pinned = HERE / "schemas" / f"{entrypoint.rpartition('.')[2]}.json"
    found = json.dumps(_schema(entrypoint), indent=2, sort_keys=True) + "\n"
    assert found == pinned.read_text(encoding="utf-8"), f"{pinned} should be:\n{found}"


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_parameter_is_described(entrypoint: str) -> None:
    undescribed = [name for name, field in _schema(entrypoint)["properties"].items() if not field.get("description")]
    assert undescribed == []


@pytest.mark.parametrize("entrypoint", [entrypoint for entrypoint in ENTRYPOINTS if "audit_part" not in entrypoint])
def test_no_form_takes_a_blank(entrypoint: str) -> None:
    schema = _schema(entrypoint)
    models = [schema, *schema.get("definitions", {}).values()]
    texts = {
        name: text for model in models for name, field in model.get("properties", {}).items() for text in _texts(field)
    }
    assert texts
    assert [name for name, text in texts.items() if re.search(text.get("pattern", ""), " ")] == []


def _texts(field: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of a field, what of it is a text that a person types."""
    if field.get("type") == "string" and "enum" not in field:
        yield field
    for part in (*field.get("anyOf", ()), *([field["items"]] if "items" in field else ())):
        yield from _texts(part)


_FORM = strict(parameter_schema(audit_registry).model_dump())

_PARTS = st.integers(0, 1_100_000)
_PARTS_OF = st.tuples(_PARTS, _PARTS | st.integers(0, 12)) | st.integers(0, 120).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(max(0, n - 2), n + 2))
)


@given(_PARTS_OF, st.sampled_from(["", "0", "00"]), st.sampled_from(["", "0", "00"]))
def test_the_form_takes_the_subsets_that_an_audit_takes(numbers: tuple[int, int], before: str, after: str) -> None:
    subset = f"{before}{numbers[0]}/{after}{numbers[1]}"
    assert (not validate({"subset": subset}, _FORM)) == _is_taken(subset=subset)


@pytest.mark.parametrize(
    ("given_value", "said"),
    [
        ({"subset": "9/7"}, "n/t with n from 1 to t"),
        ({"models": ["Wine", " "]}, "not blank"),
        ({"report_dir": ""}, "not blank"),
        ({"registry": "My Block"}, "the name of a block"),
        ({"audit_id": "a.b"}, "an id, of letters"),
        ({"tracking_uri": "http://bob:pw@host"}, "an address without a password"),
        ({"latest": -1}, "-1 is less than the minimum of 1"),
        ({"latest": 10**30}, "is greater than the maximum of"),
        ({"full_every": 10**6, "quick": True}, "is greater than the maximum of 36500"),
        ({"max_version_seconds": 10**400}, "is greater than the maximum of 1000000000"),
        ({"modles": ["Wine"]}, "'modles' was unexpected"),
    ],
)
def test_the_form_says_what_is_wrong(given_value: dict[str, Any], said: str) -> None:
    (error,) = validate(given_value, _FORM)
    for message in (error.message, *(within.message for within in error.context or ())):
        assert "any of the given schemas" not in message
    assert said in error.message
    with pytest.raises(ValidationError, match=re.escape(said)):
        validate(given_value, _FORM, raise_on_error=True)


def test_the_form_asks_for_a_list_where_one_name_is_given() -> None:
    with pytest.raises(ValidationError, match=r"'Wine' should not be valid under .*a text, where a list is asked for"):
        validate({"models": "Wine"}, _FORM, raise_on_error=True)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_form_takes_none_for_what_may_be_left_out(entrypoint: str) -> None:
    schema = _schema(entrypoint)
    left_out = {
        name: None for name, field in schema["properties"].items() if {"type": "null"} in field.get("anyOf", ())
    }
    form = strict(schema)
    assert validate(left_out, {**form, "required": []}) == []


def _is_taken(**options: Any) -> bool:
    try:
        checked_options(tracking_uri="http://host", **options)
    except UsageError:
        return False
    return True


def test_every_option_of_an_audit_is_a_parameter() -> None:
    parameters = set(_schema("flows.audit_registry.audit_registry")["properties"])
    own = {"registry", "report_dir", "audit_id", "batch_size", "dask_scheduler", "fan_out"}
    assert parameters - set(AuditOptions.model_fields) == own
    assert set(AuditOptions.model_fields) <= parameters


def test_what_matters_comes_first_in_the_form() -> None:
    properties = _schema("flows.audit_registry.audit_registry")["properties"]
    first = sorted(properties, key=lambda name: properties[name]["position"])[:5]
    assert first == ["registry", "models", "quick", "accept_new", "fail_on"]


def test_every_deployment_is_complete() -> None:
    deployments = PROJECT["deployments"]
    assert all(d["description"] and d["tags"] and d["work_pool"]["name"] == "registry-audit" for d in deployments)
    names = [(d["entrypoint"], d["name"]) for d in deployments]
    assert len(names) == len(set(names))
    assert {entrypoint.rpartition(".")[2] for entrypoint, name in names if name == "ad-hoc"} >= {
        "audit_registry",
        "check_model_version",
        "compare_model_versions",
    }
