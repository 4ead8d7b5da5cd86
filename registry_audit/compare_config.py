"""Reads the configuration of a comparison, strictly, because a wrong one silently compares the wrong models.

YAML itself keeps the last of two equal keys; mlflow-tools' own example has that mistake. Here every error
names its line.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact
from registry_audit.refs import Selector, parse_selector

MAX_REGISTRY_NAME = 200  # characters
_SERVER_KEYS = {"tracking_server_1": 0, "tracking_server_01": 0, "tracking_server_2": 1, "tracking_server_02": 1}
_NULL = "tag:yaml.org,2002:null"
_REQUIRED = ("host", "model", "version_or_stage")
_OPTIONAL = ("native_model", "registry_uri", "registry_name", "username_env", "password_env", "token_env")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    host: str = field(repr=False)
    model: str
    version_or_stage: str
    native_model: str | None = None
    registry_uri: str | None = field(default=None, repr=False)
    username_env: str | None = None  # names of environment variables, so that the file holds no secret
    password_env: str | None = None
    token_env: str | None = None
    registry_name: str | None = None  # the name by which the ledger knows the registry, whatever its address

    @property
    def selector(self) -> Selector:
        return parse_selector(self.version_or_stage)

    def reported(self) -> dict[str, str]:
        """Return the configuration as in the file, with credentials redacted."""
        values = {key: getattr(self, key) for key in (*_REQUIRED, *_OPTIONAL)}
        return {key: redact(value) for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class CompareConfig:
    tracking_server_1: ServerConfig
    tracking_server_2: ServerConfig

    @property
    def servers(self) -> tuple[ServerConfig, ServerConfig]:
        return self.tracking_server_1, self.tracking_server_2

    def named(self, registry_names: tuple[str, ...]) -> "CompareConfig":
        """Return the configuration with the registry names given on the command line, which replace those of the file.

        Args:
            registry_names: none, one for both servers if they are one registry, or one for each.

        Raises:
            UsageError: one name was given for two servers, or more than two names were given.
        """
        if not registry_names:
            return self
        addresses = {server.registry_uri or server.host for server in self.servers}
        if len(registry_names) > 2 or len(registry_names) < len(addresses):
            raise UsageError(
                "--registry-name is given once where both versions are of one registry, and else twice: first for "
                "tracking_server_1, then for tracking_server_2"
            )
        for name in registry_names:
            _must_be_registry_name(name, "--registry-name")
        one, two = self.servers
        return CompareConfig(
            replace(one, registry_name=registry_names[0]), replace(two, registry_name=registry_names[-1])
        )

    def reported(self) -> dict[str, Any]:
        return {f"tracking_server_{n}": server.reported() for n, server in enumerate(self.servers, 1)}


def load_compare_config(path: Path) -> CompareConfig:
    """Read and check a comparison's configuration.

    Raises:
        UsageError: the file cannot be read, is not YAML, or a key is given twice, unknown, missing or not a text;
            the message names the line.
    """
    return parse_compare_config(read_text(path, "--config-file"), str(path))


def read_text(path: Path, option: str) -> str:
    """Read a configuration file. Raises: UsageError: the file cannot be read, or is not UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")  # with or without the byte order mark that Windows writes
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path} is not UTF-8 text") from error


def parse_compare_config(text: str, name: str) -> CompareConfig:
    """Parse a comparison's configuration. Raises: UsageError: see `load_compare_config`."""
    root = mapping_of(text, name, f"give tracking_server_1 and tracking_server_2, each with {', '.join(_REQUIRED)}")
    servers: dict[int, ServerConfig] = {}
    for key, node, line in pairs_of(root, name, same=_SERVER_KEYS):
        if key not in _SERVER_KEYS:
            known = ", ".join(_SERVER_KEYS)
            raise UsageError(f"{name}, line {line}: unknown key '{printable(key)}'; known are {known}")
        servers[_SERVER_KEYS[key]] = _server(node, key, line, name)
    for index in (0, 1):
        if index not in servers:
            raise UsageError(f"{name}, line {root.start_mark.line + 1}: tracking_server_{index + 1} is missing")
    return CompareConfig(servers[0], servers[1])


def mapping_of(text: str, name: str, otherwise: str) -> yaml.MappingNode:
    """Return the root of a YAML file.

    Raises:
        UsageError: the text is not YAML, or no mapping; for the latter `otherwise` says what to give.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{name}, line {line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: not YAML") from error
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{name}: {otherwise}")
    return root


def server_fields(
    node: yaml.Node, key: str, line: int, name: str, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, str]:
    """Return the settings of one server, by key.

    Raises:
        UsageError: it is no mapping, or a key is unknown, missing, given twice or not a text.
    """
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{name}, line {line}: {key} needs {', '.join(required)}")
    values: dict[str, str] = {}
    for field_name, value, value_line in pairs_of(node, name):
        if field_name not in (*required, *optional):
            known = ", ".join((*required, *optional))
            raise UsageError(f"{name}, line {value_line}: unknown key '{printable(field_name)}'; known are {known}")
        values[field_name] = text_of(value, f"{name}, line {value_line}: {field_name}")
    for field_name in required:
        if field_name not in values:
            raise UsageError(f"{name}, line {line}: {key} has no {field_name}")
    if ("username_env" in values) != ("password_env" in values):
        raise UsageError(f"{name}, line {line}: {key} needs both of username_env and password_env, or neither")
    return values


def _server(node: yaml.Node, key: str, line: int, name: str) -> ServerConfig:
    values = server_fields(node, key, line, name, required=_REQUIRED, optional=_OPTIONAL)
    if "registry_name" in values:
        _must_be_registry_name(values["registry_name"], f"{name}, line {line}: registry_name")
    server = ServerConfig(**values)
    try:
        _ = server.selector
    except UsageError as error:
        raise UsageError(f"{name}, line {line}: {key}: version_or_stage: {error.message}") from error
    return server


def text_of(node: yaml.Node, where: str) -> str:
    """Return the text as written: a version 010 or 1e3 is what the person wrote, not what YAML makes of it.

    Blanks within quotes are kept, because the name of a model may hold them.

    Raises:
        UsageError: the node is no text, is empty, or is YAML's word for null.
    """
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise UsageError(f"{where} needs a text")
    if node.tag == _NULL:
        raise UsageError(f"{where} is {node.value}, which is YAML for nothing: leave the line out, or quote a name")
    return str(node.value) if node.style in ("'", '"') else str(node.value).strip()


def _must_be_registry_name(text: str, where: str) -> None:
    """Check a registry's name. Raises: UsageError: a ledger would not accept it."""
    if not 1 <= len(text) <= MAX_REGISTRY_NAME:
        raise UsageError(f"{where} has from 1 to {MAX_REGISTRY_NAME} characters")


def pairs_of(node: yaml.MappingNode, name: str, same: dict[str, int] | None = None) -> list[tuple[str, yaml.Node, int]]:
    """Return key, value and line of each pair. `same`: keys that mean the same thing have the same number."""
    seen: dict[object, int] = {}
    pairs = []
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        meaning = same.get(key, key) if same else key
        if meaning in seen:
            raise UsageError(f"{name}: '{printable(key)}' is given twice, on lines {seen[meaning]} and {line}")
        seen[meaning] = line
        pairs.append((key, value, line))
    return pairs
