"""Runs the steps of many versions in threads of this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.session import Session
from registry_audit.audit.steps import audit_version
from registry_audit.registry.version import RegisteredVersion

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_WINDOW = 4  # items submitted ahead of each worker
SERVER_AWAY_SECONDS = 180.0  # for which an audit waits, at its end, to try again what broke off
_BLOCK = 500  # versions whose runs, download URIs and last readings are asked for together


def audit_versions(
    session: Session,
    versions: Sequence[RegisteredVersion],
    keep: Callable[[int, VersionAudit], None],
    *,
    workers: int,
    on_done: Callable[[VersionAudit], None] = lambda audit: None,
) -> None:
    """Audit every version; what broke off, and may pass by itself, once more at the end.

    Args:
        keep: told of each row with its position among the versions, from any thread and in any order.
    """
    broke_off: list[int] = []

    def audit(placed: tuple[int, RegisteredVersion]) -> None:
        position, version = placed
        done = audit_version(session, version)
        keep(position, done)
        if done.broke_off:
            broke_off.append(position)
        on_done(done)

    def again(position: int) -> None:
        keep(position, audit_version(session, versions[position]))

    for _ in _in_threads(session, audit, _prefetched(session, versions), workers=workers):
        pass
    if broke_off and session.wait_for_server(SERVER_AWAY_SECONDS):
        for _ in _in_threads(session, again, sorted(broke_off), workers=workers):
            pass


def in_threads(
    session: Session, step: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> tuple[_Result, ...]:
    """`step` of every item, in the order of the items. An interruption stops the readings that are under way."""

    def placed(item: tuple[int, _Item]) -> tuple[int, _Result]:
        return item[0], step(item[1])

    results = dict(_in_threads(session, placed, enumerate(items), workers=workers))
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


def _in_threads(
    session: Session, step: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> Iterator[_Result]:
    """`step` of every item, as they are done; some items are taken ahead, and no more."""
    remaining = iter(items)
    running: set[Future[_Result]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="audit") as pool:
        try:
            while True:
                for item in islice(remaining, workers * _WINDOW - len(running)):
                    running.add(pool.submit(step, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BaseException:
            session.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
