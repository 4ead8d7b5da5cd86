"""Offers the library in a few calls, for programs of your own. The commands and flows use the same calls."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from registry_audit.audit.copies import Role
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.named_versions import VersionPair, check_version, compare_versions, find_and_resolve
from registry_audit.audit.options import AuditOptions, checked_options
from registry_audit.audit.rows import Outcome, Rows, outcome_of, row_spool
from registry_audit.audit.runner import audit_versions
from registry_audit.audit.scope import Scope, list_scope, nothing_listed
from registry_audit.audit.session import Session
from registry_audit.compare_config import CompareConfig
from registry_audit.errors import AuditError, LedgerError, NoLedgerYet, UsageError
from registry_audit.home import default_ledger_url, is_from_environment, usual_ledger_url
from registry_audit.ledger.connecting import open_ledger, remember
from registry_audit.ledger.identity import registry_key, versions_to_recognise
from registry_audit.ledger.memory import TrustedReadings
from registry_audit.ledger.record import Tell, begin, finish, one_digest, pair_remembered, remembered, with_digest_of
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.version_history import absent_versions
from registry_audit.migration.both import (
    Both,
    Sessions,
    begin_both,
    know_hidden_models,
    know_other_storages,
    list_both,
    reached,
    read_both,
)
from registry_audit.migration.comparison import compare_sides
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.registries_config import SIDES, MigrationConfig, MigrationOptions, SideName
from registry_audit.migration.registry_reading import Listed
from registry_audit.net.deadline import within
from registry_audit.pulling.verified_download import Pulled, pull_version
from registry_audit.registry.connection import Server, each_with_its_own
from registry_audit.registry.versions import not_confirmed_gone
from registry_audit.report.build_document import DocumentBuilder, Interruption, interrupted_report
from registry_audit.report.document import AuditDocument
from registry_audit.report.mlflow_tools import check_report, compare_report
from registry_audit.report.registries_build import MigrationBuilder
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.verdict import ExitStatus, Severity

USUAL_LEDGER = "usual"  # the ledger that the commands use: REGISTRY_AUDIT_LEDGER, or else the user's own


def audit_registry(
    options: AuditOptions,
    *,
    audit_id: str | None = None,
    work_directory: Path | None = None,
    on_listed: Callable[[Scope], None] = lambda scope: None,
    on_done: Callable[[VersionAudit], None] = lambda audit: None,
    on_bytes: Callable[[int], None] = lambda count: None,
    on_interruption: Callable[[AuditDocument], None] = lambda document: None,
) -> AuditDocument:
    """Audit every version that the options select, in threads of this process.

    Args:
            audit_id: id of an interrupted audit, to resume it; by default a new one is made.
            work_directory: where readings outlive the process; the same directory resumes an interrupted audit.
            on_listed, on_done, on_bytes: called with the progress; the latter two from any thread.
            on_interruption: called with the report on what was done, if anything but a UsageError is raised: by a
                signal, by a lost ledger, by a registry that cannot be listed.

    Raises:
        UsageError: the options name something that does not exist, or the credentials are refused.
        CouldNotVerify: the registry cannot be listed. One version that cannot be read is a row, not an error.
        LedgerError: the ledger is unusable.
    """
    audit_id = audit_id or uuid.uuid4().hex
    ledger, session, scope, rows = None, None, nothing_listed(options), row_spool(work_directory)
    try:
        ledger = ledger_of(options)
        session = open_session(options, work_directory=work_directory, on_bytes=on_bytes)
        scope = begin_audit(ledger, session, options, list_scope(session, options), audit_id)
        trust_readings(session, ledger, options)
        on_listed(scope)
        audit_versions(session, scope.versions, rows.put, workers=options.workers, on_done=on_done)
        return conclude_audit(ledger, options, scope, rows, audit_id, session, work_directory)
    except UsageError:
        raise
    except BaseException as error:
        if session is not None:
            session.stop()
        on_interruption(interrupted_report(ledger, options, scope, rows, error, work_directory))
        raise
    finally:  # end the threads and connections now, not when the last of the objects is collected
        if session is not None:
            session.close()
        if ledger is not None:
            ledger.close()


def ledger_of(options: AuditOptions) -> Ledger | None:
    """Open the ledger that the options name, before any work is done.

    The first audit creates the user's own default ledger. Any other ledger is created only by an audit with
    `accept_new`: a wrong URL must not look like an empty ledger.

    Raises:
        LedgerError: the ledger is missing, shortened, or of a later release.
        UsageError: the option is no URL of a ledger.
    """
    if options.ledger is None:
        return None
    return open_ledger(options.ledger, create=options.accept_new or options.ledger == default_ledger_url())


def begin_audit(ledger: Ledger | None, session: Session, options: AuditOptions, scope: Scope, audit_id: str) -> Scope:
    """Note in the ledger that the audit began, so that one that never ends shows as interrupted.

    Returns:
            The scope, with the registry identity under which the ledger knows the registry.

    Raises:
            UsageError: the registry may be a copy of one that the ledger knows; `--registry-name` has to say.
            NotFound: a model asked for by name is neither in the registry nor in the ledger.
            CouldNotVerify: the registry is new to the ledger, and could not be listed without the options' filter.
    """
    if ledger is None:
        return scope
    if options.filter is not None:
        all_of_it = versions_to_recognise(ledger, session, options.registry_name, scope.everything)
        scope = replace(scope, everything=all_of_it)
    scope, head = begin(ledger, scope, options, audit_id)
    remember(ledger, head)
    return scope


def trust_readings(session: Session, ledger: Ledger | None, options: AuditOptions) -> None:
    """Let the session of a quick audit reuse the last full reading of models whose fingerprint has not changed."""
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
    *,
    tell: Tell | None = None,
) -> AuditDocument:
    """Compare the rows of an audit with the ledger, record them there if there is a ledger, and build the report.

    Args:
            rows: one for each version of the scope, in its order.
            directory: for the report's rows, if there are too many for memory.
            tell: see `finish`.

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
    with within(session.listing_deadline()):
        hidden = not_confirmed_gone(session.connection, absent_versions(ledger, registry, scope, options))
    recorded = finish(ledger, scope, options, audit_id, rows, builder.add, hidden, tell)
    remember(ledger, recorded.head)
    return builder.document(recorded=recorded, ledger_url=ledger.url)


