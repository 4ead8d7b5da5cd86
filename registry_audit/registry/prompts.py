"""Finds prompts among the registered models, and models that a prompt's tag hides from MLflow's own lists.

MLflow keeps prompts as registered models with the tag `mlflow.prompt.is_prompt`. A search leaves out every version of a
name if one of its versions carries the tag, and anybody who may register versions may set it. So the tag alone proves
nothing: a prompt has a prompt's text, one of the sources that MLflow writes for prompts, and no run.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from registry_audit.errors import AuditError, CouldNotVerify, NotFound, Transient, UsageError
from registry_audit.model.listing import Limits
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection
from registry_audit.registry.mlflow_private import all_tags, matching
from registry_audit.registry.queries import ask_model, ask_version, name_filter, search_models, search_versions
from registry_audit.registry.translate import translated
from registry_audit.registry.version import number_of, version_key

TAG = "mlflow.prompt.is_prompt"
TEXT_TAG = "mlflow.prompt.text"
SOURCES = frozenset({"dummy-source", "prompt-template"})  # mlflow.prompt.constants._PROMPT_SOURCE_PLACEHOLDERS
_TAGGED = f"tags.`{TAG}` = 'true'"
_MOST_ASKED = 2_000  # versions that no search shows, asked for one by one


@dataclass(frozen=True, slots=True)
class Hidden:
    """Holds the versions that MLflow's ordinary searches leave out."""

    models: tuple[Any, ...] = ()  # versions of models, as MLflow describes them
    prompts: tuple[Any, ...] = ()  # versions of prompts
    whole: bool = True  # False if some could not be asked for


def is_prompt(version: Any) -> bool:
    """Say whether a version is a prompt by its contents, not only by its tag."""
    tags = all_tags(version)
    return (
        tags.get(TAG, "").lower() == "true"
        and TEXT_TAG in tags
        and (version.source or "") in SOURCES
        and not version.run_id
    )


def tagged_models(connection: Connection) -> Iterator[Any]:
    """Yield registered models with a prompt's tag, which no other listing shows: prompts, and falsely tagged models.

    Raises:
        AuditError: the registry keeps no prompts, or cannot be read.
    """
    if not _knows_prompts(connection):
        raise CouldNotVerify("this registry does not keep prompts among its registered models")
    return search_models(connection, _TAGGED)


def hidden_models(connection: Connection, max_count: int = Limits().max_versions) -> tuple[Any, ...]:
    """Return registered models that carry the tag; they know the aliases of their versions."""
    return tuple(_tagged(search_models(connection, _TAGGED, max_count))) if _knows_prompts(connection) else ()


def hidden_versions(
    connection: Connection,
    filter_string: str | None = None,
    models: tuple[Any, ...] = (),
    name: str | None = None,
    max_count: int = Limits().max_versions,
) -> Hidden:
    """Return every version of each name of which some version carries the tag.

    Args:
        filter_string: filter of the ordinary search, which applies to these versions too.
        models: result of `hidden_models`.
        name: restricts the search to this model.

    Raises:
        CouldNotVerify: the server cannot be read.
    """
    if not _knows_prompts(connection) or TAG in (filter_string or ""):
        return Hidden()
    by_name: dict[str, list[Any]] = defaultdict(list)  # a server may repeat versions, and number them in any way
    named = None if name is None else name_filter(name)
    for version in _tagged(search_versions(connection, f"{_TAGGED} AND {named}" if named else _TAGGED, max_count)):
        if name in (None, version.name):
            by_name[version.name].append(version)
    newest = {model.name: _newest(model) for model in models}
    asked, whole = 0, True
    for found, known in by_name.items():
        label = f"model '{printable(found)}'"
        try:
            asking = partial(ask_model, connection, found, label)
            count = newest[found] if found in newest else _newest(retried(asking))
        except UsageError:
            whole = False
            continue
        listed = {number_of(str(version.version)) for version in known}
        for number in sorted(set(range(1, min(count, 10**6) + 1)) - listed):
            asked += 1
            if asked > _MOST_ASKED:
                return _sorted_out(by_name, filter_string, whole=False)
            try:
                known.append(retried(partial(ask_version, connection, found, str(number), label)))
            except NotFound:
                continue
            except Transient:
                raise
            except AuditError:
                whole = False
    return _sorted_out(by_name, filter_string, whole=whole)


def _sorted_out(by_name: dict[str, list[Any]], filter_string: str | None, *, whole: bool) -> Hidden:
    found = (version for versions in by_name.values() for version in versions)
    everything = sorted(found, key=lambda version: version_key(str(version.name), str(version.version)))
    chosen = _filtered(everything, filter_string)
    return Hidden(
        models=tuple(version for version in chosen if not is_prompt(version)),
        prompts=tuple(version for version in chosen if is_prompt(version)),
        whole=whole,
    )


def _filtered(versions: list[Any], filter_string: str | None) -> list[Any]:
    if filter_string is None or not versions:
        return versions
    with translated("list the registry"):
        return matching(versions, filter_string)


def _knows_prompts(connection: Connection) -> bool:
    return not (connection.is_uc or connection.is_databricks)


def _tagged(search: Iterator[Any]) -> Iterator[Any]:
    """Yield the results of a search for the tag; nothing if the server is too old for such a search."""
    try:
        yield from search
    except UsageError:
        return


def _newest(model: Any) -> int:
    return max((number_of(str(version.version)) or 0 for version in model.latest_versions or ()), default=0)
