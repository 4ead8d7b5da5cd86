"""Reads an `MLmodel` file. It is parsed as data; nothing it names is ever loaded or imported."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry_audit.errors import UsageError
from registry_audit.model.listing import itself_and_above
from registry_audit.model.yaml_text import UnreadableYaml, read_yaml
from registry_audit.printable import printable

MLMODEL = "MLmodel"
MAX_BYTES = 16 * 2**20

# MLflow writes these after it has summed `model_size_bytes` (flavors' save_model), so they are not part of that sum.
_WRITTEN_LATER = frozenset(
    {MLMODEL, "conda.yaml", "python_env.yaml", "requirements.txt", "constraints.txt", "registered_model_meta"}
)
# Flavor settings whose value is a path inside the model.
_PATH_KEYS = ("data", "model_data", "model_path", "pickled_model", "python_model", "saved_model_dir", "model_binary")
_ENVIRONMENT_KEYS = ("conda", "virtualenv")

# Fields that say where a model came from, not what it does: a migration rewrites them (docs/mlflow.md section 6).
PROVENANCE = ("run_id", "model_id", "model_uuid", "artifact_path", "utc_time_created")


def must_not_be_in_a_model(path: Path, what: str) -> None:
    """Refuse to write into a model's directory, because its next audit would find other bytes.

    Args:
        what: completes "... is in a model".

    Raises:
        UsageError: the path, or a directory around it, holds an MLmodel.
    """
    place, home = (Path(os.path.realpath(each)) for each in (path, os.path.expanduser("~")))  # noqa: PTH111 - never raises
    for directory in (place, *place.parents):
        if directory == home:
            return  # somebody unpacked a model there: that does not make everything below it a part of one
        # Nobody writes below a directory that cannot be entered, and the attempt then says so.
        if os.path.isfile(directory / MLMODEL):  # noqa: PTH113 - never raises, unlike Path.is_file before Python 3.14
            shown = printable(str(directory))
            raise UsageError(f"{what} is in a model, {shown}, to which nothing is written: give another place")


class InvalidMLmodel(ValueError):
    """The file cannot be the MLmodel of a model; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class MLmodel:
    fields: dict[str, Any]

    @property
    def run_id(self) -> str | None:
        return _text(self.fields.get("run_id"))

    @property
    def model_id(self) -> str | None:
        return _text(self.fields.get("model_id"))

    @property
    def model_uuid(self) -> str | None:
        return _text(self.fields.get("model_uuid"))

    @property
    def model_size_bytes(self) -> int | None:
        size = self.fields.get("model_size_bytes")
        return size if isinstance(size, int) and size > 0 else None

    def without_provenance(self) -> dict[str, Any]:
        return {key: value for key, value in self.fields.items() if key not in PROVENANCE}


def parse_mlmodel(content: bytes) -> MLmodel:
    """Parse strictly as YAML data.

    Raises:
        InvalidMLmodel: the content is not UTF-8, not YAML, not a mapping, without flavors, or so large or nested that
            it is an attack.
    """
    if len(content) > MAX_BYTES:
        raise InvalidMLmodel(f"is larger than {MAX_BYTES} bytes")
    return _parse(content)


@lru_cache(maxsize=64)
def _parse(content: bytes) -> MLmodel:
    try:
        fields = read_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidMLmodel("is not UTF-8 text") from error
    except UnreadableYaml as error:
        raise InvalidMLmodel(str(error)) from error
    if not isinstance(fields, dict):
        raise InvalidMLmodel("is empty" if fields is None else "is not a mapping")
    if not isinstance(fields.get("flavors"), dict) or not fields["flavors"]:
        raise InvalidMLmodel("names no flavors")
    return MLmodel(fields)


def missing_parts(mlmodel: MLmodel, sizes: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield what `MLmodel` names and the files do not hold, as (path, "is missing" or the like).

    Args:
        sizes: every file of the model, path to bytes.
    """
    held_at = Counter[str]()  # bytes of each file, and of each directory with everything in it
    for name, size in sizes.items():
        for place in itself_and_above(name):
            held_at[place] += size
    held_at["."] = sum(sizes.values())
    for path, holds_model in sorted(set(_named_paths(mlmodel.fields))):
        if path not in held_at:
            yield path, "is named by MLmodel and missing"
        elif holds_model and held_at[path] == 0:
            yield path, "is named by MLmodel and empty"
    logged = mlmodel.model_size_bytes
    held = sum(size for name, size in sizes.items() if name not in _WRITTEN_LATER)
    if logged is not None and held < logged:
        yield MLMODEL, f"says that the model itself was {logged:,} bytes when it was logged; now it is {held:,}"


def _named_paths(fields: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield (path inside the model, whether it holds the model itself)."""
    for flavor in fields["flavors"].values():
        if not isinstance(flavor, dict):
            continue
        for key in _PATH_KEYS:
            yield from _inside(flavor.get(key), True)
        yield from _inside(flavor.get("code"), False)
        environment = flavor.get("env")
        if isinstance(environment, dict):
            for key in _ENVIRONMENT_KEYS:
                yield from _inside(environment.get(key), False)
        else:
            yield from _inside(environment, False)
        artifacts = flavor.get("artifacts")
        if isinstance(artifacts, dict):
            for artifact in artifacts.values():
                if isinstance(artifact, dict):
                    yield from _inside(artifact.get("path"), False)
    example = fields.get("saved_input_example_info")
    if isinstance(example, dict):
        yield from _inside(example.get("artifact_path"), False)


def _inside(value: object, holds_model: bool) -> Iterator[tuple[str, bool]]:
    """Yield a relative path in its shortest form: MLflow joins it to a directory, where `a//b` and `a/./b` are `a/b`.

    A URI or an absolute path leaves the model on purpose (e.g. a hub's weights).
    """
    if isinstance(value, str) and value and "://" not in value and not value.startswith("/"):
        path = value.replace("\\", "/")
        if ".." not in path.split("/"):
            yield posixpath.normpath(path), holds_model


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
