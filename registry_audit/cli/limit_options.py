"""How much one model may make a command do."""

from collections.abc import Callable
from typing import Any

import click

_LIMITS = (
    ("--max-files", "Maximum number of files in a model."),
    ("--max-directories", "Maximum number of directories in a model."),
    ("--max-depth", "Maximum depth of directories in a model."),
    ("--max-bytes", "Maximum size of a model, in bytes."),
    ("--max-version-seconds", "Maximum time for one version, in seconds."),
    ("--max-requests", "Maximum number of concurrent requests to servers."),
    ("--max-bytes-per-second", "Maximum bytes per second read from servers."),
)

_OF_A_LISTING = (
    ("--max-listing-seconds", "Maximum time for listing a registry, in seconds."),
    ("--max-versions", "Maximum number of versions in a registry."),
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
