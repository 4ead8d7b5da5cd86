"""What a comparison of two registries is asked to do, and the configuration file that names the two."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from registry_audit.audit.options import DEFAULT_WORKERS, AuditOptions, checked_options
from registry_audit.compare_config import mapping_of, pairs_of, read_text, text_of
from registry_audit.errors import UsageError
from registry_audit.migration.facts import RULE_VERSIONS
from registry_audit.migration.names import NameMap
from registry_audit.printable import printable
from registry_audit.registry.connection import Server, each_with_its_own
from registry_audit.verdict import Severity

SideName = Literal["source", "target"]
SIDES: tuple[SideName, SideName] = ("source", "target")
_KEYS = ("host", "registry_uri", "username_env", "password_env", "token_env")


@dataclass(frozen=True, slots=True)
class MigrationConfig:
    source: Server
    target: Server

    def servers(self, owner_uri: str | None = None) -> tuple[Server, Server]:
        """The source first; see `each_with_its_own`."""
        return each_with_its_own(self.source, self.target, owner_uri)


def load_migration_config(path: Path) -> MigrationConfig:
    """Read and check the configuration of a comparison of two registries.

    Raises:
        UsageError: the file cannot be read, is not YAML, or a key is given twice, unknown, missing or not a text;
            the message names the line.
    """
    return parse_migration_config(read_text(path, "--config-file"), str(path))


def parse_migration_config(text: str, name: str) -> MigrationConfig:
    """Raises: UsageError: see `load_migration_config`."""
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
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{name}, line {line}: {key} needs a host")
    values: dict[str, Any] = {}
    for field_name, value, value_line in pairs_of(node, name):
        if field_name not in _KEYS:
            known = ", ".join(_KEYS)
            raise UsageError(f"{name}, line {value_line}: unknown key '{printable(field_name)}'; known are {known}")
        values[field_name] = text_of(value, f"{name}, line {value_line}: {field_name}")
    if "host" not in values:
        raise UsageError(f"{name}, line {line}: {key} has no host")
    if ("username_env" in values) != ("password_env" in values):
        raise UsageError(f"{name}, line {line}: {key} needs both of username_env and password_env, or neither")
    return Server(values.pop("host"), **values)


# What a comparison of two registries is asked to do.


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    models: tuple[str, ...] = ()  # glob patterns on the source's names, case-sensitive; none means all
    names: NameMap = field(default_factory=NameMap)
    one_way: bool = False  # ask only whether all of the source is in the target
    in_place: bool = False  # files were to stay where they are: one storage behind both is then no gap
    fail_on: Severity = Severity.MEDIUM
    workers: int = DEFAULT_WORKERS  # versions at once, of each registry
    limits: Mapping[str, int | None] = field(default_factory=dict)  # fields of `AuditOptions` that begin with `max_`
    quick: bool = False  # trust what an unchanged fingerprint says of bytes that audits of either registry have read
    full_every: int | None = None  # days after which `quick` reads in full all the same
    ledger: str | None = field(default=None, repr=False)  # of those audits; only read, and only with `quick`

    def of(self, server: Server) -> AuditOptions:
        """How one of the two registries is read.

        Raises:
            UsageError: a limit is unknown or no positive number, or `quick` has no ledger.
        """
        limits: dict[str, Any] = {name: bound for name, bound in self.limits.items() if bound is not None}
        uris = {"tracking_uri": server.tracking_uri, "registry_uri": server.registry_uri}
        trust = {"quick": self.quick, "full_every": self.full_every, "ledger": self.ledger if self.quick else None}
        return checked_options(**uris, **trust, **limits)

    def reported(self) -> dict[str, object]:
        """What a report states: all that changes what it says."""
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
