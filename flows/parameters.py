"""The parameters that several flows have. Prefect stores what a flow run is started with: no place for a secret."""

import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from prefect.runtime import flow_run
from pydantic import BeforeValidator, Field

from registry_audit.audit.options import as_list
from registry_audit.cli.common_options import ROWS, ledger_url
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.redact import holds_credentials, redact_endpoint
from tasks.configuration import LEDGER, REGISTRY_URI, TRACKING_URI, configured_registry_uri, configured_uri
from tasks.registry_block import options_of_block

Described = TypeVar("Described", bound=Callable[..., Any])

URIS = {"tracking_uri": TRACKING_URI, "registry_uri": REGISTRY_URI, "ledger": LEDGER}

# n/t with n from 1 to t: n has fewer digits than t, or is t, or is smaller at the first digit in which they differ.
_FEWER = "|".join(rf"[1-9]\d{{{more}}}/0*[1-9]\d{{{more + 1},}}" for more in range(5))
_AS_MANY = "|".join(rf"[1-9]\d{{{more}}}/0*[1-9]\d{{{more}}}$" for more in range(6))
_SMALLER = "|".join(rf"{digit}\d*/0*\2[{digit + 1}-9]\d*" for digit in range(9))
_PART = rf"(?=[0-9]{{1,6}}/[0-9]{{1,6}}$)0*(?:{_FEWER}|([1-9]\d*)/0*\1|(?={_AS_MANY})([1-9]\d*|)(?:{_SMALLER}))$"


def matching(pattern: str, words: str) -> Any:
    """The form and the server refuse what does not match; the flow itself says so in its own words.

    Not a pydantic `pattern`, whose message would quote a password.

    Args:
        words: what is asked for, of letters, spaces and commas. All that the server says of a value it refuses is the
            pattern, so the pattern begins with them, as a condition that no value breaks.
    """
    return Field(json_schema_extra={"pattern": f"^(?!{words}:$)(?:{pattern})"})


# In the schema of a deployment, so that the Prefect server refuses a password before it stores it.
Uri = Annotated[
    str, matching(r"(?!.*://[^/]*:[^/]*@)(?![^:]*://[^/?:@]+:[^?@]*@).*\S", "an address without a password")
]
NotBlank = Annotated[str, matching(r"\s*\S", "not blank")]
Texts = Annotated[list[NotBlank], BeforeValidator(as_list)]
Name = Annotated[str, matching(r"[a-z0-9-]+$", "the name of a block, of small letters, digits and dashes")]
EnvironmentName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable")]
Reference = Annotated[str, matching(r".+/.+$", "NAME/VERSION")]
Subset = Annotated[str, matching(_PART, "n/t with n from 1 to t")]
Rule = Annotated[str, matching(r"RA[0-9]{3}$", "a rule, as RA002")]
AuditId = Annotated[str, matching(r"[A-Za-z0-9_-]{1,100}$", "an id, of letters, digits and dashes")]


def described(flow: Described) -> Described:
    """What the form says of each parameter, in the flow's docstring: as it does itself, else as the commands do."""
    said = inspect.getdoc(flow) or ""
    own = re.findall(r"^    (\w+): ", said, re.MULTILINE)
    others = [name for name in inspect.signature(flow).parameters if name not in own]
    lines = [f"    {name}: {ROWS[name].flow_help or ROWS[name].help}" for name in others]
    flow.__doc__ = "\n".join([said if own else f"{said}\n\nArgs:", *lines])
    return flow


def uri(value: str | None, variable: str) -> str | None:
    """The parameter, or how the process that runs the flow is configured.

    Raises:
        UsageError: the parameter, or a Prefect variable, holds credentials.
    """
    if value is None:
        return configured_uri(variable)
    sign_in = "" if variable == LEDGER else ", or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD,"
    refuse_credentials(value, f"set {variable}{sign_in}")
    return value


def refuse_credentials(given: str, instead: str) -> None:
    """Raises: UsageError: the URI of a parameter holds credentials."""
    if holds_credentials(given):
        raise UsageError(
            f"the URI {printable(redact_endpoint(given))} was given with credentials, and Prefect stores parameters: "
            f"consider them known, change them, and {instead} where the flow runs"
        )


def of_registry(
    registry: str | None,
    *,
    tracking_uri: str | None,
    registry_uri: str | None,
    registry_name: str | None,
    ledger: str | None,
    **limits: int | None,
) -> dict[str, Any]:
    """The options that say which registry, which ledger and how gently: those of a block, where one is named.

    A parameter wins over the block, and the block over how the process is configured. The address is the block's or
    the parameter's, never both: who signs in at the one is nobody at the other.

    Args:
        registry: name of a block `RegistryAudit`.
        limits: those that a block may hold, None where none was asked for.

    Raises:
        UsageError: there is no such block or no server, an address holds credentials, or two were given.
    """
    asked_limits = {name: value for name, value in limits.items() if value is not None}
    if registry is None:
        server = required_tracking_uri(tracking_uri)
        return {
            "tracking_uri": server,
            "registry_uri": uri(registry_uri, REGISTRY_URI) if registry_uri else configured_registry_uri(server),
            "registry_name": registry_name,
            "ledger": ledger_url(uri(ledger, LEDGER)),
        } | asked_limits
    if tracking_uri or registry_uri:
        raise UsageError("give registry, or tracking_uri and registry_uri, not both")
    held = options_of_block(registry)
    return {
        "tracking_uri": held["tracking_uri"],
        "registry_uri": held.get("registry_uri"),
        "registry_name": registry_name or held.get("registry_name"),
        "ledger": ledger_url(held["ledger"] if ledger is None and "ledger" in held else uri(ledger, LEDGER)),
    } | ({name: held[name] for name in limits if name in held} | asked_limits)


def required_tracking_uri(value: str | None) -> str:
    """Raises: UsageError: there is none, or it holds credentials."""
    found = uri(value, TRACKING_URI)
    if found is None:
        raise UsageError(
            f"which tracking server? Give tracking_uri, or set {TRACKING_URI} where the flow runs, or the Prefect "
            "variable registry_audit_tracking_uri"
        )
    return found


def signing(
    key: str | None, certificate_chain: str | None, ignore_paths: list[str] | None, ignore_unsigned: bool
) -> dict[str, Any]:
    """How signatures are verified; where neither key nor certificates are given, with the key of the environment."""
    if key is None and certificate_chain is None:
        key = os.environ.get("REGISTRY_AUDIT_SIGNING_KEY") or None
    return {
        "signing_key": key,
        "signing_certificate_chain": certificate_chain,
        "signing_ignore_paths": tuple(ignore_paths or ()),
        "signing_ignore_unsigned": ignore_unsigned,
    }


def this_run() -> str:
    """The flow run's id: the same when Prefect runs it again."""
    return str(flow_run.id)


def path(value: str | None) -> Path | None:
    return Path(value) if value else None
