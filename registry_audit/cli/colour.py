"""Colours of the report's text on a terminal."""

import os
import re
import sys
from typing import Any

import click

_SEVERITY = re.compile(r"\b(critical|high|medium|low)\b")
_RULE = re.compile(r"\tRA\d{3} (critical|high|medium|low)\b")
_OF_SEVERITY = {"critical": "red", "high": "red", "medium": "yellow", "low": "cyan"}
_OF_SIGN = {"*": "red", "!": "red", "?": "yellow", "=": "green", "@": "green", "~": "green"}
_OF_RESULT = {"Clean": "green", "Findings": "red", "Incomplete": "yellow"}


def coloured(text: str) -> str:
    """Lines of a report's text, coloured where stdout is a terminal and NO_COLOR is not set (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return "".join(_line(line) for line in text.splitlines(keepends=True))


def _line(line: str) -> str:
    sign = line.lstrip()[:2]
    if sign[1:] == " " and sign[0] in _OF_SIGN:
        found = _RULE.search(line)  # one storage that was read whole may still have a finding
        return _styled(line, fg=_OF_SEVERITY[found[1]] if found else _OF_SIGN[sign[0]])
    words = line.split()
    if words[:1] == ["Result"] and len(words) > 1 and words[1] in _OF_RESULT:
        return _styled(line, fg=_OF_RESULT[words[1]], bold=True)
    if words and words[0] in _OF_SEVERITY:
        return _SEVERITY.sub(lambda match: click.style(match[0], fg=_OF_SEVERITY[match[0]], bold=True), line, count=1)
    return line


def _styled(line: str, **style: Any) -> str:
    """The line in a colour that ends before its newline."""
    text = line.rstrip("\n")
    return click.style(text, **style) + line[len(text) :]
