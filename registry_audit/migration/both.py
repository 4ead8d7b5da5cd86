"""Both registries at once, each within its own limits."""

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from registry_audit.audit.session import Session
from registry_audit.errors import AuditError
from registry_audit.migration.comparing import chosen_models, chosen_versions
from registry_audit.migration.config import SIDES, SideName
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.options import MigrationOptions
from registry_audit.migration.reading import Listed, Side, list_registry, read_side

_Result = TypeVar("_Result")
Sessions = tuple[Session, Session]  # of the source, of the target


@dataclass(frozen=True, slots=True)
class Both:
    source: Side
    target: Side
    models: tuple[set[str], set[str]]  # that are compared


def list_both(sessions: Sessions) -> tuple[Listed, Listed]:
    """
    Raises:
        UsageError, CouldNotVerify: as `list_registry`; the message names the side.
    """
    return _at_once(sessions, lambda index, side: list_registry(sessions[index]))


def read_both(
    sessions: Sessions,
    listed: tuple[Listed, Listed],
    options: MigrationOptions,
    *,
    directory: Path | None = None,
    on_done: Callable[[SideName, VersionFacts], None] = lambda side, facts: None,
) -> Both:
    """Read what is to be compared, both registries at once.

    Raises:
        UsageError: the options name a model that is in neither registry, or map two to one.
    """
    models = chosen_models(listed[0], listed[1], options.models, options.names)

    def read(index: int, side: SideName) -> Side:
        one = listed[index]
        return read_side(
            sessions[index],
            one,
            chosen_versions(one, models[index]),
            workers=options.workers,
            directory=directory,
            on_done=lambda facts: on_done(side, facts),
        )

    source, target = _at_once(sessions, read)
    return Both(source, target, models)


def _at_once(sessions: Sessions, step: Callable[[int, SideName], _Result]) -> tuple[_Result, _Result]:
    """The step of both sides, each in a thread. An interruption ends what both read."""

    def told(index: int, side: SideName) -> _Result:
        try:
            return step(index, side)
        except AuditError as error:
            error.message = f"the {side}: {error.message}"
            raise

    with ThreadPoolExecutor(2, thread_name_prefix="registry") as pool:
        running = [pool.submit(told, index, side) for index, side in enumerate(SIDES)]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
            failed = [future for future in running if future.done() and future.exception() is not None]
            if failed:
                raise failed[0].exception() or AssertionError
            return running[0].result(), running[1].result()
        except BaseException:
            for session in sessions:
                session.stop()
            raise
