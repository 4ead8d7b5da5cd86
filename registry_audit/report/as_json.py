"""Renders a report as `audit.json`, which is read back, and from which every other format is made."""

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator

from registry_audit.report.document import AuditDocument, VersionRow
from registry_audit.report.registries_document import MigrationDocument

_NOT_ASCII = re.compile(r"[\x7f-\U0010ffff]")
# Escaped although JSON allows them raw: lone surrogates have no UTF-8 form, and the others could control the terminal
# on which the file is printed.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def chunks(document: AuditDocument) -> Iterator[str]:
    """Yield JSON text version by version. It can always be encoded as UTF-8, and ends in a newline.

    Keys of rows are in the order of their types; keys of mappings are sorted. A reader gets every string back
    unchanged, except what JSON cannot distinguish: a high and a low surrogate side by side become one character.
    """
    data = document.model_dump(mode="python", exclude={"versions"})
    data["options"] = sorted_keys(data["options"])
    data["summary"] = {key: sorted_keys(counts) for key, counts in data["summary"].items()}
    yield json_text(data).removesuffix("\n}") + ',\n  "versions": ['
    for number, row in enumerate(document.versions):
        yield (",\n" if number else "\n") + _version(row)
    yield "\n  ]\n}\n" if document.versions else "]\n}\n"


def _version(row: VersionRow) -> str:
    return textwrap.indent(json_text(row.model_dump(mode="python")), "    ")


def json_text(data: object) -> str:
    return _escaped(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def sorted_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: sorted_keys(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, list | tuple):
        return [sorted_keys(item) for item in value]
    return sorted(value, key=str) if isinstance(value, set | frozenset) else value


def _escaped(text: str) -> str:
    return _NOT_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    if unicodedata.category(char) not in _ESCAPED_CATEGORIES:
        return char
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def migration_chunks(document: MigrationDocument) -> Iterator[str]:
    """Yield JSON text version by version. It can always be encoded as UTF-8, and ends in a newline."""
    data = document.model_dump(mode="python", exclude={"versions"})
    data["options"] = sorted_keys(data["options"])
    yield json_text(data).removesuffix("\n}") + ',\n  "versions": ['
    for number, row in enumerate(document.versions):
        yield (",\n" if number else "\n") + textwrap.indent(json_text(row.model_dump(mode="python")), "    ")
    yield "\n  ]\n}\n" if len(document.versions) else "]\n}\n"
