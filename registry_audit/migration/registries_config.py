"""The two registries of a migration, as a configuration file names them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from registry_audit.compare_config import mapping_of, pairs_of, read_text
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.registry.connection import Server
from registry_audit.registry.two_servers import each_with_its_own

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
        if not isinstance(value, yaml.ScalarNode) or not value.value.strip():
            raise UsageError(f"{name}, line {value_line}: {field_name} needs a text")
        values[field_name] = value.value.strip()
    if "host" not in values:
        raise UsageError(f"{name}, line {line}: {key} has no host")
    if ("username_env" in values) != ("password_env" in values):
        raise UsageError(f"{name}, line {line}: {key} needs both of username_env and password_env, or neither")
    return Server(values.pop("host"), **values)
