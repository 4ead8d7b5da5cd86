"""Finds what differs between a version and its counterpart: files, fields inside some files, and metadata."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from registry_audit.audit.comparing import MLMODEL_PROVENANCE, REGISTERED_MODEL_META, Kind, typed_value
from registry_audit.audit.copies import META_FILE
from registry_audit.migration.facts import VersionFacts, encoded, without_provenance
from registry_audit.migration.registries_config import NameMap
from registry_audit.model.manifest import Manifest, ManifestEntry
from registry_audit.model.mlmodel import MLMODEL, InvalidMLmodel, parse_mlmodel
from registry_audit.registry.registered_models import RegisteredModel
from registry_audit.registry.runs import RunState

REQUIREMENTS = frozenset({"requirements.txt", "conda.yaml", "python_env.yaml", "constraints.txt"})
UNLISTED = "UNKNOWN"  # status of a version that MLflow does not list
_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class FileDifference:
    path: str
    kind: Kind  # left is the source, right the target
    sizes: tuple[int | None, int | None]
    digests: tuple[str | None, str | None]
    expected_by: str | None = None  # the named rule that explains the difference
    fields: tuple[str, ...] = ()  # what differs inside MLmodel or a requirements file


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """This is a difference in one metadata field, with both values as text."""

    field: str
    source: str
    target: str


def file_differences(source: VersionFacts, target: VersionFacts) -> tuple[FileDifference, ...]:
    """Return every path whose bytes differ between the two manifests, sorted."""
    if source.manifest is None or target.manifest is None:
        raise ValueError("files are compared once both sides were read whole")
    return tuple(_explained(found, source, target) for found in _unequal(source.manifest, target.manifest))


def _unequal(source: Manifest, target: Manifest) -> Iterator[FileDifference]:
    left = {entry.path: entry for entry in source.entries}
    right = {entry.path: entry for entry in target.entries}
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one != other:
            kind = Kind.ONLY_RIGHT if one is None else Kind.ONLY_LEFT if other is None else Kind.CONTENT
            yield FileDifference(path, kind, (_size(one), _size(other)), (_digest(one), _digest(other)))


def _size(entry: ManifestEntry | None) -> int | None:
    return entry.size if entry else None


def _digest(entry: ManifestEntry | None) -> str | None:
    return entry.digest if entry else None


def _explained(found: FileDifference, source: VersionFacts, target: VersionFacts) -> FileDifference:
    rule: str | None = None
    fields: tuple[str, ...] = ()
    if found.path == MLMODEL and found.kind is Kind.CONTENT:
        fields = mlmodel_fields(source.mlmodel, target.mlmodel)
        one, other = without_provenance(source.mlmodel), without_provenance(target.mlmodel)
        rule = MLMODEL_PROVENANCE if one is not None and one == other else None
    elif found.path == META_FILE:
        holders = [side for side, size in zip((source, target), found.sizes, strict=True) if size is not None]
        rule = REGISTERED_MODEL_META if all(side.meta_is_mlflows for side in holders) else None
    return replace(found, expected_by=rule, fields=fields)


def _parsed(text: str | None) -> dict[str, Any] | None:
    try:
        return parse_mlmodel(encoded(text)).fields if text is not None else None
    except (InvalidMLmodel, RecursionError):
        return None


def mlmodel_fields(source: str | None, target: str | None) -> tuple[str, ...]:
    """Return the fields that differ between two MLmodel files, as `flavors.python_function.env`.

    Nothing is returned if one of them is invalid.
    """
    one, other = _parsed(source), _parsed(target)
    if one is None or other is None:
        return ()
    return tuple(_different(one, other, ""))


def _different(one: dict[Any, Any], other: dict[Any, Any], prefix: str) -> Iterator[str]:
    for key in sorted(one.keys() | other.keys(), key=str):
        left, right = one.get(key, _ABSENT), other.get(key, _ABSENT)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from _different(left, right, f"{prefix}{key}.")
        elif left is _ABSENT or right is _ABSENT or typed_value(left) != typed_value(right):
            yield f"{prefix}{key}"


_ABSENT = object()


def requirement_lines(source: str, target: str) -> tuple[str, ...]:
    """Return the lines of a requirements file that differ, as `-numpy==1.26` and `+numpy==2.0`."""
    # As dictionaries, which keep the order: looking up a line in a list would take time in the square of the length.
    ones, others = ({line.strip(): None for line in text.splitlines() if line.strip()} for text in (source, target))
    changed = [f"-{line}" for line in ones if line not in others] + [f"+{line}" for line in others if line not in ones]
    more = len(changed) - _MAX_NAMED
    return (*changed[:_MAX_NAMED], *([f"and {more} more"] if more > 0 else []))


def metadata_differences(source: VersionFacts, target: VersionFacts, names: NameMap) -> tuple[FieldDifference, ...]:
    """Return the metadata fields that differ between two paired versions.

    Numbers and times always differ, and are reported elsewhere.
    """
    one, other = source.version, target.version
    found = list(_tags("tags", dict(one.tags), dict(other.tags)))
    if (one.description or "") != (other.description or ""):
        found.append(FieldDifference("description", one.description or "none", other.description or "none"))
    alias = names.alias_of_stage(one.stage)
    aliases = set(one.aliases) | ({alias} if alias else set())
    if aliases != set(other.aliases):
        found.append(FieldDifference("aliases", _listed(aliases), _listed(set(other.aliases))))
    if one.stage != other.stage and not (alias in other.aliases and other.stage is None):
        found.append(FieldDifference("stage", one.stage or "none", other.stage or "none"))
    if one.status != other.status and one.status != UNLISTED:
        found.append(FieldDifference("status", one.status, other.status))
    if None not in (source.run, target.run) and source.run not in (target.run, RunState.NONE):
        found.append(FieldDifference("run", _run_words(source.run), _run_words(target.run)))
    return tuple(found)


def model_differences(source: RegisteredModel, target: RegisteredModel) -> tuple[FieldDifference, ...]:
    found = list(_tags("tags", dict(source.tags), dict(target.tags)))
    if (source.description or "") != (target.description or ""):
        found.append(FieldDifference("description", source.description or "none", target.description or "none"))
    return tuple(found)


def _tags(field: str, one: dict[str, str], other: dict[str, str]) -> Iterator[FieldDifference]:
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            yield FieldDifference(f"{field}.{key}", one.get(key, "none"), other.get(key, "none"))


def _listed(aliases: set[str]) -> str:
    return ", ".join(sorted(aliases)) or "none"


def _run_words(state: RunState | None) -> str:
    return {
        None: "not known",
        RunState.ACTIVE: "active",
        RunState.DELETED: "in the trash",
        RunState.MISSING: "gone",
        RunState.NONE: "none",
    }[state]
