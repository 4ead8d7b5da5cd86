"""Defines `RegistryAudit`, a block of the Prefect server with the configuration of one registry and encrypted secrets.

A team with several registries has a block for each, and names it in the parameter `registry` of a run or a schedule.
"""

import os
from dataclasses import replace
from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from registry_audit.audit.options import Count
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.redact import holds_credentials
from registry_audit.registry.connection import Server
from tasks.configuration import asked

_VARIABLES = {"username": "USERNAME", "password": "PASSWORD", "token": "TOKEN"}
_OPTIONS = ("tracking_uri", "registry_uri", "registry_name", "workers", "max_requests", "max_bytes_per_second")


class RegistryAudit(Block):
    """Describes one MLflow model registry: its address, credentials, ledger and limits."""

    _block_type_name = "Registry Audit"
    _block_type_slug = "registry-audit"
    _description = "One MLflow model registry to audit: server, sign-in, ledger and limits."

    tracking_uri: str = Field(description="Tracking server, without credentials.")
    registry_uri: str | None = Field(default=None, description="Model registry, if it is on another server.")
    registry_name: str | None = Field(default=None, description="What the ledger knows the registry by.")
    username: str | None = Field(default=None, description="To sign in to MLflow with a password.")
    password: SecretStr | None = Field(default=None, description="The user's password.")
    token: SecretStr | None = Field(default=None, description="To sign in with a token, in place of both.")
    ledger: SecretStr | None = Field(default=None, description="Database of baselines; its URL may hold a password.")
    workers: Count | None = Field(default=None, description="Versions at once.")
    max_requests: Count | None = Field(default=None, description="Maximum number of concurrent requests to servers.")
    max_bytes_per_second: Count | None = Field(default=None, description="Most bytes read in a second.")


def registry_block(name: str) -> RegistryAudit:
    """Load and check a block.

    Raises:
        UsageError: there is no such block, it contradicts itself, or an address in it holds credentials.
        Transient: the Prefect server does not answer.
    """
    load: Any = RegistryAudit.load
    try:
        found: RegistryAudit = asked(lambda: load(name, _sync=True))
    except ValueError as error:
        raise UsageError(
            f"there is no usable block registry-audit/{printable(name)}: make one in the UI (Blocks, Registry Audit), "
            "or in Python with tasks.registry_block.RegistryAudit(...).save(NAME)"
        ) from error
    if any(address and holds_credentials(address) for address in (found.tracking_uri, found.registry_uri)):
        raise UsageError(
            f"an address in the block registry-audit/{printable(name)} was given with credentials, and whoever sees "
            "Prefect sees it: consider them known, change them, and keep them in its username, password or token"
        )
    if (found.username is None) != (found.password is None) or (found.username and found.token):
        raise UsageError(f"the block registry-audit/{printable(name)} needs username and password, or token, or none")
    return found


def options_of_block(name: str) -> dict[str, Any]:
    """Return the fields of `AuditOptions` that the block sets. The ledger's URL may be a secret.

    Raises:
        UsageError, Transient: see `registry_block`.
    """
    block = registry_block(name)
    held = {field: getattr(block, field) for field in _OPTIONS}
    held["ledger"] = block.ledger.get_secret_value() if block.ledger else None
    return {field: value for field, value in held.items() if value is not None}


def signed_in(server: Server, name: str | None) -> Server:
    """Return the server with the names of the variables that `sign_in_as` sets. It contains no secret.

    MLflow's variables in the worker's environment belong to the worker's own server, and are not used for the block's.
    """
    if name is None:
        return server
    block = registry_block(name)
    given = {what: _variable(name, what) if getattr(block, what) is not None else None for what in _VARIABLES}
    return replace(
        server,
        username_env=given["username"],
        password_env=given["password"],
        token_env=given["token"],
        by_itself=True,
        registry_by_itself=True,
    )


def sign_in_as(name: str) -> None:
    """Put the credentials of the block into the environment variables that the server names."""
    block = registry_block(name)
    for what in _VARIABLES:
        value: Any = getattr(block, what)
        if value is None:
            os.environ.pop(_variable(name, what), None)
        else:
            os.environ[_variable(name, what)] = value.get_secret_value() if isinstance(value, SecretStr) else value


def _variable(block: str, what: str) -> str:
    # Names of blocks consist of lowercase letters, digits and dashes.
    return f"REGISTRY_AUDIT_OF_{block.upper().replace('-', '_')}_{_VARIABLES[what]}"
