"""Reads the directories of MLflow's file store, which may hold versions that MLflow leaves out of every listing.

MLflow skips a directory whose `meta.yaml` is missing or damaged, with a warning in a log. A migration that lists with
MLflow silently loses such a version, and so would a comparison.
"""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_audit.errors import CouldNotVerify
from registry_audit.model.yaml_text import UnreadableYaml, read_yaml_file
from registry_audit.registry.prompts import SOURCES, TEXT_TAG
from registry_audit.registry.version import Key

_MODELS, _META = "models", "meta.yaml"
_DELETED = "Deleted_Internal"  # stage of a deleted version, whose directory remains


@dataclass(frozen=True, slots=True)
class Unlisted:
    name: str
    version: str
    reason: str


def unlisted_versions(root: Path, listed: Container[Key], prompts: Container[str] = ()) -> Iterator[Unlisted]:
    """Yield versions that have a directory in the store but are in no listing, without deleted ones and prompts.

    Args:
        prompts: names that the listing showed to be prompts.

    Raises:
        CouldNotVerify: a directory cannot be read.
    """
    for model in _directories(root / _MODELS):
        if model.name in prompts:
            continue
        for directory in _entries(model):
            head, dash, number = directory.name.partition("-")
            if head != "version" or not dash or not number.isascii() or not number.isdecimal():
                continue
            if (model.name, str(int(number))) in listed:
                continue
            reason = _reason(model, directory)
            if reason is not None:
                yield Unlisted(model.name, str(int(number)), reason)


def _reason(model: Path, directory: Path) -> str | None:
    """Say why MLflow does not list a version; None if it was deleted or belongs to a prompt."""
    meta = _meta(directory / _META)
    if isinstance(meta, dict):
        has_text = os.path.exists(directory / "tags" / TEXT_TAG)  # noqa: PTH110 - never raises
        is_prompt = has_text and meta.get("source") in SOURCES
        if meta.get("current_stage") == _DELETED or is_prompt:
            return None
        meta = _meta(model / _META)
    told = "its directory is in the file store"
    return f"MLflow does not list it: {told}" + (f", but {meta}" if isinstance(meta, str) else "")


def _meta(file: Path) -> dict[str, Any] | str:
    """Return the content of the file, or a text that says what is wrong with it."""
    try:
        return read_yaml_file(file)
    except UnreadableYaml as error:
        return f"{file.parent.name}/{file.name} {error}"


def _directories(root: Path) -> list[Path]:
    try:
        return [entry for entry in _entries(root) if entry.is_dir()]
    except OSError as error:
        raise CouldNotVerify(f"{root} cannot be read: {error.strerror}") from error


def _entries(root: Path) -> list[Path]:
    """List all entries, also a version's directory that is a broken link."""
    try:
        return sorted(map(Path, os.scandir(root)))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CouldNotVerify(f"{root} cannot be read: {error.strerror}") from error
