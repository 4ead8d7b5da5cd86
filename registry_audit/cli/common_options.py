"""Options that several commands have: server, ledger, limits, keys; and what was typed, as the options of an audit."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from registry_audit.errors import UsageError

if TYPE_CHECKING:
    from registry_audit.audit.options import AuditOptions


def audit_options(chosen: dict[str, Any]) -> "AuditOptions":
    """Raises: UsageError: an option is none, or contradicts another; the message names it."""
    from pydantic import ValidationError

    from registry_audit.audit.options import AuditOptions, problem_of

    try:
        # What was not typed is left to its default; no ledger is a choice of its own.
        given = {name: value for name, value in chosen.items() if value is not None or name == "ledger"}
        return AuditOptions(**given)
    except ValidationError as error:
        raise UsageError(problem_of(error, lambda name: f"--{name.replace('_', '-')}")) from None


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


# Which ledger a command uses.

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


# How much one model may make a command do.

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


# Which server a command asks.


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--tracking-uri` and `--registry-uri`, with MLflow's own environment variables behind them."""
    command = click.option(
        "--registry-uri",
        envvar="MLFLOW_REGISTRY_URI",
        metavar="URI",
        help="Model registry, where it is not the tracking server. [env: MLFLOW_REGISTRY_URI]",
    )(command)
    return click.option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        metavar="URI",
        help="Tracking server: http(s)://..., sqlite:///..., postgresql://..., databricks. [env: MLFLOW_TRACKING_URI]",
    )(command)


def registry_name_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--registry-name",
        metavar="NAME",
        help="Name of the registry in the ledger, whatever its address. [default: recognised by its versions]",
    )(command)


def registry_names_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Of a command that asks two servers."""
    return click.option(
        "--registry-name",
        "registry_names",
        multiple=True,
        metavar="NAME",
        help="Name of the registry in the ledger, whatever its address. Give it twice for two registries: first for "
        "tracking_server_1. [default: registry_name in the configuration, else recognised by its versions]",
    )(command)


def required_tracking_uri(tracking_uri: str | None) -> str:
    """Raises: UsageError: there is none; MLflow would then make a fresh, empty registry of its own."""
    if not tracking_uri:
        raise UsageError("which tracking server? Give --tracking-uri or set MLFLOW_TRACKING_URI")
    return tracking_uri


# Which key signatures in models are verified with.


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--signing-key` or `--signing-certificate-chain`; without either a signature is only reported."""
    command = click.option(
        "--signing-ignore-unsigned-files",
        "signing_ignore_unsigned",
        is_flag=True,
        help="Accept files that a signature does not name: the status is then partial.",
    )(command)
    command = click.option(
        "--signing-ignore-path",
        "signing_ignore_paths",
        multiple=True,
        metavar="PATH",
        help="File or directory in the model that need not be signed; may be repeated.",
    )(command)
    command = click.option(
        "--signing-certificate-chain",
        metavar="FILE",
        help="Instead of a key: PEM certificates that the signing certificate must chain to.",
    )(command)
    return click.option(
        "--signing-key",
        envvar="REGISTRY_AUDIT_SIGNING_KEY",
        metavar="FILE",
        help="PEM public key to verify the model.sig of each model with. [env: REGISTRY_AUDIT_SIGNING_KEY]",
    )(command)
