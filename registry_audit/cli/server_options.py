"""Which server a command asks."""

from collections.abc import Callable
from typing import Any

import click

from registry_audit.errors import UsageError


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
