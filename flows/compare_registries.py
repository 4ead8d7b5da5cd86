"""Defines `compare-registries`: is all of one registry in another, unchanged?"""

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated, Any

import yaml
from prefect import State, flow, get_run_logger, runtime
from prefect.futures import PrefectFuture
from pydantic import Field

from flows import parameters
from flows.executors.batch_order import IN_FLIGHT, batches_of, whole
from flows.final_state import AFTER, ended, only_logged, refused
from flows.parameters import NotBlank, Texts, Uri
from flows.sides import RegistryServer, Side, side_of
from registry_audit.api import interrupted_migration
from registry_audit.audit.options import DEFAULT_WORKERS, Count, Days, Seconds
from registry_audit.audit.runner import SERVER_AWAY_SECONDS
from registry_audit.audit.work_directory import WorkDirectory, now
from registry_audit.cli.common_options import ledger_url
from registry_audit.cli.report_output import must_be_writable
from registry_audit.errors import AuditError
from registry_audit.ledger.record import registry_of
from registry_audit.migration.both import Both, begin_both
from registry_audit.migration.registries_config import SIDES, MigrationOptions, parse_map, parse_migration_config
from registry_audit.model.listing import Limits
from registry_audit.report.registries_document import MigrationDocument
from registry_audit.report.registries_words import headline
from registry_audit.report.write import write_report
from registry_audit.verdict import ExitStatus, Severity
from tasks.audit_session import Job, close_job, open_session
from tasks.configuration import LEDGER, REGISTRY_URI, TRACKING_URI, configured_uri
from tasks.migration import list_registry, match, read_registry
from tasks.policy import short_address
from tasks.report import report_migration
from tasks.result_storage import SignedResults, kept, life_of, opened_results

_BATCH = 100  # versions in one task run
_LIMITS = Limits()


def _run_name() -> str:
    given = runtime.flow_run.parameters
    return f"compare registries {_label(given['source'])} and {_label(given['target'])}"


def _label(side: Any) -> Any:
    fields = side if isinstance(side, dict) else side.model_dump()
    return fields.get("registry") or short_address(str(fields.get("registry_uri") or fields.get("host")))


@flow(
    name="compare-registries",
    description="Prove a migration: compare every version of one registry with its counterpart in another.",
    flow_run_name=_run_name,
    persist_result=False,
    **AFTER,
)
@parameters.described
def compare_registries(
    source: RegistryServer,
    target: RegistryServer,
    models: Texts | None = None,
    mapping: list[NotBlank] | None = None,
    one_way: bool = False,
    in_place: bool = False,
    fail_on: Severity = Severity.MEDIUM,
    quick: bool = False,
    full_every: Days | None = None,
    ledger: Uri | None = None,
    report_dir: NotBlank | None = None,
    workers: Annotated[int, Field(ge=1, le=256)] | None = None,
    max_files: Count = _LIMITS.max_files,
    max_directories: Count = _LIMITS.max_directories,
    max_depth: Count = _LIMITS.max_depth,
    max_bytes: Count = _LIMITS.max_bytes,
    max_version_seconds: Seconds = _LIMITS.max_version_seconds,
    max_listing_seconds: Seconds = _LIMITS.max_listing_seconds,
    max_versions: Count = _LIMITS.max_versions,
    max_requests: Count | None = None,
    max_bytes_per_second: Count | None = None,
) -> State[Any]:
    """Compare every version of one registry with its counterpart in another, found by its bytes.

    The run ends as Completed, or as Failed with the name Findings, Incomplete or Ledger, or Refused where the request
    itself is wrong.

    Args:
        source: The registry that was migrated from: its server and the names of the variables to sign in with, or a
            block Registry Audit.
        target: The registry that was migrated to, with the same fields.
        models: Only models of these names in the source; * and ? are wildcards.
        mapping: Which name became which in the target, one per line, as `Wine -> main.ml.wine`, `* -> main.ml.*` or
            `stage:Production -> @champion`.
        one_way: Only ask whether all of the source is in the target.
        in_place: The files were meant to stay where they are: one shared storage is not an error.
        quick: Skip models whose file list (sizes, times or ETags) has not changed since an audit last read them fully.
        ledger: Database of those audits, without credentials; else REGISTRY_AUDIT_LEDGER of the worker, the Prefect
            variable registry_audit_ledger or the Secret block registry-audit-ledger; else a file of its user.
        report_dir: Directory for migration.json and its renderings, on the machine that runs the flow.
        workers: How many versions of each registry to read at once; else those of its block, else 8.
        max_requests: Maximum number of concurrent requests to each server, from this process.
        max_bytes_per_second: Maximum bytes per second read from each server, by this process.
    """
    try:
        sides = (side_of(source, "source"), side_of(target, "target"))
        names = parse_map("\n".join(mapping or ()), "mapping")
        limits: dict[str, int | None] = {
            "max_files": max_files,
            "max_directories": max_directories,
            "max_depth": max_depth,
            "max_bytes": max_bytes,
            "max_version_seconds": max_version_seconds,
            "max_listing_seconds": max_listing_seconds,
            "max_versions": max_versions,
            "max_requests": max_requests,
            "max_bytes_per_second": max_bytes_per_second,
        }
        trust = (quick, full_every, ledger_url(parameters.uri(ledger, LEDGER)) if quick else None)
        at_once = [workers or side.held.get("workers", DEFAULT_WORKERS) for side in sides]
        options = MigrationOptions(
            tuple(models or ()), names, one_way, in_place, fail_on, workers or DEFAULT_WORKERS, limits, *trust
        )
        directory = parameters.path(report_dir)
        if directory is not None:
            must_be_writable(directory, "report_dir")
        return _compare(sides, options, at_once, directory)
    except AuditError as error:
        return refused(error)


