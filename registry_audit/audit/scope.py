"""Selects the versions that an audit covers, and notes what the report must say about the whole registry."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial

from registry_audit.audit.options import WILDCARDS, AuditOptions, ModelChoice, selected
from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import AuditError, NotFound, Transient
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection, must_listen, server_version, unasked_workspaces
from registry_audit.registry.registered_models import require_model
from registry_audit.registry.version import Key, RegisteredVersion
from registry_audit.registry.versions import RegistryListing, list_versions


@dataclass(frozen=True, slots=True)
class Scope:
    versions: Sequence[RegisteredVersion]  # to audit; sorted by name, then number
    tracking_uri: str
    registry_uri: str
    mlflow_server: str | None  # version of the server; None for a database
    listed_count: int  # before `models` and `latest` selected
    notes: tuple[str, ...] = ()
    listed_whole: bool = True
    listed: Container[Key] = frozenset()  # name and version of everything that was listed
    everything: Sequence[RegisteredVersion] = ()  # everything that was listed, until the registry is recognised
    registry: str = ""  # its identity; once a ledger has recognised it, its key there
    accepts_new: bool = True  # False: it may be another registry than the ledger's, so nothing in it is accepted
    workspace: str | None = None  # MLflow's workspace; None for the default one
    missing: tuple[str, ...] = ()  # models asked for by name that do not exist; perhaps the ledger knows them
    exact: frozenset[str] = frozenset()  # values of `--model` that are literal names, not patterns
    own_spelling: Callable[[str], str] = str  # see `Connection.own_spelling`
    idle: tuple[str, ...] = ()  # values of `--model` that select nothing, although everything was listed

    @property
    def answered(self) -> bool:
        """Say whether everything that was asked for has a row."""
        return self.listed_whole and not self.idle


def nothing_listed(options: AuditOptions) -> Scope:
    """Return the scope of an audit that has not listed anything yet."""
    registry_uri = options.registry_uri or options.tracking_uri
    return Scope((), options.tracking_uri, registry_uri, None, 0, listed_whole=False)


def list_scope(session: Session, options: AuditOptions) -> Scope:
    """List the registry and select the versions, within the time limit of a listing.

    Raises:
        UsageError: a model named without wildcards does not exist, or the server refuses filter or credentials.
        CouldNotVerify: the server cannot be read, or denies such a model.
    """
    return in_time(session, lambda: _list_scope(session, options), deadline=session.listing_deadline())


def _list_scope(session: Session, options: AuditOptions) -> Scope:
    connection = session.connection
    must_listen(connection)
    options = options.model_copy(update={"models": tuple(map(connection.own_spelling, options.models))})
    server = retried(lambda: server_version(connection))
    listing = list_versions(connection, options.filter, max_versions=options.max_versions)
    names = {version.name for version in listing.versions} if options.models else set()
    there = names | {text for text in options.models if text not in names and _is_model(connection, text)}
    choice = ModelChoice(options.models, there)
    # Searches silently omit a denied model (docs/mlflow.md section 4); a request by its name does not.
    missing = []
    for name in sorted(choice.exact - there):
        try:
            retried(partial(require_model, connection, name))
        except NotFound:
            if options.ledger is None:
                raise
            missing.append(name)
    idle = tuple(text for text in choice.without_any(names) if text not in missing) if options.models else ()
    return Scope(
        versions=selected(listing.versions, options, choice.exact),
        everything=listing.versions,
        tracking_uri=connection.tracking_uri,
        registry_uri=connection.registry_uri,
        registry=connection.identity,
        workspace=connection.workspace,
        mlflow_server=server,
        listed_count=len(listing.versions),
        notes=(
            *notes_on_workspaces(connection, server, "audited"),
            *listing.notes,
            *(_why_idle(text, choice, listing) for text in idle),
        ),
        listed_whole=listing.whole,
        missing=tuple(missing),
        listed=listing.keys,
        exact=choice.exact,
        own_spelling=connection.own_spelling,
        idle=idle,
    )


def notes_on_workspaces(connection: Connection, server: str | None, done: str) -> tuple[str, ...]:
    """Return a note on the workspaces that were left out because none was named.

    Args:
        done: what was done with the default workspace.
        server: MLflow version of the server; workspaces came with 3.10.
    """
    others = unasked_workspaces(connection) if (server or "").startswith("3.") else []
    if not others:
        return ()
    shown = ", ".join(map(printable, others[:5])) + (", ..." if len(others) > 5 else "")
    more = f"the server has {len(others)} more ({shown})"
    return (f"only the default workspace was {done}; {more}: name one with MLFLOW_WORKSPACE",)


def _is_model(connection: Connection, text: str) -> bool:
    """Say whether a text with wildcards is itself the name of a model that no listing shows."""
    if not WILDCARDS.intersection(text):
        return False
    try:
        retried(partial(require_model, connection, text))
    except Transient:
        raise
    except AuditError:  # no such name; or a denied one, as any pattern would be
        return False
    return True


def _why_idle(text: str, choice: ModelChoice, listing: RegistryListing) -> str:
    asked = f"--model '{printable(text)}' matches no version"
    prompts = ModelChoice((text,), listing.prompts)
    if any(name in prompts for name in listing.prompts):
        return f"{asked}: only prompts have such a name, and a prompt has no model to audit"
    if text in choice.exact:
        return f"{asked}: the model has no version" + ("" if listing.whole else " that was listed")
    return f"{asked}: no model has such a name"
