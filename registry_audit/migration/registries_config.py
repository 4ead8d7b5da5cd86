"""Defines the input of `compare-registries`: the two registries, how names were mapped, and the options."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import yaml

from registry_audit.audit.options import DEFAULT_WORKERS, AuditOptions, checked_options
from registry_audit.compare_config import mapping_of, pairs_of, read_text, server_fields
from registry_audit.errors import UsageError
from registry_audit.migration.facts import RULE_VERSIONS
from registry_audit.printable import printable
from registry_audit.refs import STAGES
from registry_audit.registry.connection import Server, each_with_its_own
from registry_audit.registry.version import Key
from registry_audit.verdict import Severity

SideName = Literal["source", "target"]
SIDES: tuple[SideName, SideName] = ("source", "target")
_REQUIRED, _OPTIONAL = ("host",), ("registry_uri", "username_env", "password_env", "token_env")


@dataclass(frozen=True, slots=True)
class MigrationConfig:
    source: Server
    target: Server

    def servers(self, owner_uri: str | None = None, registry_owner_uri: str | None = None) -> tuple[Server, Server]:
        """Return source and target, in this order; see `each_with_its_own`."""
        return each_with_its_own(self.source, self.target, owner_uri, registry_owner_uri)


def load_migration_config(path: Path) -> MigrationConfig:
    """Read and check the configuration of a comparison of two registries.

    Raises:
        UsageError: the file cannot be read, is not YAML, or a key is given twice, unknown, missing or not a text;
            the message names the line.
    """
    return parse_migration_config(read_text(path, "--config-file"), str(path))


def parse_migration_config(text: str, name: str) -> MigrationConfig:
    """Parse the configuration of a comparison. Raises: UsageError: see `load_migration_config`."""
    root = mapping_of(text, name, "give source and target, each with its host")
    servers: dict[str, Server] = {}
    for key, node, line in pairs_of(root, name):
        if key not in SIDES:
            raise UsageError(f"{name}, line {line}: unknown key '{printable(key)}'; known are {', '.join(SIDES)}")
        servers[key] = _server(node, key, line, name)
    for side in SIDES:
        if side not in servers:
            raise UsageError(f"{name}, line {root.start_mark.line + 1}: {side} is missing")
    return MigrationConfig(servers["source"], servers["target"])


def _server(node: yaml.Node, key: str, line: int, name: str) -> Server:
    values: dict[str, Any] = {**server_fields(node, key, line, name, required=_REQUIRED, optional=_OPTIONAL)}
    return Server(values.pop("host"), **values)


# A map says what models, versions and stages of the source are called in the target.

_ARROW = re.compile(r"\s+->\s+")
_VERSION = re.compile(r"(?P<name>.+)/(?P<version>[1-9][0-9]{0,17})", re.DOTALL)
_STAGE = "stage:"


@dataclass(frozen=True, slots=True)
class Pattern:
    """This is one line of a map. `*` stands for any text, and for the same text on the other side."""

    source: str
    target: str

    def forward(self, name: str, *, any_case: bool) -> str | None:
        return _rewritten(self.source, self.target, name, any_case=any_case)

    def backward(self, name: str, *, any_case: bool) -> str | None:
        return _rewritten(self.target, self.source, name, any_case=any_case)


@dataclass(frozen=True, slots=True)
class Spelling:
    """Spells names as one registry does. Unity Catalog finds a model whatever the case of its name."""

    kept: Mapping[str, str] | None = None  # its names, by lower-case name; None if names are case-sensitive

    @staticmethod
    def of(names: Iterable[str], *, any_case: bool) -> "Spelling":
        return Spelling({name.lower(): name for name in names} if any_case else None)

    @property
    def any_case(self) -> bool:
        return self.kept is not None

    def __call__(self, name: str) -> str:
        """Return the name as the registry spells it, or in lower case if it has no such name."""
        return name if self.kept is None else self.kept.get(name.lower(), name.lower())


@dataclass(frozen=True, slots=True)
class NameMap:
    """This is the map of one migration. A name that no line matches stays as it is."""

    patterns: tuple[Pattern, ...] = ()
    versions: tuple[tuple[Key, Key], ...] = ()  # pairs that a person named
    stages: tuple[tuple[str, str], ...] = ()  # stage in the source, and the alias in the target that replaces it
    source: Spelling = Spelling()
    target: Spelling = Spelling()

    def between(self, source: Spelling, target: Spelling) -> "NameMap":
        """Return the map for two registries that were listed.

        Raises:
            UsageError: two lines are equal in a registry that ignores case.
        """
        _must_be_said_once((pattern.source for pattern in self.patterns), source)
        for keys, spelling in zip(zip(*self.versions, strict=True), (source, target), strict=False):
            _must_be_said_once((f"{name}/{number}" for name, number in keys), spelling)
        versions = tuple(((source(one[0]), one[1]), (target(other[0]), other[1])) for one, other in self.versions)
        return replace(self, versions=versions, source=source, target=target)

    def target_of(self, name: str) -> str:
        """Return a model's name in the target.

        A line without wildcards wins over patterns; else the first match wins.
        """
        for pattern in (*self._exact(), *self.patterns):
            if (mapped := pattern.forward(name, any_case=self.source.any_case)) is not None:
                return self.target(mapped)
        return self.target(name)

    def sources_of(self, name: str) -> tuple[str, ...]:
        """Return the names that a model of the target may have had in the source."""
        led = (pattern.backward(name, any_case=self.target.any_case) for pattern in self.patterns)
        candidates = [self.source(found) for found in (*led, name) if found is not None]
        return tuple(dict.fromkeys(found for found in candidates if self.target_of(found) == name))

    def alias_of_stage(self, stage: str | None) -> str | None:
        return dict(self.stages).get(stage or "")

    def reported(self) -> list[str]:
        """Return the lines of the map in a canonical form."""
        return [
            *(f"{pattern.source} -> {pattern.target}" for pattern in self.patterns),
            *(f"{one[0]}/{one[1]} -> {other[0]}/{other[1]}" for one, other in self.versions),
            *(f"{_STAGE}{stage} -> @{alias}" for stage, alias in self.stages),
        ]

    def _exact(self) -> tuple[Pattern, ...]:
        return tuple(pattern for pattern in self.patterns if "*" not in pattern.source)


def load_map(path: Path | None) -> NameMap:
    """Read a map: a line `A -> B` for names, `A/3 -> B/1` for versions, `stage:Production -> @champion` for stages.

    Raises:
        UsageError: the file cannot be read, or a line is none of these; the message names the line.
    """
    return NameMap() if path is None else parse_map(read_text(path, "--map"), str(path))


def parse_map(text: str, name: str) -> NameMap:
    """Parse the text of a map. Raises: UsageError: see `load_map`."""
    return _map_of(_mappings_in(text, name), name)


def map_of(mapping: object, name: str) -> NameMap:
    """Make a map of a mapping in Python. Its names may hold anything, also line breaks and arrows.

    Raises:
        UsageError: it is no mapping of texts to texts, or see `load_map`; the message counts its entries as lines.
    """
    if not isinstance(mapping, Mapping) or not all(isinstance(text, str) and text for text in chain(*mapping.items())):
        raise UsageError(f'{name}: give a mapping of texts to texts, as {{"Wine": "main.ml.wine"}}')
    return _map_of(((number, one, other) for number, (one, other) in enumerate(mapping.items(), 1)), name)


def _mappings_in(text: str, name: str) -> Iterator[tuple[int, str, str]]:
    """Yield number and both sides of each line. Raises: UsageError: a line has no two sides."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        sides = _ARROW.split(stripped)
        if len(sides) != 2 or not all(sides):
            raise UsageError(
                f"{name}, line {number}: write one mapping a line, as `Wine -> main.ml.wine` or `* -> main.ml.*`"
            )
        yield number, sides[0], sides[1]