@dataclass(frozen=True, slots=True)
class Checked:
    audit: VersionAudit
    report: dict[str, Any]  # see registry_audit.report.mlflow_tools
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
    on_interruption: Callable[[Checked], None] = lambda checked: None,
) -> Checked:
    """Check that the two copies of one version are the same bytes.

    Args:
            options: the server, digest, limits and `fail_on`; the options that select versions are ignored.
            download_dir: where the files stay; by default they are removed.
            report_file: only stated in the report, not written.
            on_interruption: called with what was found out about the version, if the ledger is lost or broken
                meanwhile.

    Raises:
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: the version is denied, or the server cannot be read.
        LedgerError: the ledger is unusable.
    """
    with ExitStack() as ending:
        memory = memory_of(options)
        ledger, note = memory.ledger, memory.note
        if ledger is not None:
            ending.enter_context(closing(ledger))
        options = with_digest_of(ledger, options)
        session = ending.enter_context(open_session(options))
        audit = check_version(session, model, version_or_stage, download_dir)
        try:
            if ledger is not None:
                audit = remembered(ledger, options, session, audit)
        except LedgerError as error:
            lost = no_baseline(error)
            on_interruption(checked(audit, options, model, version_or_stage, download_dir, report_file, note=lost))
            raise
    return checked(audit, options, model, version_or_stage, download_dir, report_file, note=note)


@dataclass(frozen=True, slots=True)
class Memory:
    """Holds the ledger that a check or comparison of single versions uses."""

    ledger: Ledger | None
    note: str | None = None  # why there is no ledger, if one was looked for


def memory_of(options: AuditOptions) -> Memory:
    """Open the ledger that the options name, before any work is done.

    If REGISTRY_AUDIT_LEDGER names a file that no audit has created yet, the copies are still compared, and the result
    says that nothing was remembered. A database without a ledger is an error, because its address must be wrong.

    Raises:
        LedgerError, UsageError: see `ledger_of`.
    """
    try:
        return Memory(ledger_of(options))
    except NoLedgerYet as error:
        if is_from_environment(options.ledger):
            return Memory(None, no_baseline(error))
        raise


def no_baseline(error: LedgerError) -> str:
    """Return the sentence that says why there was no baseline: the ledger was missing, or was lost during the audit."""
    return f"compared with no baseline, and not recorded: {error.message}"


def checked(
    audit: VersionAudit,
    options: AuditOptions,
    model: str,
    version_or_stage: str,
    download_dir: Path | None = None,
    report_file: Path | None = None,
    *,
    note: str | None = None,
) -> Checked:
    """Build the report and the outcome of a version that was audited.

    Args:
        note: why there was no baseline to compare with, if one was looked for.
    """
    stated = {
        "model_name": model,
        "version_or_stage": version_or_stage,
        "download_dir": str(download_dir) if download_dir else None,
        "report_file": str(report_file) if report_file else None,
    }
    return Checked(audit, check_report(audit, stated, note), outcome_of([audit], options.fail_on))


