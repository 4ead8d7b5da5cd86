"""Which key signatures in models are verified with."""

from collections.abc import Callable
from typing import Any

import click


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--signing-key` or `--signing-certificate-chain`; without either a signature is only reported."""
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
