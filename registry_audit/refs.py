"""Parses the ways in which a person can name a model version."""

from dataclasses import dataclass

from registry_audit.errors import UsageError
from registry_audit.printable import printable

# MLflow's stages, https://mlflow.org/docs/latest/model-registry; matched in any case, as its server does.
STAGES = ("None", "Staging", "Production", "Archived")

_MAX_DIGITS = 18  # digits of a version number; more would be a mistake, or an attack on int()


def has_three_levels(name: str) -> bool:
    """Say whether a model's name is `catalog.schema.model`, as every name in Unity Catalog is."""
    return name.count(".") == 2


@dataclass(frozen=True, slots=True)
class Number:
    version: str  # decimal without leading zeros


@dataclass(frozen=True, slots=True)
class Stage:
    stage: str  # as in STAGES


@dataclass(frozen=True, slots=True)
class Alias:
    alias: str  # case-sensitive


@dataclass(frozen=True, slots=True)
class Latest:
    """Selects the highest version number, whatever its stage."""


Selector = Number | Stage | Alias | Latest


def parse_selector(text: str) -> Selector:
    """Parse a version number, a stage in any case, `@alias` or `latest`.

    Only `@` means alias, because an alias may itself be called `1` or `Production`.

    Raises:
        UsageError: the text is none of these.
    """
    if text.startswith("@") and len(text) > 1:
        return Alias(text[1:])
    # str.isdigit alone would let a superscript two through, which int() refuses.
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) > 0:
        return Number(str(int(text)))
    if text.lower() == "latest":
        return Latest()
    for stage in STAGES:
        if text.lower() == stage.lower():
            return Stage(stage)
    raise UsageError(
        f"'{printable(text)}' is not a version: give a version number, a stage ({', '.join(STAGES).lower()}), "
        "@alias (with the @) or latest"
    )


def split_version(text: str) -> tuple[str, str]:
    """Split `NAME/V` or `NAME@ALIAS` into name and selector, at the last `/` or `@`, because a name may hold both.

    MLflow's own `models:/NAME/V` is accepted as the same version.

    Raises:
        UsageError: the text names no version.
    """
    if not isinstance(text, str):
        # A Python caller may pass a number, which does not say of which model.
        raise UsageError(f"{text!r} is not a version: write 'NAME/V' or 'NAME@ALIAS', for instance 'Wine/3'")
    given, text = text, text.removeprefix("models:/")
    at, slash = text.rfind("@"), text.rfind("/")
    name, selector = (text[:at], text[at:]) if at > slash + 1 else (text[:slash], text[slash + 1 :])
    if max(at, slash) < 1 or not name or len(selector) < 1 or selector == "@":
        raise UsageError(
            f"'{printable(given)}' is not a version: write NAME/V or NAME@ALIAS, for instance Wine/3 or Wine@champion"
        )
    return name, selector
