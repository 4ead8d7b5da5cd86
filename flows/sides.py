"""Defines the two sides of a comparison as the forms of deployments ask for them: each a server, or a block."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from flows import parameters
from flows.parameters import EnvironmentName, Name, NotBlank, Uri
from registry_audit.audit.options import AuditOptions
from registry_audit.cli.common_options import ledger_url
from registry_audit.errors import UsageError
from registry_audit.registry.connection import Server
from tasks.configuration import LEDGER
from tasks.registry_block import options_of_block, signed_in

_Block = Annotated[
    Name | None,
    Field(description="Name of a block Registry Audit, which holds server, sign-in and limits; in place of a host."),
]
_Host = Annotated[Uri | None, Field(repr=False, description="Tracking server, without credentials.")]
_RegistryUri = Annotated[Uri | None, Field(repr=False, description="Model registry, if it is on another server.")]
_UsernameEnv = Annotated[
    EnvironmentName | None, Field(description="Name of the worker's environment variable with the user to sign in as.")
]
_PasswordEnv = Annotated[EnvironmentName | None, Field(description="Name of the variable with the user's password.")]
_TokenEnv = Annotated[
    EnvironmentName | None, Field(description="Name of the variable with a token, in place of user and password.")
]

# The form refuses a side that names neither. `not` is the only JSON Schema keyword for this that forms do not display.
_NAMES_NO_SERVER: dict[str, Any] = {"properties": {name: {"type": "null"} for name in ("registry", "host")}}
_ASKED = ConfigDict(extra="forbid", json_schema_extra={"not": _NAMES_NO_SERVER})


class RegistryServer(BaseModel):
    """Names one of the two registries. Each field means what it means in the configuration file."""

    model_config = _ASKED

    registry: _Block = None
    host: _Host = None
    registry_uri: _RegistryUri = None
    username_env: _UsernameEnv = None
    password_env: _PasswordEnv = None
    token_env: _TokenEnv = None


class TrackingServer(BaseModel):
    """Names a version on one of the two servers. Each field means what it means in the configuration file."""

    model_config = _ASKED

    registry: _Block = None
    host: _Host = None
    model: Annotated[NotBlank, Field(description="Registered model name.")]
    version_or_stage: Annotated[NotBlank, Field(description="Version number, stage in any case, @alias or latest.")]
    native_model: Annotated[
        NotBlank | None, Field(description="Only this file or directory inside the model, for instance model.pkl.")
    ] = None
    registry_uri: _RegistryUri = None
    registry_name: Annotated[
        NotBlank | None, Field(description="What the ledger knows the registry by, whatever its address.")
    ] = None
    username_env: _UsernameEnv = None
    password_env: _PasswordEnv = None
    token_env: _TokenEnv = None


@dataclass(frozen=True, slots=True)
class Side:
    """This is one side as requested, with the content of its block."""

    keys: dict[str, str]  # keys of the configuration file
    block: str | None
    held: dict[str, Any]  # fields of `AuditOptions`

    def signed_in(self, server: Server) -> Server:
        return signed_in(server, self.block)

    def limited(self, options: AuditOptions, asked: dict[str, int | None]) -> AuditOptions:
        """Return the options with the limits of the block, unless the run sets its own limits."""
        own = {name: self.held[name] for name, limit in asked.items() if limit is None and name in self.held}
        return options.model_copy(update=own)


def side_of(given: RegistryServer | TrackingServer, what: str) -> Side:
    """Return the side that a parameter describes.

    Args:
        what: the name of the parameter.

    Raises:
        UsageError: no server is named, or two are, or an address holds credentials; or there is no such block.
    """
    keys = given.model_dump(exclude_none=True)
    block = keys.pop("registry", None)
    if block is None:
        if given.host is None:
            raise UsageError(f"{what}: which server? Give host, or registry, the name of a block Registry Audit")
        for uri in (given.host, given.registry_uri or ""):
            parameters.refuse_credentials(uri, "name variables in username_env and password_env, and set them")
        return Side(keys, None, {})
    if both := [name for name in ("host", "registry_uri", "username_env", "password_env", "token_env") if name in keys]:
        raise UsageError(f"{what}: give registry, or {', '.join(both)}, not both")
    held = options_of_block(block)
    names = ("registry_uri", "registry_name") if isinstance(given, TrackingServer) else ("registry_uri",)
    of_block = {"host": held["tracking_uri"]} | {name: held[name] for name in names if name in held}
    return Side(of_block | keys, block, held)


def ledger_of_both(ledger: str | None, sides: tuple[Side, Side]) -> str | None:
    """Return the one ledger in which both versions are looked up: the parameter, or else that of the blocks.

    Raises:
        UsageError: the two blocks have different ledgers, or an address holds credentials.
    """
    if ledger is not None:
        return ledger_url(parameters.uri(ledger, LEDGER))
    one, two = (ledger_url(side.held.get("ledger") or parameters.uri(None, LEDGER)) for side in sides)
    if one != two:
        raise UsageError("the two registries have ledgers of their own: give ledger, where both versions are looked up")
    return one
