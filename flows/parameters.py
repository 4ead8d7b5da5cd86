"""Parameters that several flows have. Prefect stores what a flow run is started with: no place for a secret."""

import os
from pathlib import Path
from typing import Annotated, Any

from prefect.runtime import flow_run
from pydantic import Field, ValidationError

from registry_audit.audit.options import AuditOptions
from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.redact import redact
from tasks.configured import LEDGER, REGISTRY_URI, TRACKING_URI, configured_uri

URIS = {"tracking_uri": TRACKING_URI, "registry_uri": REGISTRY_URI, "ledger": LEDGER}

# In the schema of a deployment, so that the Prefect server refuses a password before it stores it. Not a pydantic
# `pattern`: its message would quote the password.
Uri = Annotated[str, Field(json_schema_extra={"pattern": r"^(?!.*://[^/]*:[^/]*@)"})]


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
    if redact(given) != given:
        raise UsageError(
            f"the URI {printable(redact(given))} was given with credentials, and Prefect stores parameters: consider "
            f"them known, change them, and {instead} where the flow runs"
        )


def required_tracking_uri(value: str | None) -> str:
    """Raises: UsageError: there is none, or it holds credentials."""
    found = uri(value, TRACKING_URI)
    if found is None:
        raise UsageError(
            f"which tracking server? Give tracking_uri, or set {TRACKING_URI} where the flow runs, or the Prefect "
            "variable registry_audit_tracking_uri"
        )
    return found


def signing(key: str | None, certificate_chain: str | None) -> dict[str, str | None]:
    """What signatures are verified with; where neither is given, the key of the environment."""
    if key is None and certificate_chain is None:
        key = os.environ.get("REGISTRY_AUDIT_SIGNING_KEY") or None
    return {"signing_key": key, "signing_certificate_chain": certificate_chain}


def audit_options(**fields: Any) -> AuditOptions:
    """Raises: UsageError: the options contradict each other."""
    try:
        return AuditOptions(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(" ".join((*map(str, first["loc"]), first["msg"]))) from None


def this_run() -> str:
    """The flow run's id: the same when Prefect runs it again."""
    return str(flow_run.id)


def path(value: str | None) -> Path | None:
    return Path(value) if value else None
