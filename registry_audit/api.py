"""The library in a few calls, for those who write their own program around it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_audit.audit.copies import Role
from registry_audit.audit.engine import audit_versions
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.outcome import Outcome, outcome_of
from registry_audit.audit.rows import Rows, row_spool
from registry_audit.audit.scope import Scope, list_scope
from registry_audit.audit.session import Session
from registry_audit.audit.single import VersionPair, check_version, compare_versions, find_and_resolve
from registry_audit.config import CompareConfig, ServerConfig
from registry_audit.errors import AuditError, UsageError
from registry_audit.ledger.absent import absent_versions
from registry_audit.ledger.identity import registry_key
from registry_audit.ledger.location import default_ledger_url
from registry_audit.ledger.opening import open_ledger, remember
from registry_audit.ledger.record import algorithm_of, begin, finish, registry_of
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.trusted import TrustedReadings
from registry_audit.migration.both import Both, Sessions, list_both, read_both
from registry_audit.migration.comparing import compare_sides
from registry_audit.migration.config import SIDES, MigrationConfig, SideName
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.options import MigrationOptions
from registry_audit.migration.reading import Listed
from registry_audit.printable import storable
from registry_audit.registry.connection import Server
from registry_audit.registry.versions import not_confirmed_gone
from registry_audit.report.build import DocumentBuilder
from registry_audit.report.document import AuditDocument
from registry_audit.report.migration.build import MigrationBuilder
from registry_audit.report.migration.document import MigrationDocument
from registry_audit.report.predecessor import check_report, compare_report
from registry_audit.verdict import Severity


def audit_registry(
    options: AuditOptions,
    *,
    audit_id: str | None = None,
    work_directory: Path | None = None,
    on_listed: Callable[[Scope], None] = lambda scope: None,
    on_done: Callable[[VersionAudit], None] = lambda audit: None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> AuditDocument:
    """Audit every version that the options select, in threads of this process.

    Args:
        audit_id: of an interrupted audit, to resume it; else a new one is made.
        work_directory: where readings outlive the process; the same directory resumes an interrupted audit.
        on_listed, on_done, on_bytes: told of the progress; the latter two from any thread.

    Raises:
        UsageError: the options name something that does not exist, or the credentials are refused.
        CouldNotVerify: the registry cannot be listed. One version that cannot be read is a row, not an error.
        LedgerError: the ledger is unusable.
    """
    audit_id = audit_id or uuid.uuid4().hex
    ledger = ledger_of(options)
    session = open_session(options, work_directory=work_directory, on_bytes=on_bytes)
    scope = begin_audit(ledger, options, list_scope(session, options), audit_id)
    trust_readings(session, ledger, options)
    on_listed(scope)
    rows = row_spool(work_directory)
    audit_versions(session, scope.versions, rows.put, workers=options.workers, on_done=on_done)
    return conclude_audit(ledger, options, scope, rows, audit_id, session, work_directory)


def ledger_of(options: AuditOptions) -> Ledger | None:
    """The ledger that the options name, opened before any work is done.

    The user's own default ledger is started by the first audit. Any other is started by an audit that accepts what
    is new: a wrong URL must not look like an empty memory.

    Raises:
        LedgerError: it is missing, shortened, or of a later release.
        UsageError: it is no URL of a ledger.
    """
    if options.ledger is None:
        return None
    return open_ledger(options.ledger, create=options.accept_new or options.ledger == default_ledger_url())


def begin_audit(ledger: Ledger | None, options: AuditOptions, scope: Scope, audit_id: str) -> Scope:
    """Note in the ledger that the audit began, so that one that never ends shows as interrupted.

    Returns:
        The scope, its registry being the one that the ledger knows it as.

    Raises:
        UsageError: the registry may be a copy of one that the ledger knows; `--registry-name` has to say.
        NotFound: a model asked for by name is neither in the registry nor in the ledger.
    """
    if ledger is None:
        return scope
    scope, head = begin(ledger, scope, options, audit_id)
    remember(ledger, head)
    return scope


def trust_readings(session: Session, ledger: Ledger | None, options: AuditOptions) -> None:
    """For a quick audit: let the session take an unchanged fingerprint's last full reading for its bytes."""
    if ledger is not None and options.quick:
        with ledger.reading() as reader:
            identity = session.connection.identity
            registry = registry_key(reader, identity, options.registry_name) or identity
        session.trusted = TrustedReadings(ledger, registry, options.full_every)


