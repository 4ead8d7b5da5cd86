"""Paths in MLmodel that lead out of the model, held to what joining them to a directory does."""

import importlib.util
import os.path
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.model.escapes import escapes, leaves
from registry_audit.model.mlmodel import parse_mlmodel

_segments = st.lists(st.sampled_from(["..", ".", "a", "b.bin", "", "~", "C:"]), min_size=1, max_size=5)


def found(content: str) -> set[str]:
    return {value for _, value in escapes(parse_mlmodel(content.encode()))}


@pytest.mark.parametrize(
    "content",
    [
        "flavors: {python_function: {data: VALUE}}",
        "flavors: {python_function: {code: VALUE}}",
        "flavors: {python_function: {env: VALUE}}",
        "flavors: {python_function: {env: {conda: VALUE}}}",
        "flavors: {python_function: {env: {virtualenv: VALUE}}}",
        "flavors: {python_function: {python_model: VALUE}}",
        "flavors: {python_function: {artifacts: {weights: {path: VALUE, uri: 's3://bucket/x'}}}}",
        "flavors: {sklearn: {pickled_model: VALUE}}",
        "flavors: {pytorch: {extra_files: [{path: VALUE}]}}",
        "flavors: {transformers: {model_binary: VALUE}}",
        "flavors: {transformers: {model_binary: x, components: [VALUE]}}",
        "flavors: {shap: {serialized_explainer: VALUE}}",
        "flavors: {diffusers: {adapter_weights: VALUE}}",
        "flavors: {python_function: {parameters_path: VALUE}}",
        "flavors: {f: {data: x}}\nsaved_input_example_info: {artifact_path: VALUE}",
        "flavors: {f: {data: x}}\nsaved_input_example_info: {serving_input_path: VALUE}",
        "flavors: {f: {data: x}}\nprompts: [VALUE, 'prompts:/greet/1']",
    ],
)
@pytest.mark.parametrize("value", ["../up", "/etc/passwd", "a/../../b", "s3://bucket/x", "file:/etc/x", "..", "C:\\x"])
def test_each_place_that_mlflow_follows(content: str, value: str) -> None:
    assert found(content.replace("VALUE", f"'{value}'")) == {value}
    assert found(content.replace("VALUE", "'inside/model.bin'")) == set()


def test_what_mlflow_only_notes_is_no_path() -> None:
    noted = "{python_function: {loader_module: x, model_code_path: /home/me/model.py, config: {url: 'http://x'}}}"
    hub = "{transformers: {model_binary: model, source_model_name: /home/me/bert, task: llm/v1/chat}}"
    assert found(f"flavors: {noted}") == found(f"flavors: {hub}") == set()


def test_a_transformers_model_without_weights_is_loaded_by_its_name() -> None:
    assert found("flavors: {transformers: {source_model_name: /home/me/bert, tokenizer_name: bert}}") == {
        "/home/me/bert"
    }


_JOINED = re.compile(
    r"(?:join\([\w.]*path[\w.]*, |model_dir, |[\w.]*path[\w.]*(?:\)+)? / )\w*conf\w*(?:\.get\(|\[)\"(\w+)\""
)


def test_every_setting_that_mlflow_joins_to_the_model_is_followed() -> None:
    """Read from the installed MLflow's own flavors, so that a setting that a later release adds is not overlooked."""
    spec = importlib.util.find_spec("mlflow")
    assert spec is not None and spec.origin is not None
    flavors = [file for file in Path(spec.origin).parent.glob("*/*.py") if file.parent.name not in ("store", "server")]
    joined = {name for file in flavors for name in _JOINED.findall(file.read_text(encoding="utf-8"))}
    assert {"pickled_model", "data", "model_path"} <= joined
    assert {name for name in joined if not found(f"flavors: {{f: {{{name}: ../up}}}}")} == set()


@given(_segments)
def test_what_stays_inside_stays_inside(segments: list[str]) -> None:
    path = "/".join(segments)
    joined = os.path.normpath(os.path.join("/model", path))  # noqa: PTH118 - as MLflow joins it
    if not leaves(path):
        assert joined == "/model" or joined.startswith("/model/")
