"""Defines parameters that several flows share. Prefect stores all parameters of a run, so none may contain a secret."""

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
    """Make the form and the server refuse values that do not match. The flow itself refuses them with its own message.

    This is not a pydantic `pattern`, whose message would quote a password.

    Args:
        words: describes valid values, in letters, spaces and commas. The server's message only quotes the pattern, so
            the pattern begins with these words, in a condition that every value satisfies.
    """
    return Field(json_schema_extra={"pattern": f"^(?!{words}:$)(?:{pattern})"})


# This is in the schema of a deployment, so that the Prefect server refuses a password before it stores it.
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
    """Complete the flow's docstring for its form: parameters that it does not describe get the help of the commands."""
    said = inspect.getdoc(flow) or ""
    own = re.findall(r"^    (\w+): ", said, re.MULTILINE)
    others = [name for name in inspect.signature(flow).parameters if name not in own]
    lines = [f"    {name}: {ROWS[name].flow_help or ROWS[name].help}" for name in others]
    flow.__doc__ = "\n".join([said if own else f"{said}\n\nArgs:", *lines])
    return flow


def uri(value: str | None, variable: str) -> str | None:
    """Return the parameter, or the value from the configuration of this process.

    Raises:
        UsageError: the parameter, or a Prefect variable, holds credentials.
    """
    if value is None:
        return configured_uri(variable)
    sign_in = "" if variable == LEDGER else ", or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD,"
    refuse_credentials(value, f"set {variable}{sign_in}")
    return value


def refuse_credentials(given: str, instead: str) -> None:
    """Check the URI of a parameter. Raises: UsageError: it holds credentials."""
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
    """Return the options for registry, ledger and limits, taken from a block if one is named.

    Parameters take precedence over the block, and the block over the configuration of this process. The address comes
    from the block or from the parameter, never from both, because credentials belong to one server.

    Args:
        registry: name of a block `RegistryAudit`.
        limits: limits that a block may hold; None if not given.

    Raises:
        UsageError: there is no such block or no server, an address holds credentials, or two addresses were given.
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
    """Return the tracking URI. Raises: UsageError: there is none, or it holds credentials."""
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
    """Return the options for signatures. Without key and certificates, the key named by the environment is used."""
    if key is None and certificate_chain is None:
        key = os.environ.get("REGISTRY_AUDIT_SIGNING_KEY") or None
    return {
        "signing_key": key,
        "signing_certificate_chain": certificate_chain,
        "signing_ignore_paths": tuple(ignore_paths or ()),
        "signing_ignore_unsigned": ignore_unsigned,
    }


def this_run() -> str:
    """Return the flow run's id, which stays the same when Prefect retries the run."""
    return str(flow_run.id)


def path(value: str | None) -> Path | None:
    return Path(value) if value else None