def _map_of(mappings: Iterable[tuple[int, str, str]], name: str) -> NameMap:
    patterns, versions, stages = dict[str, Pattern](), dict[Key, Key](), dict[str, str]()
    taken: dict[Key, int] = {}
    for number, one, other in mappings:
        where = f"{name}, line {number}"
        left, right = _VERSION.fullmatch(one), _VERSION.fullmatch(other)
        if one.startswith(_STAGE):
            _add(stages, _stage(one, where), _alias(other, where), where)
        elif left and right:
            target = right["name"], right["version"]
            if target in taken:
                raise UsageError(f"{where}: {printable(other)} is the target of line {taken[target]} already")
            taken[target] = number
            _add(versions, (left["name"], left["version"]), target, where)
        else:
            if left or right:
                raise UsageError(f"{where}: a version is mapped to a version, as `Wine/3 -> main.ml.wine/1`")
            if one.count("*") != other.count("*"):
                raise UsageError(f"{where}: both sides need the same number of *")
            _add(patterns, one, Pattern(one, other), where)
    return NameMap(tuple(patterns.values()), tuple(versions.items()), tuple(stages.items()))


def _add(found: dict, key: object, value: object, where: str) -> None:  # type: ignore[type-arg]
    if key in found:
        shown = key if isinstance(key, str) else "/".join(key) if isinstance(key, tuple) else ""
        raise UsageError(f"{where}: '{printable(shown)}' is mapped on an earlier line already")
    found[key] = value


