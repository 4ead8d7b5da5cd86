"""`registered_model_meta`: what MLflow writes into a model that is loaded by its registered name.

Source: mlflow ModelsArtifactRepository.download_artifacts; docs/mlflow.md section 6.
"""

import hashlib
from importlib.util import find_spec

import yaml

from registry_audit.model.mlmodel import InvalidMLmodel, parse_mlmodel
from registry_audit.model.yaml_text import UnreadableYaml, read_yaml

META_FILE = "registered_model_meta"
META_MAX_BYTES = 4096  # a name and a number; anything larger was not written by MLflow

_KEYS = {"model_name", "model_version"}


def is_written_by_mlflow(meta: bytes | None, mlmodel: bytes | None) -> bool:
    """Whether the file says exactly what MLflow says in it, and is no part of the model.

    Args:
        meta: its content; None where it was not read.
        mlmodel: content of the root MLmodel beside it; nothing in it may name the file.
    """
    if meta is None or len(meta) > META_MAX_BYTES or mlmodel is None:
        return False
    try:
        said = read_yaml(meta.decode("utf-8"))
        named = META_FILE in repr(parse_mlmodel(mlmodel).fields)
    except (UnicodeDecodeError, UnreadableYaml, InvalidMLmodel):
        return False
    if named or not isinstance(said, dict) or set(said) != _KEYS:
        return False
    return all(value is None or type(value) is str for value in said.values())


def is_mlflows_text(digest: str, name: str, version: str) -> bool:
    """Whether a digest is that of what MLflow writes for this version, where the content itself is not at hand."""
    algorithm, _, hexadecimal = digest.partition(":")
    text = yaml.safe_dump({"model_name": name, "model_version": version}, default_flow_style=False)
    if algorithm == "sha256":
        return hashlib.sha256(text.encode()).hexdigest() == hexadecimal
    if algorithm == "blake3" and find_spec("blake3"):
        from blake3 import blake3

        return bool(blake3(text.encode()).hexdigest() == hexadecimal)
    return False
