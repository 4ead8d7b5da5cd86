"""Lists every model version of a registry, or finds the one that a person named."""

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

from registry_audit.errors import AuditError, NotFound, Transient, UsageError, did_you_mean
from registry_audit.model.listing import Limits
from registry_audit.net.rest import Denied, NoSuchRoute
from registry_audit.net.retry import retried
from registry_audit.printable import printable, restored
from registry_audit.refs import Alias, Latest, Number, Selector, Stage
from registry_audit.registry.connection import Connection, answers, must_listen, server_version
from registry_audit.registry.prompts import TAG, Hidden, hidden_models, hidden_versions, is_prompt
from registry_audit.registry.queries import (
    ask_alias,
    ask_model,
    ask_version,
    first_versions,
    is_of_model,
    name_filter,
    search_models,
    search_versions,
)
from registry_audit.registry.registered_models import existing_model
from registry_audit.registry.version import (
    Key,
    KeySet,
    ListedVersions,
    RegisteredVersion,
    number_of,
    registered_version,
    text_of,
    version_spool,
)
from registry_audit.spool import Spool

_MAX_PASSES = 5
_MOST_LEFT_OUT = 100  # versions asked for one by one, because a listing that should show them does not
_LEFT_OUT_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RegistryListing:
    versions: ListedVersions
    keys: KeySet  # keys of all versions
    notes: tuple[str, ...] = ()  # what a reader must know about the listing
    whole: bool = True  # False if no two passes agreed, so that a version may be missing
    prompts: frozenset[str] = frozenset()  # names of prompts, which are no models


def list_versions(
    connection: Connection,
    filter_string: str | None = None,
    *,
    whole_rows: bool = False,
    max_versions: int = Limits().max_versions,
) -> RegistryListing:
    """List every version of every registered model, even if it carries a prompt's tag. Prompts are only named.

    Paging is by offset, so a concurrent deletion or insertion loses or repeats rows. The list is therefore read until
    two passes agree on the names, at most five times, and the notes say what only some passes saw. Every other pass
    begins at the end, so that pages which are cut short on the way lack other rows.

    Args:
        whole_rows: keep tags, description and everything else that an audit does not need.

    Raises:
        UsageError: the server refuses the filter or the credentials.
        CouldNotVerify: the server cannot be read.
    """
    tagged, denied = hidden_models(connection, max_versions), dict[str, str]()
    models = _Models(connection, filter_string, tagged, denied, max_versions)
    listed = partial(_pass, connection, filter_string, models, tagged, whole_rows, max_versions, denied)
    versions, keys, hidden = listed(backward=True)
    gone, notes, stable = KeySet(), list[str](), True
    for number in range(1, _MAX_PASSES):
        before = keys
        versions, keys, hidden = listed(backward=number % 2 == 0)
        if keys == before:
            break
        gone.update(before)
    else:
        stable = False
        gone.update(keys)
        notes.append(
            f"the registry kept changing while it was listed, or its list is cut short; {len(gone)} versions were seen "
            "in all"
        )
    if stable and (count := gone.missing_from(keys)):
        notes.append(f"{count} versions were deleted or denied while the registry was listed")
    left_out = _left_out(connection, models.newest, keys) if filter_string is None else []
    if left_out:
        notes.append(
            f"the registry's list of versions leaves out {', '.join(left_out)}, which its registered models name: it "
            "was cut short, and other versions may be missing, too"
        )
    prompts = frozenset(prompt.name for prompt in hidden.prompts)
    notes += _hidden_notes(hidden, prompts, only_prompts=len(keys) == 0)
    notes += _denied_notes(denied)
    whole = stable and hidden.whole and not denied and not left_out
    return RegistryListing(versions, keys, tuple(notes), whole, prompts)


def _pass(
    connection: Connection,
    filter_string: str | None,
    models: "_Models",
    tagged: tuple[Any, ...],
    whole_rows: bool,
    max_versions: int,
    denied: dict[str, str],
    *,
    backward: bool,
) -> tuple[ListedVersions, KeySet, Hidden]:
    """Read the list once; a version that a page repeats counts once."""
    spool, keys, repeated = version_spool(), KeySet(), _Repeated()
    last: tuple[str, int, str] | None = None
    rising = falling = True
    hidden = hidden_versions(connection, filter_string, tagged, max_count=max_versions)
    described = partial(_whole, connection) if whole_rows else _listed
    listed = search_versions(connection, filter_string, max_versions, denied, backward=backward)
    for version in map(described, chain(listed, hidden.models)):
        if not keys.add((version.name, version.version)):
            repeated.add(version)
        else:
            rising &= last is None or last < version.key
            falling &= last is None or last > version.key
            last = version.key
            spool.append(models.completed(version))
    repeated.doubt_in(spool)
    positions: Sequence[int] = range(len(spool))
    if falling:
        positions = positions[::-1]
    elif not rising:  # databases sort letters in their own order
        positions = sorted(positions, key=lambda position: spool.at(position).key)
    return ListedVersions(spool, array("q", positions)), keys, hidden


