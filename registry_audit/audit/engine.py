"""Runs the steps of many versions in threads of this process."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.session import Session
from registry_audit.audit.steps import audit_version
from registry_audit.registry.transfers import submitted
from registry_audit.registry.version import RegisteredVersion

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

SERVER_AWAY_SECONDS = 180.0  # for which an audit waits, at its end, to try again what broke off
_BLOCK = 500  # versions whose runs, download URIs and last readings are asked for together


class Row(Protocol):
    """What auditing one version gives."""

    @property
    def broke_off(self) -> bool:
        """Whether what kept it from being read may pass by itself."""
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
    each_version(session, versions, audit_version, keep, workers=workers, on_done=on_done)


def each_version(
    session: Session,
    versions: Sequence[RegisteredVersion],
    step: Callable[[Session, RegisteredVersion], _Row],
    keep: Callable[[int, _Row], None],
    *,
    workers: int,
    on_done: Callable[[_Row], None] = lambda row: None,
) -> None:
    """The step of every version; what broke off, and may pass by itself, once more at the end.

    Args:
        keep: told of each row with its position among the versions, from any thread and in any order.
    """
    broke_off: list[int] = []

    def audit(placed: tuple[int, RegisteredVersion]) -> None:
        position, version = placed
        done = step(session, version)
        keep(position, done)
        if done.broke_off:
            broke_off.append(position)
        on_done(done)

    def again(position: int) -> None:
        keep(position, step(session, versions[position]))

    _each_in_threads(session, audit, _prefetched(session, versions), workers=workers)
    if broke_off and session.wait_for_server(SERVER_AWAY_SECONDS):
        _each_in_threads(session, again, sorted(broke_off), workers=workers)


def in_threads(
    session: Session, step: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> tuple[_Result, ...]:
    """`step` of every item, in the order of the items. An interruption stops the readings that are under way."""
    results: dict[int, _Result] = {}

    def placed(item: tuple[int, _Item]) -> None:
        results[item[0]] = step(item[1])

    _each_in_threads(session, placed, enumerate(items), workers=workers)
    return tuple(results[position] for position in sorted(results))


def _prefetched(session: Session, versions: Sequence[RegisteredVersion]) -> Iterator[tuple[int, RegisteredVersion]]:
    """The versions with their positions; the next block is asked for while the one before is audited."""
    ahead = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        asking = ahead.submit(session.prefetch, versions[:_BLOCK])
        for start in range(0, len(versions), _BLOCK):
            asking.result()
            end = start + _BLOCK
            asking = ahead.submit(session.prefetch, versions[end : end + _BLOCK])
            yield from enumerate(versions[start:end], start)
    finally:
        ahead.shutdown(wait=False, cancel_futures=True)


def _each_in_threads(session: Session, step: Callable[[_Item], None], items: Iterable[_Item], *, workers: int) -> None:
    """`step` of every item: each thread takes the next one when it is done with the one before.

    A future for each item would cost more than a small model takes to read.
    """
    remaining, taking, over = iter(items), threading.Lock(), threading.Event()

    def work() -> None:
        try:
            with session.turns.kept_between():
                while not over.is_set():
                    session.pulse(0)  # also ends what began to run only after the audit was stopped
                    with taking:
                        item = next(remaining, _NO_MORE)
                    if isinstance(item, _NoMore):
                        return
                    step(item)
        except BaseException:
            over.set()
            raise

    pool, loops = session.threads(workers), list[Future[None]]()
    try:
        loops += (submitted(pool, work) for _ in range(workers))
        done, _ = wait(loops, return_when=FIRST_EXCEPTION)
        for ended in done:  # all of them, unless one failed
            ended.result()
    except BaseException:
        over.set()
        session.stop()
        wait(loops)
        raise


class _NoMore:
    """Told apart from every item."""


_NO_MORE = _NoMore()
