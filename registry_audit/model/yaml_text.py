"""Reads untrusted YAML as data: within bounds, and with one error for anything that is wrong with it."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_MAX_FILE_BYTES = 1 << 20
_MAX_NODES = 50_000  # every alias and merge counts as the nodes that it stands for, and a long text as several
_MAX_DEPTH = 100
_CHARACTERS_OF_A_NODE = 1_000
# YAML reads 1:30 as a number to the base 60, in time quadratic in the number of parts. Python shows no number of more
# than 4,300 digits, which is 3,570 hexadecimal digits.
_MAX_NUMBER_CHARACTERS = 3_000
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NUMBER = re.compile(r"[-+0-9_:.]+|[-+_]*0_*[bx][0-9a-fA-F_]+")


class UnreadableYaml(ValueError):
    """The text cannot be read as YAML; the message says why in a few words."""


def read_yaml(text: str) -> Any:
    """Return the contents as dicts, lists and scalars. Nothing that the text names is ever loaded or imported.

    Raises:
        UnreadableYaml: the text is not YAML, or would be so large once built that it is an attack.
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C if available
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UnreadableYaml(f"is not valid YAML{where}") from error
    except Exception as error:  # an empty !!timestamp is an AttributeError, a merge into a list a TypeError, ...
        raise UnreadableYaml("is not valid YAML") from error


def read_yaml_file(file: Path) -> dict[str, Any]:
    """Return the mapping in a small file.

    Raises:
        UnreadableYaml: the file is missing, cannot be read or holds no mapping; the message says why in a few words.
    """
    try:
        # Non-blocking: a FIFO put in the file's place must not hang the audit.
        with os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UnreadableYaml("is no regular file")
            content = stream.read(_MAX_FILE_BYTES + 1)
            if len(content) > _MAX_FILE_BYTES:  # its beginning alone might be read as another mapping
                raise UnreadableYaml("is larger than 1 MiB")
            fields = read_yaml(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise UnreadableYaml("is missing") from error
    except OSError as error:
        raise UnreadableYaml(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableYaml("is not valid YAML") from error
    if not isinstance(fields, dict):
        raise UnreadableYaml("is empty or no mapping")
    return fields


def _check_events(text: str) -> None:
    """Refuse what would grow without end while YAML builds it, judging by the parser's events before anything is built.

    YAML's C parser builds nested nodes on the processor's stack, and copies what a merge (`<<: *name`) names each
    time: a few hundred bytes of merges of merges mean billions of entries.
    """
    sizes, open_nodes = dict[str, int](), [_Node(None)]  # of named nodes, with all they hold
    for event in yaml.parse(text, Loader=_LOADER):
        match event:
            case yaml.CollectionStartEvent():
                open_nodes.append(_Node(event.anchor))
                if event.anchor is not None:
                    sizes[event.anchor] = _MAX_NODES + 1  # a node inside itself has no end
            case yaml.CollectionEndEvent():
                ended = open_nodes.pop()
                open_nodes[-1].size += ended.size
                if ended.anchor is not None:
                    sizes[ended.anchor] = ended.size
            case yaml.ScalarEvent():
                _check_number(event)
                size = 1 + len(event.value) // _CHARACTERS_OF_A_NODE
                open_nodes[-1].size += size
                if event.anchor is not None:
                    sizes[event.anchor] = size
            case yaml.AliasEvent():
                open_nodes[-1].size += sizes.get(event.anchor or "", 1)
            case _:
                pass
        if len(open_nodes) > _MAX_DEPTH:
            raise ValueError("nested too deep")
        if open_nodes[-1].size > _MAX_NODES:
            raise ValueError("too many nodes")


@dataclass(slots=True)
class _Node:
    """Counts the nodes of a list or mapping that has begun."""

    anchor: str | None
    size: int = 1


def _check_number(scalar: yaml.ScalarEvent) -> None:
    """Refuse numbers with too many digits. Python also accepts blanks around a number, and any script's digits."""
    if len(scalar.value) > _MAX_NUMBER_CHARACTERS and (scalar.tag in _NUMBERS or _NUMBER.fullmatch(scalar.value)):
        raise ValueError("a number of too many digits")


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
