"""Which ledger a command uses."""

from collections.abc import Callable
from typing import Any

import click

_NONE = "none"


def ledger_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--ledger",
        envvar="REGISTRY_AUDIT_LEDGER",
        metavar="URL",
        help="Database of baselines: sqlite:///PATH, postgresql://..., or none. [env: REGISTRY_AUDIT_LEDGER; "
        "default: a file in the user's data directory]",
    )(command)


def ledger_url(given: str | None) -> str | None:
    """The URL to use; None for no ledger at all."""
    if given == _NONE:
        return None
    if given:
        return given
    from registry_audit.home import default_ledger_url

    return default_ledger_url()