def _stage(text: str, where: str) -> str:
    named = text.removeprefix(_STAGE).strip()
    for stage in STAGES[1:]:
        if named.lower() == stage.lower():
            return stage
    raise UsageError(f"{where}: '{printable(named)}' is no stage: {', '.join(STAGES[1:])}")


def _alias(text: str, where: str) -> str:
    if not text.startswith("@") or len(text) < 2:
        raise UsageError(f"{where}: a stage is mapped to an alias, as `stage:Production -> @champion`")
    return text[1:]


def _must_be_said_once(texts: Iterable[str], spelling: Callable[[str], str]) -> None:
    seen = dict[str, str]()
    for text in texts:
        first = seen.setdefault(spelling(text), text)
        if first is not text:
            raise UsageError(
                f"the map says '{printable(first)}' and '{printable(text)}', and this registry ignores case: "
                "leave out one of them"
            )


def _rewritten(pattern: str, other: str, name: str, *, any_case: bool) -> str | None:
    if "*" not in pattern:
        return other if name == pattern or (any_case and name.lower() == pattern.lower()) else None
    flags = re.DOTALL | (re.IGNORECASE if any_case else re.NOFLAG)
    found = re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), name, flags)
    if found is None:
        return None
    pieces = other.split("*")
    return "".join(piece + part for piece, part in zip(pieces, (*found.groups(), ""), strict=True))


# The options of a comparison of two registries.


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    models: tuple[str, ...] = ()  # glob patterns on the source's names, case-sensitive; none means all
    names: NameMap = field(default_factory=NameMap)
    one_way: bool = False  # only check whether all of the source is in the target
    in_place: bool = False  # files were meant to stay in place: one storage behind both sides is then accepted
    fail_on: Severity = Severity.MEDIUM
    workers: int = DEFAULT_WORKERS  # versions read at once, per registry
    limits: Mapping[str, int | None] = field(default_factory=dict)  # fields of `AuditOptions` that begin with `max_`
    quick: bool = False  # skip bytes that an audit of either registry has read if their fingerprint is unchanged
    full_every: int | None = None  # number of days after which `quick` still reads in full
    ledger: str | None = field(default=None, repr=False)  # the ledger of those audits; only read, and only with `quick`

    def of(self, server: Server) -> AuditOptions:
        """Return the options for reading one of the two registries.

        Raises:
            UsageError: a limit is unknown or not a positive number, or `quick` has no ledger.
        """
        limits: dict[str, Any] = {name: bound for name, bound in self.limits.items() if bound is not None}
        uris = {"tracking_uri": server.tracking_uri, "registry_uri": server.registry_uri}
        trust = {"quick": self.quick, "full_every": self.full_every, "ledger": self.ledger if self.quick else None}
        return checked_options(**uris, **trust, **limits)

    def reported(self) -> dict[str, object]:
        """Return everything that influences the result, for the report."""
        return {
            "models": list(self.models),
            "map": self.names.reported(),
            "one_way": self.one_way,
            "in_place": self.in_place,
            "quick": self.quick,
            "full_every": self.full_every,
            "fail_on": self.fail_on.value,
            "digest": "sha256",
            "rules": dict(sorted(RULE_VERSIONS.items())),
        }
