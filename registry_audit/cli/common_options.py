"""What was typed, as the options of an audit."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from registry_audit.errors import UsageError

if TYPE_CHECKING:
    from registry_audit.audit.options import AuditOptions


def audit_options(chosen: dict[str, Any]) -> "AuditOptions":
    """Raises: UsageError: an option is none, or contradicts another; the message names it."""
    from pydantic import ValidationError

    from registry_audit.audit.options import AuditOptions

    try:
        # What was not typed is left to its default; no ledger is a choice of its own.
        given = {name: value for name, value in chosen.items() if value is not None or name == "ledger"}
        return AuditOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "".join(f"--{str(part).replace('_', '-')}: " for part in first["loc"][:1])
        raise UsageError(option + str(first["msg"]).removeprefix("Value error, ")) from None


def fail_on_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--fail-on",
        type=click.Choice(["low", "medium", "high", "critical"]),
        default="medium",
        show_default=True,
        help="Lowest severity of a finding that makes the exit status 1.",
    )(command)


def format_option(json_is: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Args:
        json_is: the file that json on stdout is the same as.
    """
    return click.option(
        "--format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help=f"What to print on stdout; json is {json_is}.",
    )
