"""One version beside its baseline: what `check` and `compare` remember of it."""

import uuid

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.scope import Scope
from registry_audit.audit.session import Session
from registry_audit.audit.single import VersionPair
from registry_audit.errors import UsageError
from registry_audit.ledger.assess import Beside
from registry_audit.ledger.connecting import remember
from registry_audit.ledger.identity import recognise, registry_key, versions_to_recognise
from registry_audit.ledger.record import algorithm_of, begin, finish
from registry_audit.ledger.store import Ledger
from registry_audit.printable import storable
from registry_audit.registry.connection import Server, identity_of


def remembered(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> VersionAudit:
    """The row of one version beside its baseline, recorded as an audit of that version alone.

    A row of one copy of two is not recorded: half a reading would stand before the last whole one.

    Raises:
        UsageError: the registry may be a copy of one that the ledger knows; `--registry-name` has to say.
        CouldNotVerify: it is new to the ledger, and cannot be listed.
        LedgerError: the ledger cannot be read or written; nothing was recorded.
    """
    if audit.of_one_copy:
        return _looked_up(ledger, options, session, audit)
    # As with a filter, nothing that is not listed counts as gone.
    asked = options.model_copy(
        update={"models": (), "latest": None, "subset": None, "filter": f"version {storable(audit.version.label)}"}
    )
    audit_id, rows = uuid.uuid4().hex, list[VersionAudit]()
    scope, head = begin(ledger, _scope_of(ledger, options, session, audit), asked, audit_id)
    remember(ledger, head)
    recorded = finish(ledger, scope, asked, audit_id, [audit], rows.append)
    remember(ledger, recorded.head)
    return next(row for row in rows if row.version == audit.version)


def pair_remembered(
    ledger: Ledger, options: tuple[AuditOptions, AuditOptions], sessions: tuple[Session, Session], pair: VersionPair
) -> VersionPair:
    """Two versions that were compared, each beside its baseline and recorded.

    Raises:
        UsageError, CouldNotVerify, LedgerError: see `remembered`.
    """
    one, two = (remembered(ledger, *with_row) for with_row in zip(options, sessions, pair.versions, strict=True))
    return pair.with_versions(one, two)


def with_digest_of(ledger: Ledger | None, options: AuditOptions, server: Server | None = None) -> AuditOptions:
    """The options with the algorithm of the registry's baselines, so that what is read can be compared with them.

    Args:
        server: with who signs in there, where the options do not say it all.
    """
    if ledger is None:
        return options
    algorithm = _algorithm_for(ledger, options, server or options.server)
    return options if algorithm is None else options.model_copy(update={"digest": algorithm})


def one_digest(
    ledger: Ledger | None, options: tuple[AuditOptions, AuditOptions], servers: tuple[Server, Server]
) -> tuple[AuditOptions, AuditOptions]:
    """The options of two versions that are to be compared, with the algorithm of their registries' baselines.

    Raises:
        UsageError: their registries have baselines of two algorithms.
    """
    if ledger is None:
        return options
    known = (_algorithm_for(ledger, *each) for each in zip(options, servers, strict=True))
    chosen = [algorithm for algorithm in known if algorithm is not None]
    if len(set(chosen)) > 1:
        raise UsageError(
            f"the baselines of the first registry are {chosen[0]} and those of the second {chosen[1]}: compare with "
            "--ledger none, and check each version by itself"
        )
    one, two = (each.model_copy(update={"digest": chosen[0]}) if chosen else each for each in options)
    return one, two


def _algorithm_for(ledger: Ledger, options: AuditOptions, server: Server) -> str | None:
    identity = identity_of(server)
    with ledger.reading() as reader:
        key = registry_key(reader, identity, options.registry_name)
        return algorithm_of(reader, key) if key else None


def _looked_up(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> VersionAudit:
    scope = _scope_of(ledger, options, session, audit)
    with ledger.reading() as reader:
        found = recognise(reader, scope.registry, options.registry_name, scope.everything)
        (row,) = Beside(reader, found.key, scope.versions)([audit])
    return row


def _scope_of(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> Scope:
    version, connection = audit.version, session.connection
    return Scope(
        versions=(version,),
        everything=versions_to_recognise(ledger, session, options.registry_name, (version,)),
        tracking_uri=connection.tracking_uri,
        registry_uri=connection.registry_uri,
        registry=connection.identity,
        workspace=connection.workspace,
        mlflow_server=None,
        listed_count=1,
        listed=frozenset({(version.name, version.version)}),
    )
