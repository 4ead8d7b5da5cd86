"""Finds paths in `MLmodel` that lead out of its model: MLflow would load them, and no audit of the model reads them."""

import re
from collections.abc import Iterator
from typing import Any

from registry_audit.model.mlmodel import MLmodel

# Settings of flavors that MLflow joins to the model's directory. Source: mlflow.pyfunc, mlflow.pyfunc.model,
# mlflow.transformers, mlflow.diffusers, mlflow.shap, mlflow.prompt, mlflow.langchain, mlflow.pytorch,
# mlflow.tensorflow and the other flavors' `load_model`.
_FOLLOWED = frozenset(
    {
        "adapter_weights",
        "agent_data",
        "agent_primitive_data",
        "artifacts",
        "code",
        "components",
        "data",
        "env",
        "extra_files",
        "loader_fn",
        "local_base_model_path",
        "model_binary",
        "model_data",
        "model_path",
        "parameters_path",
        "peft_adaptor",
        "persist_dir",
        "pickled_model",
        "python_model",
        "requirements_file",
        "saved_model_dir",
        "serialized_explainer",
        "tools_data",
        "weight_name",
    }
)
# MLflow takes only the last part of these, or nothing; the origin of an artifact is only noted.
_NOT_FOLLOWED = frozenset({"model_code_path", "uri", "source"})
_EXAMPLE = ("artifact_path", "serving_input_path")
_MAX_DEPTH = 8
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")  # matches a drive letter, too
_PROMPT = re.compile(r"prompts:/+[^/\\]+(/[0-9]+|@[^/\\]+)?")


def escapes(mlmodel: MLmodel) -> Iterator[tuple[str, str]]:
    """Yield (setting, value) of every path that leaves the model. Symlinks are reported by the listing."""
    flavors = mlmodel.fields["flavors"]
    for name, flavor in flavors.items():
        if isinstance(flavor, dict):
            yield from _of_flavor(str(name), flavor)
    example = mlmodel.fields.get("saved_input_example_info")
    if isinstance(example, dict):
        for key in _EXAMPLE:
            yield from _leaving(f"saved_input_example_info.{key}", example.get(key), 0)
    prompts = mlmodel.fields.get("prompts")
    for prompt in prompts if isinstance(prompts, list) else ():
        if isinstance(prompt, str) and not _PROMPT.fullmatch(prompt) and leaves(prompt):
            yield "prompts", prompt


def leaves(value: str) -> bool:
    """Say whether a text, joined to the model's directory, may lead out of it on any system."""
    return (
        value.startswith(("/", "\\", "~"))
        or "\0" in value
        or _SCHEME.match(value) is not None
        or ".." in re.split(r"[/\\]", value)
    )


def _of_flavor(name: str, flavor: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flavor.items():
        setting = f"{name}.{key}"
        if key in _FOLLOWED:
            yield from _leaving(setting, value, 0)
        elif _is_loaded_by_name(str(key), flavor) and _is_directory(value):
            # A transformers or diffusers model without its own weights is loaded by a hub's name, or from a directory.
            yield setting, str(value)


def _is_loaded_by_name(key: str, flavor: dict[Any, Any]) -> bool:
    return key == "base_model" or (key.endswith("_name") and "model_binary" not in flavor)


def _is_directory(value: object) -> bool:
    return isinstance(value, str) and (value.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", value))


def _leaving(setting: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if leaves(value):
            yield setting, value
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            if key not in _NOT_FOLLOWED:
                yield from _leaving(f"{setting}.{key}", inner, depth + 1)
    elif isinstance(value, list | tuple | set) and depth < _MAX_DEPTH:
        for inner in value:
            yield from _leaving(setting, inner, depth + 1)
