"""Reads the registered models of a registry: all of them, or some by their names."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from registry_audit.errors import AuditError, NotFound, Transient, did_you_mean
from registry_audit.net.rest import Denied
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection, answers
from registry_audit.registry.prompts import tagged_models
from registry_audit.registry.queries import ask_model, search_models

_SUGGESTED_FROM = 2_000  # names


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """Holds a registered model as the registry describes it, whether or not it has versions."""

    name: str
    description: str | None
    tags: tuple[tuple[str, str], ...]  # sorted


def list_models(connection: Connection) -> tuple[list[RegisteredModel], bool]:
    """List every registered model except prompts, and say whether the list is the same from its end and its beginning.

    It differs if the registry changes meanwhile, or if pages are cut short on the way.

    Raises:
        CouldNotVerify: the server cannot be read.
    """
    found = {model.name: model for model in _models(connection)}
    if connection.is_uc or connection.is_databricks:  # these support no order
        return list(found.values()), True
    again = {model.name: model for model in _models(connection, backward=True)}
    return list((again | found).values()), again.keys() == found.keys()


def list_tagged_models(connection: Connection) -> list[RegisteredModel] | None:
    """List registered models with a prompt's tag, which no other list shows; None if the registry does not say."""
    try:
        return [_described(model) for model in tagged_models(connection)]
    except AuditError:
        return None


def _models(connection: Connection, *, backward: bool = False) -> Iterator[RegisteredModel]:
    for model in search_models(connection, backward=backward):
        try:
            described = _described(model)
        except (NotFound, Denied):
            continue  # deleted meanwhile, or denied, which the list of versions reports
        yield described


def models_by_name(connection: Connection, names: Iterable[str]) -> tuple[list[RegisteredModel], list[str]]:
    """Ask by name for registered models that have versions but are not in `list_models`.

    A prompt's tag hides a model from MLflow's lists, and a list may be cut short.

    Returns:
        The models, and the names of those that could not be asked for.
    """
    found, failed, left = list[RegisteredModel](), list[str](), iter(names)
    for name in left:
        try:
            model = retried(partial(ask_model, connection, name, f"model '{printable(name)}'"))
        except NotFound:
            continue  # its versions exist and it does not, which each version reports
        except AuditError as error:
            failed.append(name)
            if isinstance(error, Transient) and not answers(connection):  # the rest is not asked for
                failed += left
        else:
            found.append(_described(model))
    return found, failed


def _described(model: Any) -> RegisteredModel:
    tags = tuple(sorted((str(key), str(value)) for key, value in dict(model.tags or {}).items()))
    return RegisteredModel(model.name, model.description or None, tags)


def require_model(connection: Connection, name: str) -> None:
    """Check that a registered model exists. Raises: NotFound: there is none. CouldNotVerify: it is denied."""
    existing_model(connection, name, f"model '{printable(name)}'")


def existing_model(connection: Connection, name: str, label: str) -> Any:
    """Return a registered model. Raises: NotFound: there is none; names similar ones. CouldNotVerify: it is denied."""
    try:
        return ask_model(connection, name, label)
    except NotFound as error:
        there = f"there is no registered {label} in {connection.registry_address.shown}"
        raise NotFound(f"{there}{did_you_mean(name, _names_like(connection, name))}") from error


def _names_like(connection: Connection, name: str) -> list[str]:
    """Return names to suggest; none if they cannot be listed, because they are only a help."""
    filters: list[str | None] = [None]
    if not connection.is_uc and not {"'", '"'} & set(name):
        # In a registry with more names than are read here, names with the same beginning come first.
        filters.insert(0, f"name ILIKE '{name[: 2 * len(name) // 3]}%'")
    found: list[str] = []
    for filter_string in filters:
        with suppress(AuditError):
            found += [model.name for model in islice(search_models(connection, filter_string), _SUGGESTED_FROM)]
    return found
