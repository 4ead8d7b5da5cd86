"""How much one model may make a command do."""

from collections.abc import Callable
from typing import Any

import click

_LIMITS = (
    ("--max-files", "Most files a model may list."),
    ("--max-directories", "Most directories a model may list."),
    ("--max-depth", "Most directories a model may nest."),
    ("--max-bytes", "Most bytes a model may list."),
    ("--max-version-seconds", "Longest a version may take."),
    ("--max-requests", "Most requests in flight to servers."),
    ("--max-bytes-per-second", "Most bytes read from servers in a second."),
)

_OF_A_LISTING = (
    ("--max-listing-seconds", "Longest the listing may take."),
    ("--max-versions", "Most versions a registry may list."),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The limits that hold for the reading of one version; without them those of docs/limits.md."""
    return _with(_LIMITS, command)


def listing_limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The limits that hold for the listing of a registry."""
    return _with(_OF_A_LISTING, command)


def _with(limits: tuple[tuple[str, str], ...], command: Callable[..., Any]) -> Callable[..., Any]:
    for option, text in reversed(limits):
        command = click.option(option, type=click.IntRange(1), metavar="N", help=text)(command)
    return command
