"""Which versions an audit covers, and what it must say of the registry as a whole."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial

from registry_audit.audit.options import AuditOptions, selected
from registry_audit.audit.session import Session
from registry_audit.errors import NotFound
from registry_audit.patience import patiently
from registry_audit.registry.connection import must_listen, server_version
from registry_audit.registry.version import Key, RegisteredVersion
from registry_audit.registry.versions import list_versions, require_model

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Scope:
    versions: Sequence[RegisteredVersion]  # to audit; sorted by name, then number
    tracking_uri: str
    registry_uri: str
    mlflow_server: str | None  # version of the server; None for a database
    listed_count: int  # before `models` and `latest` chose
    notes: tuple[str, ...] = ()
    listed_whole: bool = True
    listed: Container[Key] = frozenset()  # name and version of all that was listed
    everything: Sequence[RegisteredVersion] = ()  # all that was listed, until the registry is recognised
    registry: str = ""  # its identity; once a ledger has recognised it, its key there
    workspace: str | None = None  # MLflow's workspace; None for the default one
    missing: tuple[str, ...] = ()  # models asked for by name that do not exist; perhaps the ledger knows them


def list_scope(session: Session, options: AuditOptions) -> Scope:
    """List the registry and choose.

    Raises:
        UsageError: a model named without wildcards does not exist, or the server refuses filter or credentials.
        CouldNotVerify: the server cannot be read, or denies such a model.
    """
    connection = session.connection
    must_listen(connection)
    server = patiently(lambda: server_version(connection))
    listing = list_versions(connection, options.filter)
    names = {version.name for version in listing.versions} if options.models else set()
    # A denied model is silently left out of every search (docs/mlflow.md section 4); not so if asked for by name.
    missing = []
    for pattern in options.models:
        if pattern in names or _WILDCARDS.intersection(pattern):
            continue
        try:
            patiently(partial(require_model, connection, pattern))
        except NotFound:
            if options.ledger is None:
                raise
            missing.append(pattern)
    return Scope(
        versions=selected(listing.versions, options),
        everything=listing.versions,
        tracking_uri=connection.tracking_uri,
        registry_uri=connection.registry_uri,
        registry=connection.identity,
        workspace=connection.workspace,
        mlflow_server=server,
        listed_count=len(listing.versions),
        notes=listing.notes,
        listed_whole=listing.whole,
        missing=tuple(missing),
        listed=listing.keys,
    )
