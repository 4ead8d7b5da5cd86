"""Lists and reads both registries concurrently, each within its own limits."""

import secrets
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.pipeline import in_a_row, must_resolve
from registry_audit.audit.runner import in_threads
from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import AuditError, CouldNotVerify
from registry_audit.migration.comparison import chosen_models, chosen_versions
from registry_audit.migration.facts import VersionFacts
from registry_audit.migration.registries_config import SIDES, MigrationOptions, NameMap, SideName, Spelling
from registry_audit.migration.registry_reading import Listed, Side, fill_side, list_registry
from registry_audit.printable import printable
from registry_audit.refs import has_three_levels
from registry_audit.registry.registered_models import models_by_name
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.registry.storage import Surroundings
from registry_audit.registry.version import RegisteredVersion

_Result = TypeVar("_Result")
_MOST_ASKED, _MOST_NAMED = 1_000, 10  # models
Sessions = tuple[Session, Session]  # source, target


@dataclass(frozen=True, slots=True)
class Both:
    source: Side
    target: Side
    models: tuple[set[str], set[str]]  # the compared models of source and target
    names: NameMap  # with names as both registries spell them


def list_both(sessions: Sessions) -> tuple[Listed, Listed]:
    """List both registries concurrently.

    Raises:
        UsageError, CouldNotVerify: see `list_registry`; the message names the side.
    """
    return _at_once(sessions, lambda index, _: list_registry(sessions[index]))


def begin_both(listed: tuple[Listed, Listed], options: MigrationOptions, directory: Path | None = None) -> Both:
    """Choose what to compare in two listed registries. Nothing is read yet.

    Args:
        directory: where facts about versions are kept if they do not fit in memory.

    Raises:
        UsageError: the options name a model that is in neither registry, map two models to one, or contradict
            themselves.
    """
    names = options.names.between(*(Spelling.of(one.names, any_case=one.any_case) for one in listed))
    options = replace(options, names=names, models=tuple(map(names.source, options.models)))
    models = chosen_models(listed[0], listed[1], options)
    source, target = (
        Side(one, chosen_versions(one, chosen), directory) for one, chosen in zip(listed, models, strict=True)
    )
    return Both(source, target, models, names)


def read_both(
    sessions: Sessions,
    both: Both,
    options: MigrationOptions,
    *,
    on_done: Callable[[SideName, VersionFacts], None] = lambda side, facts: None,
) -> None:
    """Read the chosen versions of both registries concurrently."""
    sides = both.source, both.target

    def read(index: int, side: SideName) -> None:
        fill_side(sessions[index], sides[index], workers=options.workers, on_done=lambda facts: on_done(side, facts))

    _at_once(sessions, read)


def know_other_storages(sessions: Sessions, both: Both, workers: int) -> None:
    """Resolve source versions that are not compared, if a version of the target may lie in their storage.

    A target version that is served from any storage of the source was not moved. Source versions that cannot lie in
    such a storage are not resolved.
    """
    source, session, connection = both.source, sessions[0], sessions[0].connection
    around = Surroundings(connection.tracking_uri, connection.workspace, lambda profile: profile)
    listed = {version.name for version in source.listed.versions}
    others = [
        version
        for version in source.listed.versions
        if version.name not in both.models[0] and both.target.storages.may_hold(version, around, listed)
    ]

    def resolved(version: RegisteredVersion) -> ResolvedVersion | str:
        found = in_a_row(version, lambda: must_resolve(session, version))
        return found.reason or "" if isinstance(found, VersionAudit) else found

    unknown = dict[str, str]()
    found = in_threads(session, resolved, others, workers=workers, late=lambda _, why: why.message)
    for version, one in zip(others, found, strict=True):
        if isinstance(one, str):
            unknown[version.label] = one
            continue
        for location in (one.run_model, one.reg_model):
            source.storages.update(location.storages)
            if location.unknown is not None:
                unknown[version.label] = location.unknown
    if unknown:
        (label, why), more = min(unknown.items()), len(unknown) - 1
        others_too = f" and {more} more" if more else ""
        note = (
            f"the storage of {printable(label)}{others_too} of the source, not compared here, is not known, and a "
            f"version of the target may be served from it: {why}"
        )
        source.listed = replace(source.listed, gaps=True, notes=(*source.listed.notes, note))


