"""Colours of the report's text on a terminal."""

import os
import re
import sys

import click

_SEVERITY = re.compile(r"\b(critical|high|medium|low)\b")
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
        return click.style(line, fg=_OF_SIGN[sign[0]])
    words = line.split()
    if words[:1] == ["Result"] and len(words) > 1 and words[1] in _OF_RESULT:
        return click.style(line, fg=_OF_RESULT[words[1]], bold=True)
    if words and words[0] in _OF_SEVERITY:
        return _SEVERITY.sub(lambda match: click.style(match[0], fg=_OF_SEVERITY[match[0]], bold=True), line, count=1)
    return line