class _Models:
    """Holds the registered models and their aliases, which the search for versions omits (docs/mlflow.md section 4)."""

    def __init__(
        self,
        connection: Connection,
        filter_string: str | None,
        tagged: tuple[Any, ...],
        denied: dict[str, str],
        max_count: int,
    ) -> None:
        """
        Args:
            filter_string: filter of the search for versions. Unity Catalog's only filter names one model, so that no
                other model has to be asked for its aliases.
            denied: receives the models that may not be asked for their aliases, and why.
        """
        self._connection = connection
        self._names, self._aliases = KeySet(), dict[Key, list[str]]()
        self.newest = KeySet()  # versions that the models name: a list of all versions must contain them
        self._orphaned: dict[str, bool] = {}
        chosen = filter_string if connection.is_uc else None
        for model in chain(search_models(connection, chosen, max_count), tagged):
            self._names.add((_name_of(model), ""))
            try:
                self._keep_aliases(model)
                for key in _named_by(model):
                    self.newest.add(key)
            except NotFound:
                continue  # deleted since the models were listed
            except Denied as error:
                denied[_name_of(model)] = error.message

    def _keep_aliases(self, model: Any) -> None:
        for alias, version in dict(model.aliases or {}).items():
            self._aliases.setdefault((_name_of(model), str(version)), []).append(alias)

    def completed(self, version: RegisteredVersion) -> RegisteredVersion:
        """Add the aliases. A version whose registered model's row was lost is marked: MLflow cannot serve it."""
        if (version.name, "") not in self._names and self._is_orphaned(version.name):
            return replace(
                version, doubt="the registry lists it and has lost its registered model: MLflow cannot serve it"
            )
        held = self._aliases.get((version.name, version.version))
        return replace(version, aliases=tuple(sorted(held))) if held else version

    def _is_orphaned(self, name: str) -> bool:
        """Ask for the model by name: it may be newer than the list, or hidden by a filter of the server."""
        if name not in self._orphaned:
            try:
                self._keep_aliases(retried(partial(ask_model, self._connection, name, f"model '{printable(name)}'")))
                self._orphaned[name] = False
            except NotFound:
                self._orphaned[name] = True
            except AuditError:
                self._orphaned[name] = False  # resolving the version will say what is wrong
        return self._orphaned[name]


def _name_of(model: Any) -> str:
    return text_of(model.name) or ""


def _named_by(model: Any) -> Iterator[Key]:
    """Yield the newest version of each stage and the versions with an alias, if the model's entry names them."""
    newest = (str(version.version) for version in getattr(model, "latest_versions", None) or ())
    return ((_name_of(model), version) for version in chain(newest, map(str, dict(model.aliases or {}).values())))


def _left_out(connection: Connection, newest: KeySet, keys: KeySet) -> list[str]:
    """Return some versions that exist and are not in the list of all versions.

    A server, or a gateway before it, that cuts a list short does so in every pass.
    """
    found = list[str]()
    if not newest.missing_from(keys):
        return found
    for name, version in islice(_named_and_missing(connection, newest, keys), _MOST_LEFT_OUT):
        label = f"{printable(name)}/{printable(version)}"
        try:
            if not is_prompt(retried(partial(ask_version, connection, name, version, label))):
                found.append(label)
        except UsageError:
            continue  # deleted meanwhile, or a name that no version can have
        except AuditError:
            found.append(label)  # denied, or not answered: nothing shows that it is gone
        if len(found) >= _LEFT_OUT_SHOWN:
            break
    return found


def _named_and_missing(connection: Connection, newest: KeySet, keys: KeySet) -> Iterator[Key]:
    for model in search_models(connection):
        try:
            named = [key for key in _named_by(model) if key in newest and key not in keys]
        except (NotFound, Denied):
            continue  # deleted meanwhile, or denied, which the notes say
        yield from dict.fromkeys(named)


