"""The directories of MLflow's file store, which holds versions that MLflow leaves out of every listing.

A directory whose `meta.yaml` is missing or damaged is passed over with a warning in a log. A migration that lists with
MLflow loses it without a word, and so would a comparison.
"""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.version import Key

_MODELS, _META = "models", "meta.yaml"
_PROMPT = Path("tags", "mlflow.prompt.is_prompt")
_DELETED = "Deleted_Internal"  # the stage of a version that was deleted: its directory stays
_MAX_META_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Unlisted:
    name: str
    version: str
    reason: str


def unlisted_versions(root: Path, listed: Container[Key]) -> Iterator[Unlisted]:
    """Versions that have a directory in the store and that no listing shows; deleted ones and prompts excluded.

    Raises:
        CouldNotVerify: a directory cannot be read.
    """
    for model in _directories(root / _MODELS):
        if (model / _PROMPT).exists():
            continue
        for directory in _directories(model):
            head, dash, number = directory.name.partition("-")
            if head != "version" or not dash or not number.isascii() or not number.isdecimal():
                continue
            if (model.name, str(int(number))) in listed:
                continue
            reason = _reason(model, directory)
            if reason is not None:
                yield Unlisted(model.name, str(int(number)), reason)


def _reason(model: Path, directory: Path) -> str | None:
    """Why MLflow does not list it; None of a version that was deleted."""
    damage = _damage(directory / _META)
    if damage == _DELETED:
        return None
    damage = damage or _damage(model / _META)
    told = f"its directory is in the file store, but {damage}" if damage else "its directory is in the file store"
    return f"MLflow does not list it: {told}"


def _damage(meta: Path) -> str | None:
    shown = f"{meta.parent.name}/{_META}"
    try:
        with meta.open("rb") as file:
            content = file.read(_MAX_META_BYTES)
        fields = yaml.safe_load(content)
    except FileNotFoundError:
        return f"{shown} is missing"
    except OSError as error:
        return f"{shown} cannot be read: {error.strerror}"
    except (yaml.YAMLError, ValueError, RecursionError):
        return f"{shown} is not valid YAML"
    if not isinstance(fields, dict):
        return f"{shown} is empty or no mapping"
    return _DELETED if fields.get("current_stage") == _DELETED else None


def _directories(root: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(root) if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CouldNotVerify(f"{root} cannot be read: {error.strerror}") from error