def conclude_audit(
    ledger: Ledger | None,
    options: AuditOptions,
    scope: Scope,
    rows: Rows,
    audit_id: str,
    session: Session,
    directory: Path | None = None,
) -> AuditDocument:
    """The report of an audit, its rows put beside the ledger and recorded there, if there is one.

    Args:
        rows: one for each version of the scope, in its order.
        directory: for the report's rows, where there are more than memory should hold.

    Raises:
        LedgerError: the ledger cannot be read or written; nothing was recorded.
    """
    if len(rows) != len(scope.versions):
        raise AuditError(f"internal error: {len(rows)} rows of {len(scope.versions)} versions")
    builder = DocumentBuilder(options, scope, directory=directory)
    if ledger is None:
        for row in rows:
            builder.add(row)
        return builder.document()
    registry = scope.registry
    hidden = not_confirmed_gone(session.connection, absent_versions(ledger, registry, scope, options))
    recorded = finish(ledger, scope, options, audit_id, rows, builder.add, hidden)
    remember(ledger, recorded.head)
    return builder.document(recorded=recorded, ledger_url=ledger.url)


@dataclass(frozen=True, slots=True)
class Checked:
    audit: VersionAudit
    report: dict[str, Any]  # see registry_audit.report.predecessor
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Compared:
    pair: VersionPair
    report: dict[str, Any]
    outcome: Outcome


def check_model_version(
    options: AuditOptions,
    model: str,
    version_or_stage: str,
    *,
    download_dir: Path | None = None,
    report_file: Path | None = None,
) -> Checked:
    """Check that the two copies of one version are the same bytes.

    Args:
        options: the server, digest, limits and `fail_on`; what selects versions is ignored.
        download_dir: where the files stay, if they are to stay.
        report_file: only stated in the report, not written.

    Raises:
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: the version is denied, or the server cannot be read.
    """
    ledger = ledger_of(options)
    options = with_digest_of(ledger, options)
    session = open_session(options)
    audit = check_version(session, model, version_or_stage, download_dir)
    if ledger is not None:
        audit = remembered(ledger, options, session, audit)
    return checked(audit, options, model, version_or_stage, download_dir, report_file)


def remembered(ledger: Ledger, options: AuditOptions, session: Session, audit: VersionAudit) -> VersionAudit:
    """The row of one version beside its baseline, recorded as an audit of that version alone.

    Raises:
        UsageError: the registry may be a copy of one that the ledger knows; `--registry-name` has to say.
        LedgerError: the ledger cannot be read or written; nothing was recorded.
    """
    version, connection = audit.version, session.connection
    # As with a filter, nothing that is not listed counts as gone.
    asked = options.model_copy(
        update={"models": (), "latest": None, "subset": None, "filter": f"version {storable(version.label)}"}
    )
    scope = Scope(
        versions=(version,),
        everything=(version,),
        tracking_uri=connection.tracking_uri,
        registry_uri=connection.registry_uri,
        registry=connection.identity,
        workspace=connection.workspace,
        mlflow_server=None,
        listed_count=1,
        listed=frozenset({(storable(version.name), version.version)}),
    )
    audit_id, rows = uuid.uuid4().hex, list[VersionAudit]()
    scope = begin_audit(ledger, asked, scope, audit_id)
    recorded = finish(ledger, scope, asked, audit_id, [audit], rows.append)
    remember(ledger, recorded.head)
    return next(row for row in rows if row.version == version)


def with_digest_of(ledger: Ledger | None, options: AuditOptions) -> AuditOptions:
    """The options with the algorithm of the registry's baselines, so that a check can be compared with them."""
    if ledger is None:
        return options
    address = options.registry_uri or options.tracking_uri
    with ledger.reading() as reader:
        key = registry_key(reader, registry_of(address), options.registry_name)
        algorithm = algorithm_of(reader, key) if key else None
    return options if algorithm is None else options.model_copy(update={"digest": algorithm})


def checked(
    audit: VersionAudit,
    options: AuditOptions,
    model: str,
    version_or_stage: str,
    download_dir: Path | None = None,
    report_file: Path | None = None,
) -> Checked:
    """The report and the outcome of a version that was audited."""
    stated = {
        "model_name": model,
        "version_or_stage": version_or_stage,
        "download_dir": str(download_dir) if download_dir else None,
        "report_file": str(report_file) if report_file else None,
    }
    return Checked(audit, check_report(audit, stated), outcome_of([audit], options.fail_on))