def _compare(
    sides: tuple[Side, Side], options: MigrationOptions, at_once: list[int], directory: Path | None
) -> State[Any]:
    # Apply the checks of the configuration file.
    config = parse_migration_config(
        yaml.safe_dump({name: side.keys for name, side in zip(SIDES, sides, strict=True)}), "the parameters"
    )
    run = parameters.this_run()
    life = life_of(run, run)
    servers = config.servers(configured_uri(TRACKING_URI), configured_uri(REGISTRY_URI))
    jobs = tuple(
        Job(
            side.signed_in(server),
            side.limited(options.of(server), dict(options.limits)),
            f"{run}-{name}",
            life,
            side.block,
        )
        for name, side, server in zip(SIDES, sides, servers, strict=True)
    )
    work = [WorkDirectory(job.audit_id) for job in jobs]
    with ExitStack() as held:
        for directory_of_side, job in zip(work, jobs, strict=True):
            held.enter_context(directory_of_side.held(registry_of(job.server.registry_uri or job.server.tracking_uri)))
        results = opened_results()
        document = _compared(jobs, options, at_once, directory, results)
    report_migration(whole(document), directory)
    # Keep the readings of an incomplete comparison: a retry within a day only reads what could not be read.
    if document.outcome.exit_status != ExitStatus.INCOMPLETE:
        for directory_of_side in work:
            directory_of_side.remove()
            if results is not None:
                results.forget(directory_of_side.audit_id)
    return ended(document.outcome.exit_status, f"{headline(document)}: {document.summary.sentence}")


def _compared(
    jobs: tuple[Job, ...],
    options: MigrationOptions,
    at_once: list[int],
    directory: Path | None,
    results: SignedResults | None,
) -> MigrationDocument:
    both: Both | None = None
    try:
        listing = [list_registry.submit(job, side) for job, side in zip(jobs, SIDES, strict=True)]
        both = begin_both((listing[0].result(), listing[1].result()), options)
        _read(jobs, both, at_once, results)
        return match(jobs, whole(both), whole(options))  # type: ignore[arg-type]
    except BaseException as error:
        if both is not None and directory is not None:
            with only_logged(f"write the report to {directory}"):
                _report_what_was_done(jobs, both, options, error, directory)
        raise
    finally:
        for job in jobs:
            close_job(job)


def _read(jobs: tuple[Job, ...], both: Both, at_once: list[int], results: SignedResults | None) -> None:
    """Read both registries, a batch of each at a time. Versions with transient errors are read once more at the end."""
    step = read_registry if results is None else kept(read_registry, results, "facts")
    began_at, sides = now(), list(zip(jobs, SIDES, (both.source, both.target), at_once, strict=True))
    retryable, earlier = tuple(list[int]() for _ in sides), list[str]()

    def submitted(index: int, positions: Sequence[int]) -> PrefectFuture[Any]:
        job, side, into, workers = sides[index]
        batch = tuple(into.versions[position] for position in positions)
        return step.submit(job, side, whole(batch), whole(positions), whole(into), workers)

    def take(index: int, positions: Sequence[int], future: PrefectFuture[Any]) -> None:
        into = sides[index][2]
        for position, facts in zip(positions, future.result(), strict=True):
            if not into.has(position):  # a run that this one resumes may have kept it
                into.put(position, facts)
            if facts.audit.read_at is not None and facts.audit.read_at < began_at:
                earlier.append(facts.audit.read_at)
            if facts.retryable:
                retryable[index].append(position)

    rounds = zip_longest(*(batches_of(range(into.count), _BATCH) for _, _, into, _ in sides), fillvalue=())
    running = deque[list[tuple[int, Sequence[int], PrefectFuture[Any]]]]()
    while True:
        for batches in islice(rounds, IN_FLIGHT - len(running)):
            running.append(
                [(n, positions, submitted(n, positions)) for n, positions in enumerate(batches) if positions]
            )
        if not running:
            break
        for reading in running.popleft():
            take(*reading)
    for index, (job, *_) in enumerate(sides):
        again = retryable[index][:]
        if again and open_session(job).wait_for_server(SERVER_AWAY_SECONDS):
            take(index, again, submitted(index, again))
    if earlier:
        get_run_logger().info("%d versions were read before this run, from %s on", len(earlier), min(earlier))


def _report_what_was_done(
    jobs: tuple[Job, ...], both: Both, options: MigrationOptions, error: BaseException, directory: Path
) -> None:
    """Report what an interrupted run had done. Prefect is not called, because it may be what cannot be reached."""
    sessions = open_session(jobs[0]), open_session(jobs[1])
    write_report(interrupted_migration(sessions, both, options, error), directory)
