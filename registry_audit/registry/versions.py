"""What the registry says exists: every model version, or the one a person named."""

import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, UsageError
from registry_audit.patience import patiently
from registry_audit.printable import printable
from registry_audit.refs import Alias, Latest, Number, Selector, Stage
from registry_audit.registry.connection import Connection, must_listen
from registry_audit.registry.listed import KeySet, ListedVersions, version_spool
from registry_audit.registry.translate import translated
from registry_audit.registry.version import Key, RegisteredVersion

_PAGE_SIZE = 1_000
_MODELS_PAGE_SIZE = 250  # MLflow reads the newest versions of each with it
_MAX_PASSES = 5
_PROMPTS = "tags.`mlflow.prompt.is_prompt` = 'true'"
# MLflow's default order moves when anything is updated during the scan, which loses rows (docs/mlflow.md section 4).
_STABLE_ORDER = ["name ASC", "version_number ASC"]


@dataclass(frozen=True, slots=True)
class RegistryListing:
    versions: ListedVersions
    keys: KeySet  # of all of them
    notes: tuple[str, ...] = ()  # what a reader must know of how they were listed
    whole: bool = True  # False where no two passes agreed, so that a version may be missing


def list_versions(
    connection: Connection, filter_string: str | None = None, *, whole_rows: bool = False
) -> RegistryListing:
    """Every version of every registered model, prompts excluded.

    Args:
        whole_rows: keep tags, description and all else that an audit does not need.

    Paging is by offset, so a deletion or an insertion meanwhile loses or repeats rows. The list is therefore
    read until two passes agree on the names, at most five times; what any pass saw stays in, and the notes say so.

    Raises:
        UsageError: the server refuses the filter or the credentials.
        CouldNotVerify: the server cannot be read.
    """
    aliases = _aliases(connection)
    versions, keys = _pass(connection, filter_string, aliases, whole_rows)
    gone, notes, stable = KeySet(), list[str](), True
    for _ in range(_MAX_PASSES - 1):
        before = keys
        versions, keys = _pass(connection, filter_string, aliases, whole_rows)
        if keys == before:
            break
        gone.update(before)
    else:
        stable = False
        gone.update(keys)
        notes.append(f"the registry kept changing while it was listed; {len(gone)} versions were seen in all")
    if count := gone.missing_from(keys):
        notes.append(f"{count} versions were deleted while the registry was listed")
    return RegistryListing(versions, keys, tuple(notes), stable)


def _pass(
    connection: Connection, filter_string: str | None, aliases: dict[Key, list[str]], whole_rows: bool
) -> tuple[ListedVersions, KeySet]:
    """One reading of the list; what a page repeats counts once."""
    spool, keys = version_spool(), KeySet()
    last, in_order = ("", 0), True
    for version in map(_registered if whole_rows else _listed, _search_raw(connection, filter_string)):
        if keys.add((version.name, version.version)):
            in_order &= last < version.key
            last = version.key
            held = aliases.get((version.name, version.version))
            spool.append(replace(version, aliases=tuple(sorted(held))) if held else version)
    positions = range(len(spool))
    # A database has an order of its own for letters.
    sorted_positions = positions if in_order else sorted(positions, key=lambda position: spool.at(position).key)
    return ListedVersions(spool, array("q", sorted_positions)), keys


def find_version(connection: Connection, name: str, selector: Selector) -> RegisteredVersion:
    """The one version that a person asked for.

    Raises:
        NotFound: no such model, version, stage or alias; the message says which and what there is instead.
        CouldNotVerify: denied, or the server cannot be read.
    """
    must_listen(connection)
    label = f"model '{printable(name)}'"
    if connection.databricks is not None and connection.databricks.registry is not None:
        connection.databricks.registry.must_support(selector)
    match selector:
        case Number(version):
            try:
                with translated(f"find version {version} of {label}"):
                    found = connection.client.get_model_version(name, version)
            except NotFound as error:
                _model_must_exist(connection, name, label)
                raise NotFound(f"{label} has no version {version}: {_there_is(connection, name)}") from error
        case Alias(alias):
            try:
                with translated(f"find alias '{printable(alias)}' of {label}"):
                    found = connection.client.get_model_version_by_alias(name, alias)
            # An unknown alias is INVALID_PARAMETER_VALUE, not "does not exist" (docs/mlflow.md section 2).
            except UsageError as error:
                model = _model_must_exist(connection, name, label)
                known = ", ".join(f"@{printable(known)}" for known in sorted(dict(model.aliases or {}))) or "none"
                raise NotFound(f"{label} has no alias '@{printable(alias)}': its aliases are {known}") from error
        case Latest():
            found = max(_of_model(connection, name, label), key=lambda version: int(version.version))
        case Stage(stage):
            staged = [v for v in _of_model(connection, name, label) if (v.current_stage or "None") == stage]
            if not staged:
                raise NotFound(f"{label} has no version in stage {stage}: {_there_is(connection, name)}")
            found = max(staged, key=lambda version: int(version.version))
    if not found.aliases:
        model = _model_must_exist(connection, name, label)
        held = [alias for alias, version in dict(model.aliases or {}).items() if str(version) == str(found.version)]
        return replace(_registered(found), aliases=tuple(sorted(held)))
    return _registered(found)


def newest_versions(connection: Connection, count: int) -> list[RegisteredVersion]:
    """At most so many versions, in the order in which the server lists them: one page, for a first look.

    Raises:
        UsageError: the server refuses the credentials.
        CouldNotVerify: the server cannot be read.
    """
    if connection.is_uc:
        models = _page(connection.client.search_registered_models, max_results=1)
        filters = [_name_filter(model.name) for model in models]
        pages = (_page(connection.client.search_model_versions, filter_string=chosen) for chosen in filters)
        return [_listed(version) for page in pages for version in page]
    return [_listed(version) for version in _page(connection.client.search_model_versions, max_results=count)]