def compare_model_versions(
    config: CompareConfig,
    download_dir: Path,
    *,
    compare_run_models: bool = True,
    compare_reg_models: bool = True,
    fail_on: Severity = Severity.MEDIUM,
) -> Compared:
    """Compare two versions, on one or two tracking servers.

    Raises:
        NotFound: there is no such model, version, stage or alias on its server.
        CouldNotVerify: a version is denied, or its server cannot be read.
        UsageError: neither model holds its native model, or the download directory holds something else.
    """
    one, two = config.servers
    sessions = Session(server_of(one)), Session(server_of(two))
    resolved = (
        find_and_resolve(sessions[0], one.model, one.selector),
        find_and_resolve(sessions[1], two.model, two.selector),
    )
    pair = compare_versions(
        sessions,
        resolved,
        chosen_roles(compare_run_models, compare_reg_models),
        download_dir,
        (one.native_model, two.native_model),
    )
    return compared(pair, config, (sessions[0].connection.tracking_uri, sessions[1].connection.tracking_uri), fail_on)


def compared(pair: VersionPair, config: CompareConfig, uris: tuple[str, str], fail_on: Severity) -> Compared:
    """The report and the outcome of two versions that were compared."""
    return Compared(pair, compare_report(pair, config, uris), outcome_of(pair.pairs, fail_on))


def compare_registries(
    config: MigrationConfig,
    options: MigrationOptions | None = None,
    *,
    work_directory: Path | None = None,
    on_listed: Callable[[Listed, Listed], None] = lambda source, target: None,
    on_done: Callable[[SideName, VersionFacts], None] = lambda side, facts: None,
) -> MigrationDocument:
    """Prove a migration: compare every version of one registry with its counterpart in another.

    Args:
        work_directory: where readings outlive the process; the same directory resumes an interrupted comparison.
        on_listed, on_done: told of the progress; the latter from any thread.

    Raises:
        UsageError: the options name a model that is in neither registry, or credentials are refused.
        CouldNotVerify: a registry cannot be listed. One version that cannot be read is a row, not an error.
    """
    options = options or MigrationOptions()
    sessions = open_sides(config, work_directory)
    listed = list_both(sessions)
    on_listed(*listed)
    both = read_both(sessions, listed, options, directory=work_directory, on_done=on_done)
    return conclude_migration(sessions, both, options, work_directory)


def open_sides(config: MigrationConfig, work_directory: Path | None = None) -> Sessions:
    """A session for each registry, the source's first."""
    directories = [work_directory / side if work_directory else None for side in SIDES]
    for directory in directories:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    source, target = (
        Session(server, work_directory=directory)
        for server, directory in zip((config.source, config.target), directories, strict=True)
    )
    return source, target


def conclude_migration(
    sessions: Sessions, both: Both, options: MigrationOptions, directory: Path | None = None
) -> MigrationDocument:
    """The report on two registries that were read."""
    builder = MigrationBuilder(options, directory=directory)
    compare_sides(
        sessions,
        both.source,
        both.target,
        both.models,
        options.names,
        one_way=options.one_way,
        keep_row=builder.add,
        keep_model=builder.add_model,
    )
    return builder.document(both)


def chosen_roles(compare_run_models: bool, compare_reg_models: bool) -> tuple[Role, ...]:
    """Raises: UsageError: nothing would be compared."""
    chosen = ((Role.RUN_MODEL, compare_run_models), (Role.REG_MODEL, compare_reg_models))
    roles = tuple(role for role, wanted in chosen if wanted)
    if not roles:
        raise UsageError("with both comparisons skipped nothing would be compared")
    return roles


def server_of(server: ServerConfig) -> Server:
    return Server(server.host, server.registry_uri, server.username_env, server.password_env, server.token_env)


def open_session(
    options: AuditOptions, *, work_directory: Path | None = None, on_bytes: Callable[[int], None] = lambda count: None
) -> Session:
    return Session(
        options.server,
        limits=options.limits,
        algorithm=options.digest,
        work_directory=work_directory,
        only_list=options.liveness,
        on_bytes=on_bytes,
        signatures=options.signature_verifier(),
        politeness=options.politeness(),
    )