def know_hidden_models(sessions: Sessions, both: Both, options: MigrationOptions) -> None:
    """Ask each registry by name for the models that only the other one lists.

    MLflow silently omits models that the user may not see from every listing, but denies a request by name.
    """
    names, models = both.names, both.models
    led_from = {one for there in models[1] for one in names.sources_of(there)}
    if not options.models:
        led_from |= {one for there in both.target.listed.names for one in names.sources_of(there)}
    leads_to = {names.target_of(name) for name in models[0]}
    leads_to |= {other[0] for one, other in names.versions if one[0] in models[0]}
    _note_hidden(sessions[0], both.source, led_from, _is_there)
    # A denied model of the target is not known to be missing, even if the target denies unknown names as well.
    _note_hidden(sessions[1], both.target, leads_to, _may_be_there)


def _note_hidden(
    session: Session, side: Side, names: set[str], hidden_of: Callable[[Session, list[str]], set[str]]
) -> None:
    unlisted = sorted(names - side.listed.names - set(side.listed.prompts or ()))[:_MOST_ASKED]
    if session.connection.is_uc:  # Unity Catalog has only three-level names, and refuses requests for others
        unlisted = [name for name in unlisted if has_three_levels(name)]
    if not unlisted:
        return
    try:
        hidden = sorted(in_time(session, partial(hidden_of, session, unlisted), deadline=session.listing_deadline()))
    except CouldNotVerify:
        hidden = unlisted
    if hidden:
        shown = ", ".join(map(printable, hidden[:_MOST_NAMED])) + (", ..." if len(hidden) > _MOST_NAMED else "")
        note = f"these registered models are not listed and not known to be missing, perhaps denied: {shown}"
        notes = (*side.listed.notes, note)
        side.listed = replace(side.listed, gaps=True, hidden=frozenset(hidden), notes=notes)


def _may_be_there(session: Session, names: list[str]) -> set[str]:
    found, failed = models_by_name(session.connection, names)
    return {*failed, *(model.name for model in found)}


def _is_there(session: Session, names: list[str]) -> set[str]:
    """Return the models that exist or are denied, without those that are denied just like a random name."""
    hidden = _may_be_there(session, names)
    strangers = {f"{name}_{secrets.token_hex(8)}": name for name in sorted(hidden)}
    return hidden - {strangers[name] for name in models_by_name(session.connection, strangers)[1]}


def reached(both: Both, why: str) -> Both:
    """Return the models that were read completely before an interruption. Only these are reported.

    Args:
        why: the reason that the report states.
    """
    names, (sources, targets) = both.names, both.models
    mapped = {one[0] for one, _ in names.versions}, {other[0] for _, other in names.versions}
    kept_sources = {
        name for name in sources - mapped[0] if both.source.is_read(name) and both.target.is_read(names.target_of(name))
    } - {name for name in sources if names.target_of(name) in mapped[1]}
    counterparts = {names.target_of(name) for name in sources}
    kept_targets = {names.target_of(name) for name in kept_sources} & targets
    kept_targets |= {name for name in targets - counterparts - mapped[1] if both.target.is_read(name)}
    left = f"{len(sources) - len(kept_sources)} of {len(sources)} models of the source were not reached"
    for side in (both.source, both.target):
        note = f"{why}: {left}, and {side.count - side.read_count} of {side.count} versions here were not read"
        side.listed = replace(side.listed, gaps=True, notes=(*side.listed.notes, note))
    only_kept = replace(names, versions=()) if names.versions else names
    return Both(both.source, both.target, (kept_sources, kept_targets), only_kept)


def _at_once(sessions: Sessions, step: Callable[[int, SideName], _Result]) -> tuple[_Result, _Result]:
    """Run a step for both sides, each in a thread. If one fails or is interrupted, both sessions are stopped."""

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