def pull_model(
    options: AuditOptions,
    model: str,
    version_or_stage: str,
    output: Path,
    *,
    server: Server | None = None,
    on_begin: Callable[[int], None] = lambda byte_count: None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Pulled:
    """Download a registry model that is byte for byte what was accepted, or leave nothing: see `pull_version`.

    Args:
        options: the server, ledger and limits; the options that select versions are ignored.
        server: the same server, with the names of the environment variables that hold the credentials.
        on_begin, on_bytes: called with the number of bytes to come, and with each number of bytes received, from any
            thread.

    Raises:
        UsageError: the options name no ledger.
    """
    ledger = ledger_of(options)
    if ledger is None:
        raise UsageError("a pull compares with the baseline in a ledger: leave out --ledger none")
    with closing(ledger), open_session(options, server=server, on_bytes=on_bytes) as session:
        return pull_version(session, ledger, options.registry_name, model, version_or_stage, output, on_begin)


def compare_model_versions(
    config: CompareConfig,
    download_dir: Path | None = None,
    *,
    compare_run_models: bool = True,
    compare_reg_models: bool = True,
    ledger: str | None = USUAL_LEDGER,
    fail_on: Severity = Severity.MEDIUM,
    limits: Mapping[str, int | None] = MappingProxyType({}),
    on_interruption: Callable[[Compared], None] = lambda compared: None,
) -> Compared:
    """Compare two versions, on one or two tracking servers, and each with its baseline.

    Args:
            download_dir: where the files stay; by default they are removed.
            ledger: URL of the database of baselines; by default the one that the commands use, and None for no ledger.
            limits: fields of `AuditOptions` that begin with `max_`; they hold for each version.
            on_interruption: called with what was found out about the two, if the ledger is lost or broken meanwhile.

    Raises:
        NotFound: there is no such model, version, stage or alias on its server.
        CouldNotVerify: a version is denied, or its server cannot be read.
        UsageError: neither model holds its native model, or the download directory holds something else.
        LedgerError: the ledger is unusable.
    """
    with ExitStack() as ending:
        servers = servers_of(config)
        memory, options = compare_options(config, servers, ledger, fail_on, limits)
        opened = memory.ledger
        if opened is not None:
            ending.enter_context(closing(opened))
        one, two = config.servers
        sessions = (
            ending.enter_context(_session_of(servers[0], options[0])),
            ending.enter_context(_session_of(servers[1], options[1])),
        )
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
        uris = sessions[0].connection.tracking_uri, sessions[1].connection.tracking_uri
        try:
            if opened is not None:
                pair = pair_remembered(opened, options, sessions, pair)
        except LedgerError as error:
            on_interruption(compared(pair, config, uris, fail_on, note=no_baseline(error)))
            raise
    return compared(pair, config, uris, fail_on, note=memory.note)


def compare_options(
    config: CompareConfig,
    servers: tuple[Server, Server],
    ledger: str | None,
    fail_on: Severity,
    limits: Mapping[str, int | None] = MappingProxyType({}),
) -> tuple[Memory, tuple[AuditOptions, AuditOptions]]:
    """Open the ledger of a comparison, and make the options of each version, with one digest for both.

    Args:
        servers: see `servers_of`.

    Raises:
        UsageError: a limit is wrong, or the two registries have baselines of different digests.
        LedgerError: the ledger is unusable.
    """
    url = usual_ledger_url() if ledger == USUAL_LEDGER else ledger
    one, two = (
        checked_options(
            tracking_uri=server.host,
            registry_uri=server.registry_uri,
            registry_name=server.registry_name,
            ledger=url,
            fail_on=fail_on,
            **{name: bound for name, bound in limits.items() if bound is not None},
        )
        for server in config.servers
    )
    memory = memory_of(one)
    return memory, one_digest(memory.ledger, (one, two), servers)


def _session_of(server: Server, options: AuditOptions) -> Session:
    return Session(server, limits=options.limits, algorithm=options.digest, throttle=options.throttle())


def compared(
    pair: VersionPair, config: CompareConfig, uris: tuple[str, str], fail_on: Severity, *, note: str | None = None
) -> Compared:
    """Build the report and the outcome of two versions that were compared.

    Args:
        note: why there were no baselines to compare with, if they were looked for.
    """
    beside = [replace(row, findings=pair.beside_the_pairs(index)) for index, row in enumerate(pair.versions)]
    return Compared(pair, compare_report(pair, config, uris, note), outcome_of(pair.pairs, fail_on, beside=beside))


def compare_registries(
    config: MigrationConfig,
    options: MigrationOptions | None = None,
    *,
    work_directory: Path | None = None,
    on_listed: Callable[[Listed, Listed], None] = lambda source, target: None,
    on_done: Callable[[SideName, VersionFacts], None] = lambda side, facts: None,
    on_interruption: Callable[[MigrationDocument], None] = lambda document: None,
) -> MigrationDocument:
    """Prove a migration: compare every version of one registry with its counterpart in another.

    Args:
            work_directory: where readings outlive the process; the same directory resumes an interrupted comparison.
            on_listed, on_done: called with the progress; the latter from any thread.
            on_interruption: called with the report on the models that were read in both, if reading does not come to
                its end.

    Raises:
        UsageError: the options name a model that is in neither registry, or credentials are refused.
        CouldNotVerify: a registry cannot be listed. One version that cannot be read is a row, not an error.
            LedgerError: the ledger that provides the readings is missing or unusable.
    """
    options = options or MigrationOptions()
    with ExitStack() as ending:
        sessions = open_sides(config, options, work_directory)
        for session, server in zip(sessions, config.servers(), strict=True):
            ending.enter_context(session)
            if options.quick:
                how = options.of(server)
                ledger = ending.enter_context(closing(open_ledger(str(how.ledger), create=False)))
                trust_readings(session, ledger, how)
        listed = list_both(sessions)
        on_listed(*listed)
        both = begin_both(listed, options, work_directory)
        try:
            read_both(sessions, both, options, on_done=on_done)
            return conclude_migration(sessions, both, options, work_directory)
        except BaseException as error:
            on_interruption(interrupted_migration(sessions, both, options, error, work_directory))
            raise


def open_sides(config: MigrationConfig, options: MigrationOptions, work_directory: Path | None = None) -> Sessions:
    """Open a session for each registry, the source's first."""
    directories = [work_directory / side if work_directory else None for side in SIDES]
    for directory in directories:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    source, target = (
        Session(server, limits=how.limits, throttle=how.throttle(), work_directory=directory)
        for server, directory in zip(config.servers(), directories, strict=True)
        for how in (options.of(server),)
    )
    return source, target


def conclude_migration(
    sessions: Sessions,
    both: Both,
    options: MigrationOptions,
    directory: Path | None = None,
    *,
    exit_status: ExitStatus | None = None,
) -> MigrationDocument:
    """Build the report on two registries that were read.

    Args:
        exit_status: of a comparison that does not come to its end; by default the results decide.
    """
    if exit_status is None:
        know_hidden_models(sessions, both, options)
        know_other_storages(sessions, both, options.workers)
    builder = MigrationBuilder(options, directory=directory)
    compare_sides(
        sessions,
        both.source,
        both.target,
        both.models,
        both.names,
        one_way=options.one_way,
        keep_row=builder.add,
        keep_model=builder.add_model,
    )
    return builder.document(both, exit_status=exit_status)


def interrupted_migration(
    sessions: Sessions,
    both: Both,
    options: MigrationOptions,
    error: BaseException,
    directory: Path | None = None,
) -> MigrationDocument:
    """Build the report on the models that were read in both registries. No server is asked for it.

    Args:
        error: what interrupted the comparison.
    """
    for session in sessions:
        session.stop()
    interrupted = Interruption.by(error, "the comparison")
    partly = reached(both, interrupted.why)
    return conclude_migration(sessions, partly, options, directory, exit_status=interrupted.exit_status)


def chosen_roles(compare_run_models: bool, compare_reg_models: bool) -> tuple[Role, ...]:
    """Return the roles to compare. Raises: UsageError: nothing would be compared."""
    chosen = ((Role.RUN_MODEL, compare_run_models), (Role.REG_MODEL, compare_reg_models))
    roles = tuple(role for role, wanted in chosen if wanted)
    if not roles:
        raise UsageError("with both comparisons skipped nothing would be compared")
    return roles


def servers_of(
    config: CompareConfig, owner_uri: str | None = None, registry_owner_uri: str | None = None
) -> tuple[Server, Server]:
    """Return both servers of a comparison: see `each_with_its_own`."""
    one, two = (
        Server(server.host, server.registry_uri, server.username_env, server.password_env, server.token_env)
        for server in config.servers
    )
    return each_with_its_own(one, two, owner_uri, registry_owner_uri)


def open_session(
    options: AuditOptions,
    *,
    server: Server | None = None,
    work_directory: Path | None = None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Session:
    return Session(
        server or options.server,
        limits=options.limits,
        algorithm=options.digest,
        work_directory=work_directory,
        only_list=options.liveness,
        on_bytes=on_bytes,
        signatures=options.signature_verifier(),
        throttle=options.throttle(),
    )
