"""Differences that a named rule explains. They are always shown, with the rule; never hidden."""

from collections.abc import Callable

from registry_audit.audit.copies import META_FILE, META_MAX_BYTES, ModelCopy, is_written_by_mlflow
from registry_audit.model.mlmodel import MLMODEL, InvalidMLmodel, parse_mlmodel

Explain = Callable[[str, ModelCopy, ModelCopy], str | None]

REGISTERED_MODEL_META = "registered-model-meta"
MLMODEL_PROVENANCE = "mlmodel-provenance"


def within_one_registry(path: str, left: ModelCopy, right: ModelCopy) -> str | None:
    """MLflow writes `registered_model_meta` into what a `models:/` URI is loaded from, even into a local store.

    Source: mlflow ModelsArtifactRepository.download_artifacts; docs/mlflow.md section 6.
    """
    if path != META_FILE or path in left.listing.unsafe + right.listing.unsafe:
        return None
    holders = [copy.reading for copy in (left, right) if any(file.path == path for file in copy.listing.files)]
    theirs = all(reading is not None and is_written_by_mlflow(reading.meta, reading.mlmodel) for reading in holders)
    return REGISTERED_MODEL_META if theirs else None


def explains_meta(path: str, sizes: list[int | None]) -> str | None:
    """The rule for a `registered_model_meta` of these sizes, where that is what it can be."""
    small = all(size is not None and size <= META_MAX_BYTES for size in sizes)
    return REGISTERED_MODEL_META if path == META_FILE and small else None


def across_servers(path: str, left: ModelCopy, right: ModelCopy) -> str | None:
    """What a migration rewrites besides: where `MLmodel` says it came from, compared as parsed YAML."""
    if path != MLMODEL:
        return within_one_registry(path, left, right)
    contents = [copy.reading.mlmodel for copy in (left, right) if copy.reading is not None]
    if len(contents) != 2 or contents[0] is None or contents[1] is None:
        return None
    try:
        one, two = (typed_value(parse_mlmodel(content).without_provenance()) for content in contents if content)
    except (InvalidMLmodel, RecursionError):
        return None
    return MLMODEL_PROVENANCE if one == two else None


def typed_value(value: object) -> object:
    """A structure that is equal only for equal values of equal types: for Python alone, 1 == True == 1.0."""
    if isinstance(value, dict):
        pairs = [(type(key).__name__, repr(key), typed_value(inner)) for key, inner in value.items()]
        return ("dict", sorted(pairs, key=lambda pair: pair[:2]))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [typed_value(inner) for inner in value])
    return (type(value).__name__, repr(value))
