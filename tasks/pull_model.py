"""Defines `pull-model` for use in other flows: the verified bytes of a version on this machine, or a failed task."""

from pathlib import Path
from typing import Any

from prefect import task

from registry_audit.api import pull_model as pull
from registry_audit.audit.options import checked_options
from registry_audit.cli.boundary import import_library
from registry_audit.cli.common_options import ledger_url
from registry_audit.errors import UsageError
from registry_audit.pulling.verified_download import Pulled
from registry_audit.refs import split_version
from tasks.audit_session import sign_in_for
from tasks.configuration import LEDGER, TRACKING_URI, configured_registry_uri, configured_uri
from tasks.policy import RETRIED, presentable, short
from tasks.registry_block import options_of_block, signed_in


def _run_name(parameters: dict[str, Any]) -> str:
    return f"pull-model · {short(str(parameters['version']))}"


@task(name="pull-model", task_run_name=_run_name, **RETRIED)  # type: ignore[arg-type]  # no function has all of its protocol
@presentable
def pull_model(
    version: str,
    output: Path,
    *,
    registry: str | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    ledger: str | None = None,
    registry_name: str | None = None,
) -> Pulled:
    """Download a registry model that is byte for byte what was accepted. `output` exists only if it is.

    Its result is never cached, because a directory that a cached result names may be gone.

    Args:
        version: `NAME/V` or `NAME@ALIAS`.
        output: a directory on the machine that runs the task, which is empty or does not exist yet.
        registry: name of a block `RegistryAudit`, which holds server, credentials, ledger and limits of one registry.
        tracking_uri, registry_uri, ledger: by default as configured for this project's flows.
        registry_name: name of the registry in the ledger, whatever its address.

    Raises:
        NotAsAccepted: it differs from its baseline, or is gone.
        CouldNotVerify: it has no baseline, or not everything could be read.
        UsageError: there is no such version, no tracking server is configured, or the output directory is not free.
        LedgerError: the ledger is unusable.
    """
    import_library()
    if registry is None:
        server = tracking_uri or configured_uri(TRACKING_URI)
        if server is None:
            raise UsageError(f"which tracking server? Give tracking_uri, or set {TRACKING_URI} where the flow runs")
        held: dict[str, Any] = {
            "tracking_uri": server,
            "registry_uri": registry_uri or configured_registry_uri(server),
        }
    elif tracking_uri or registry_uri:
        raise UsageError("give registry, or tracking_uri and registry_uri, not both")
    else:
        held = options_of_block(registry)
    held["ledger"] = ledger_url(ledger or held.get("ledger") or configured_uri(LEDGER))
    held["registry_name"] = registry_name or held.get("registry_name")
    sign_in_for(registry)
    options = checked_options(**held)
    name, selector = split_version(version)
    return pull(options, name, selector, Path(output), server=signed_in(options.server, registry))
