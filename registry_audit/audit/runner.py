"""Runs the steps of many versions in threads of this process, and retries at the end what may pass by itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol, TypeVar

from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.pipeline import audit_version
from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import Work, each_in_time
from registry_audit.net import deadline
from registry_audit.net.deadline import Deadline, OutOfTime
from registry_audit.registry.version import RegisteredVersion

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

SERVER_AWAY_SECONDS = 180.0  # the longest wait for the server at the end of an audit, before the retries
_PREFETCH_SECONDS = 300.0  # after which versions are asked for one by one
_BLOCK = 500  # versions whose runs, download URIs and last readings are requested together


class Row(Protocol):
    """Describes the result of auditing one version."""

    @property
    def retryable(self) -> bool:
        """Say whether the reason that kept it from being read may pass by itself."""
        ...


_Row = TypeVar("_Row", bound=Row)


def audit_versions(
    session: Session,
    versions: Sequence[RegisteredVersion],
    keep: Callable[[int, VersionAudit], None],
    *,
    workers: int,
    on_done: Callable[[VersionAudit], None] = lambda audit: None,
) -> None:
    """Audit every version: see `each_version`."""
    each_version(session, versions, audit_version, keep, late=unresolvable, workers=workers, on_done=on_done)


def each_version(
    session: Session,
    versions: Sequence[RegisteredVersion],
    step: Callable[[Session, RegisteredVersion], _Row],
    keep: Callable[[int, _Row], None],
    *,
    late: Callable[[RegisteredVersion, str], _Row],
    workers: int,
    on_done: Callable[[_Row], None] = lambda row: None,
    once: bool = False,
) -> None:
    """Run the step for every version; at the end, retry failures that may pass by themselves, unless `once` is set.

    Args:
        keep: called with each row and its position among the versions, from any thread and in any order.
        late: makes the row of a version that exceeded its time limit, from the reason.
    """
    retryable: list[int] = []

    def audit(placed: tuple[int, RegisteredVersion]) -> _Row:
        return step(session, placed[1])

    def done(placed: tuple[int, RegisteredVersion], row: _Row) -> None:
        keep(placed[0], row)
        if row.retryable:
            retryable.append(placed[0])
        on_done(row)

    def done_again(placed: tuple[int, RegisteredVersion], row: _Row) -> None:
        keep(placed[0], row)

    def too_late(placed: tuple[int, RegisteredVersion], why: OutOfTime) -> _Row:
        return late(placed[1], why.message)

    work: Work[tuple[int, RegisteredVersion], _Row] = Work(audit, done, too_late)
    each_in_time(session, work, _prefetched(session, versions), session.threads(workers), workers)
    if retryable and not once and session.wait_for_server(SERVER_AWAY_SECONDS):
        again = [(position, versions[position]) for position in sorted(retryable)]
        each_in_time(session, replace(work, keep=done_again), again, session.threads(workers), workers)


def in_threads(
    session: Session,
    step: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    workers: int,
    late: Callable[[_Item, OutOfTime], _Result],
) -> tuple[_Result, ...]:
    """Run `step` for every item, and return the results in the items' order. An interruption stops running readings.

    Args:
        late: makes the result of a step that exceeded the time limit of one version.
    """
    results: dict[int, _Result] = {}

    def keep(item: tuple[int, _Item], result: _Result) -> None:
        results[item[0]] = result

    work: Work[tuple[int, _Item], _Result] = Work(
        lambda item: step(item[1]), keep, lambda item, why: late(item[1], why)
    )
    each_in_time(session, work, enumerate(items), session.threads(workers), workers)
    return tuple(results[position] for position in sorted(results))


def _prefetched(session: Session, versions: Sequence[RegisteredVersion]) -> Iterator[tuple[int, RegisteredVersion]]:
    """Yield the versions with their positions; the next block is prefetched while the current one is audited."""
    ahead = ThreadPoolExecutor(1, thread_name_prefix="prefetch")

    def ask(first: int) -> Future[None]:
        until = Deadline(_PREFETCH_SECONDS, "a fixed limit")
        return ahead.submit(_prefetch, session, versions[first : first + _BLOCK], until)

    try:
        asking: Future[None] | None = ask(0)
        for start in range(0, len(versions), _BLOCK):
            if asking is not None:
                try:
                    asking.result(_PREFETCH_SECONDS)
                    asking = ask(start + _BLOCK)
                except TimeoutError:  # each version is then asked for separately
                    asking = None
            yield from enumerate(versions[start : start + _BLOCK], start)
    finally:
        ahead.shutdown(wait=False, cancel_futures=True)


def _prefetch(session: Session, versions: Sequence[RegisteredVersion], until: Deadline) -> None:
    with deadline.within(until):
        session.prefetch(versions)