def require_model(connection: Connection, name: str) -> None:
    """Raises: NotFound: there is no such registered model. CouldNotVerify: it is denied."""
    _model_must_exist(connection, name, f"model '{printable(name)}'")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model as the registry describes it, whether or not it has versions."""

    name: str
    description: str | None
    tags: tuple[tuple[str, str], ...]  # sorted


def list_models(connection: Connection) -> Iterator[RegisteredModel]:
    """Every registered model, prompts excluded.

    Raises:
        CouldNotVerify: the server cannot be read.
    """
    size = 100 if connection.is_uc else _MODELS_PAGE_SIZE
    for model in _pages(connection.client.search_registered_models, max_results=size):
        tags = tuple(sorted((str(key), str(value)) for key, value in dict(model.tags or {}).items()))
        yield RegisteredModel(model.name, model.description or None, tags)


def list_prompts(connection: Connection) -> Iterator[str]:
    """The names of the prompts: they are kept as registered models, and no other listing shows them.

    Raises:
        AuditError: the registry knows no prompts, or cannot be read.
    """
    pages = _pages(connection.client.search_registered_models, filter_string=_PROMPTS, max_results=_MODELS_PAGE_SIZE)
    return (str(model.name) for model in pages)


def not_confirmed_gone(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Of versions that no listing showed, those that the registry does not say are gone, and why.

    A model that this user may not see is left out of every listing without a word; asked for, it is denied.
    """
    reasons: dict[tuple[str, str], str] = {}
    for name, version in keys:
        label = f"version {printable(version)} of model '{printable(name)}'"
        try:
            patiently(partial(_ask_for, connection, name, version, label))
            reasons[name, version] = f"{label} was not listed, and is there: audit again"
        except NotFound:
            continue
        except AuditError as error:
            reasons[name, version] = error.message
    return reasons


def _ask_for(connection: Connection, name: str, version: str, label: str) -> None:
    with translated(f"find {label}"):
        connection.client.get_model_version(name, version)


def _of_model(connection: Connection, name: str, label: str) -> list[Any]:
    found = [version for version in _search_raw(connection, _name_filter(name)) if version.name == name]
    if not found:
        _model_must_exist(connection, name, label)
        raise NotFound(f"{label} has no versions")
    return found


def _model_must_exist(connection: Connection, name: str, label: str) -> Any:
    try:
        with translated(f"find {label}"):
            return connection.client.get_registered_model(name)
    except NotFound as error:
        raise NotFound(f"there is no registered {label} in {_shown(connection)}") from error


def _there_is(connection: Connection, name: str) -> str:
    numbers = sorted(int(version.version) for version in _search_raw(connection, _name_filter(name)))
    if not numbers:
        return "it has no versions"
    return f"its versions are {', '.join(map(str, numbers[-10:]))}" + (" (the last ten)" if len(numbers) > 10 else "")


def _shown(connection: Connection) -> str:
    return connection.registry_address.shown


def _name_filter(name: str) -> str | None:
    """A filter for one name; None for a name with both kinds of quote, which no filter can say: list, then look."""
    if "'" not in name:
        return f"name='{name}'"
    return None if '"' in name else f'name="{name}"'


def _search_raw(connection: Connection, filter_string: str | None) -> Iterator[Any]:
    if connection.is_uc and filter_string is None:
        # Unity Catalog has no search over all models, and no order of its own to ask for.
        for model in _pages(connection.client.search_registered_models, max_results=100):
            yield from _pages(connection.client.search_model_versions, filter_string=_name_filter(model.name))
        return
    order = {} if connection.is_uc else {"order_by": _STABLE_ORDER}
    yield from _pages(
        connection.client.search_model_versions, filter_string=filter_string, max_results=_PAGE_SIZE, **order
    )


def _aliases(connection: Connection) -> dict[tuple[str, str], list[str]]:
    """Aliases stand on the registered model; the search for versions leaves them out (docs/mlflow.md section 4)."""
    held: dict[tuple[str, str], list[str]] = defaultdict(list)
    size = 100 if connection.is_uc else _MODELS_PAGE_SIZE
    models = _pages(connection.client.search_registered_models, max_results=size)
    for model in models:
        for alias, version in dict(model.aliases or {}).items():
            held[model.name, str(version)].append(alias)
    return held


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """One page at a time, for a registry of any size."""
    token, seen = None, set[str]()
    while True:
        page = patiently(partial(_page, search, page_token=token, **arguments))
        yield from page
        token = page.token
        if not token:
            return
        # A server that names a page again, or goes on without giving anything, would be followed for ever.
        if token in seen or not page:
            raise CouldNotVerify("could not list the registry: the server's pages lead in a circle")
        seen.add(token)


def _page(search: Callable[..., Any], **arguments: Any) -> Any:
    with translated("list the registry"):
        return search(**arguments)


def _listed(version: Any) -> RegisteredVersion:
    """What an audit needs of a version: of a hundred thousand every text counts."""
    found = _registered(version)
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


def _registered(version: Any) -> RegisteredVersion:
    stage = version.current_stage
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        status=version.status or "READY",
        stage=None if stage in (None, "", "None") else stage,
        aliases=tuple(sorted(version.aliases or ())),
        run_id=version.run_id or None,
        source=version.source or "",
        creation_time_ms=version.creation_timestamp,
        last_updated_ms=version.last_updated_timestamp,
        description=version.description or None,
        user_id=version.user_id or None,
        run_link=version.run_link or None,
        status_message=version.status_message or None,
        tags=tuple(sorted(dict(version.tags or {}).items())),
    )