class _Repeated:
    """Collects versions that a listing repeats, as paging may do. Repetitions must have the same source and status."""

    def __init__(self) -> None:
        self._said: dict[Key, object] = {}
        self._doubted: set[Key] = set()

    def add(self, version: RegisteredVersion) -> None:
        self._compare(version, self._said.setdefault((version.name, version.version), _what_is_said(version)))

    def doubt_in(self, spool: Spool[RegisteredVersion]) -> None:
        """Mark versions that the listing describes in different ways."""
        for position in range(len(spool)) if self._said else ():
            version = spool.at(position)
            key = version.name, version.version
            self._compare(version, self._said.get(key, _what_is_said(version)))
            if key in self._doubted:
                spool.put(position, replace(version, doubt="the registry lists it twice, and differently"))

    def _compare(self, version: RegisteredVersion, said: object) -> None:
        if said != _what_is_said(version):
            self._doubted.add((version.name, version.version))


def _what_is_said(version: RegisteredVersion) -> object:
    return version.source, version.run_id, version.creation_time_ms, version.status


def _hidden_notes(hidden: Hidden, prompts: frozenset[str], *, only_prompts: bool) -> Iterator[str]:
    if names := sorted({version.name for version in hidden.models}):
        shown = ", ".join(f"'{printable(name)}'" for name in names[:10]) + (", ..." if len(names) > 10 else "")
        yield (
            f"the tag {TAG} hides {len(hidden.models)} model versions from MLflow's own lists; they are no prompts, "
            f"and were audited like all others: {shown}"
        )
    if prompts and only_prompts:
        yield f"there are only prompts ({len(prompts)}) in the registry, and a prompt holds no model to audit"
    elif prompts:
        left_out = (
            "1 prompt of the registry was" if len(prompts) == 1 else f"{len(prompts)} prompts of the registry were"
        )
        yield f"{left_out} left out: a prompt holds no model to audit"
    if not hidden.whole:
        yield f"some versions that the tag {TAG} hides could not be asked for, and may be missing"


def _denied_notes(denied: dict[str, str]) -> Iterator[str]:
    if denied:
        first, why = min(denied.items())
        others = f" and {len(denied) - 1} other models" if len(denied) > 1 else ""
        yield f"'{printable(first)}'{others} may not be looked into, and versions of it may be missing here: {why}"


