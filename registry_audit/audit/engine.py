"""Runs the steps of many versions in threads of this process."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.session import Session
from registry_audit.audit.steps import audit_version
from registry_audit.registry.versions import RegisteredVersion

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_WINDOW = 4  # items submitted ahead of each worker


def audit_versions(
    session: Session,
    versions: tuple[RegisteredVersion, ...],
    *,
    workers: int,
    on_done: Callable[[VersionAudit], None] = lambda audit: None,
) -> tuple[VersionAudit, ...]:
    """Audit every version; in the order given, whatever finished first."""
    session.prefetch(versions)

    def audit(version: RegisteredVersion) -> VersionAudit:
        done = audit_version(session, version)
        on_done(done)
        return done

    return in_threads(session, audit, versions, workers=workers)


def in_threads(
    session: Session, step: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> tuple[_Result, ...]:
    """`step` of every item, in the order of the items. An interruption stops the readings that are under way."""
    remaining: Iterator[tuple[int, _Item]] = iter(enumerate(items))
    results: dict[int, _Result] = {}
    running: dict[Future[_Result], int] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="audit") as pool:
        try:
            while True:
                for index, item in islice(remaining, workers * _WINDOW - len(running)):
                    running[pool.submit(step, item)] = index
                if not running:
                    return tuple(results[index] for index in sorted(results))
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    results[running.pop(future)] = future.result()
        except BaseException:
            session.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