def recorded_sources(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield label and source of every version of every registered model, including those that a prompt's tag hides.

    Raises:
        UsageError: the server refuses the credentials.
        CouldNotVerify: the server cannot be read.
    """
    for version in chain(search_versions(connection, None), hidden_versions(connection).models):
        yield f"{version.name}/{version.version}", text_of(version.source) or ""


def find_version(connection: Connection, name: str, selector: Selector) -> RegisteredVersion:
    """Return the one version that a person asked for.

    Raises:
        NotFound: there is no such model, version, stage or alias; the message says which, and what exists instead.
        CouldNotVerify: denied, or the server cannot be read.
    """
    must_listen(connection)
    retried(partial(server_version, connection))  # else a wrong port that never answers is waited for for minutes
    name = connection.own_spelling(name)
    label = f"model '{printable(name)}'"
    if connection.databricks is not None and connection.databricks.registry is not None:
        connection.databricks.registry.must_support(selector)
    match selector:
        case Number(version):
            try:
                found = ask_version(connection, name, version, f"version {version} of {label}")
            except NotFound as error:
                existing_model(connection, name, label)
                raise NotFound(f"{label} has no version {version}: {_there_is(connection, name)}") from error
        case Alias(alias):
            try:
                found = ask_alias(connection, name, alias, label)
            # An unknown alias is INVALID_PARAMETER_VALUE, not "does not exist" (docs/mlflow.md section 2).
            except UsageError as error:
                if isinstance(error.__cause__, NoSuchRoute):
                    raise
                model = existing_model(connection, name, label)
                aliases = dict(model.aliases or {})
                if alias in aliases:
                    gone = f"version {printable(str(aliases[alias]))}, which is not there"
                    raise NotFound(f"the alias '@{printable(alias)}' of {label} stands for {gone}") from error
                shown = ", ".join(f"@{printable(known)}" for known in sorted(aliases))
                known = f"its aliases are {shown}" if aliases else "it has none"
                close = did_you_mean(alias, aliases, sign="@")
                raise NotFound(f"{label} has no alias '@{printable(alias)}': {known}{close}") from error
        case Latest():
            found = max(_of_model(connection, name, label), key=_number)
        case Stage(stage):
            staged = [v for v in _of_model(connection, name, label) if (v.current_stage or "None") == stage]
            if not staged:
                raise NotFound(f"{label} has no version in stage {stage}: {_there_is(connection, name)}")
            found = max(staged, key=_number)
    if is_prompt(found):
        raise NotFound(f"'{printable(name)}' is a prompt, and a prompt holds no model that could be checked")
    if not found.aliases:
        model = existing_model(connection, name, label)
        held = [alias for alias, version in dict(model.aliases or {}).items() if str(version) == str(found.version)]
        return replace(registered_version(found), aliases=tuple(sorted(held)))
    return registered_version(found)


def newest_versions(connection: Connection, count: int) -> list[RegisteredVersion]:
    """Return at most `count` versions from one page, in the server's order, for a first look.

    Raises:
        UsageError: the server refuses the credentials.
        CouldNotVerify: the server cannot be read.
    """
    return [_listed(version) for version in first_versions(connection, count)]


def not_confirmed_gone(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the versions that no listing showed and that the registry does not report as gone, and why.

    MLflow silently omits models that this user may not see; a request for one of them is denied.

    Args:
        keys: names and numbers as a ledger has them, as in the result.
    """
    reasons: dict[tuple[str, str], str] = {}
    lost: str | None = None
    for name, version in keys:
        if lost is not None:
            reasons[name, version] = lost
            continue
        own_name, number = restored(name), restored(version)
        label = f"version {printable(number)} of model '{printable(own_name)}'"
        try:
            retried(partial(_ask_for, connection, own_name, number, label))
            reasons[name, version] = f"{label} was not listed, and is there: audit again"
        except NotFound:
            continue
        except AuditError as error:
            reasons[name, version] = error.message
            # An unavailable server is not asked again for each of thousands of versions.
            if isinstance(error, Transient) and not answers(connection):
                lost = error.message
    return reasons


def _ask_for(connection: Connection, name: str, version: str, label: str) -> None:
    ask_version(connection, name, version, label)


def _of_model(connection: Connection, name: str, label: str) -> list[Any]:
    found = _all_of_model(connection, name)
    if not found:
        existing_model(connection, name, label)
        raise NotFound(f"{label} has no versions")
    return found


def _all_of_model(connection: Connection, name: str) -> list[Any]:
    """Return every version of one name, including those that a prompt's tag hides."""
    found = {v.version: v for v in search_versions(connection, name_filter(name)) if is_of_model(connection, v, name)}
    hidden = hidden_versions(connection, name=name)
    return [*(found | {version.version: version for version in (*hidden.models, *hidden.prompts)}).values()]


def is_gone(connection: Connection, name: str, version: str) -> bool:
    """Say whether the registry no longer lists the version and reports it as gone when it is asked for by name.

    Neither is enough: searches silently omit models that this user may no longer see, and a version whose model's row
    was lost cannot be fetched, but is still listed.

    Raises:
        CouldNotVerify: the version is denied, or the server cannot be read.
    """
    if any(str(found.version) == version for found in _all_of_model(connection, name)):
        return False
    try:
        retried(partial(_ask_for, connection, name, version, f"version {printable(version)} of '{printable(name)}'"))
    except NotFound:
        return True
    return False


def _there_is(connection: Connection, name: str) -> str:
    numbers = sorted(filter(None, map(_number, _all_of_model(connection, name))))
    if not numbers:
        return "it has no versions"
    if len(numbers) == 1:
        return f"its only version is {numbers[0]}"
    return f"its versions are {', '.join(map(str, numbers[-10:]))}" + (" (the last ten)" if len(numbers) > 10 else "")


def _number(version: Any) -> int:
    return number_of(str(version.version)) or 0


def _listed(version: Any) -> RegisteredVersion:
    """Keep only what an audit needs of a version: with a hundred thousand versions every text counts."""
    found = registered_version(version)
    return replace(
        found,
        name=sys.intern(found.name),
        version=sys.intern(found.version),
        status=sys.intern(found.status),
        description=None,
        user_id=None,
        run_link=None,
        status_message=None,
        tags=(),
    )


def _whole(connection: Connection, version: Any) -> RegisteredVersion:
    """Read the tags, which a listing of Unity Catalog leaves out: there each version is asked for separately."""
    listed = registered_version(version)
    if not connection.is_uc or not connection.copies_models:
        return listed
    try:
        label = f"version {printable(listed.version)} of model '{printable(listed.name)}'"
        return registered_version(retried(partial(ask_version, connection, listed.name, listed.version, label)))
    except (NotFound, Denied):  # deleted meanwhile, or denied: resolving the version will report it
        return listed
