"""The registered models of a registry: all of them, or some by their names, and whether there is one of a name."""

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
    """A registered model as the registry describes it, whether or not it has versions."""

    name: str
    description: str | None
    tags: tuple[tuple[str, str], ...]  # sorted


def list_models(connection: Connection) -> tuple[list[RegisteredModel], bool]:
    """Every registered model, prompts excluded; and whether the list is the same from its end as from its beginning.

    It is not where it changes meanwhile, or where something on the way cuts its pages short.

    Raises:
        CouldNotVerify: the server cannot be read.
    """
    found = {model.name: model for model in _models(connection)}
    if connection.is_uc or connection.is_databricks:  # which have no order to ask for
        return list(found.values()), True
    again = {model.name: model for model in _models(connection, backward=True)}
    return list((again | found).values()), again.keys() == found.keys()


def list_tagged_models(connection: Connection) -> list[RegisteredModel] | None:
    """Registered models that carry a prompt's tag, which no list shows; None where the registry does not say."""
    try:
        return [_described(model) for model in tagged_models(connection)]
    except AuditError:
        return None


def _models(connection: Connection, *, backward: bool = False) -> Iterator[RegisteredModel]:
    for model in search_models(connection, backward=backward):
        try:
            described = _described(model)
        except (NotFound, Denied):
            continue  # deleted meanwhile, or denied, which the list of versions says
        yield described


def models_by_name(connection: Connection, names: Iterable[str]) -> tuple[list[RegisteredModel], list[str]]:
    """Registered models that `list_models` does not show although they have versions, each asked for by its name.

    A prompt's tag hides a model from MLflow's lists, and a list may be cut short.

    Returns:
        What was found, and the names of those that could not be asked for.
    """
    found, failed, left = list[RegisteredModel](), list[str](), iter(names)
    for name in left:
        try:
            model = retried(partial(ask_model, connection, name, f"model '{printable(name)}'"))
        except NotFound:
            continue  # its versions are there and it is not, which is said of each of them
        except AuditError as error:
            failed.append(name)
            if isinstance(error, Transient) and not answers(connection):  # nor is it asked again for thousands of them
                failed += left
        else:
            found.append(_described(model))
    return found, failed


def _described(model: Any) -> RegisteredModel:
    tags = tuple(sorted((str(key), str(value)) for key, value in dict(model.tags or {}).items()))
    return RegisteredModel(model.name, model.description or None, tags)


def require_model(connection: Connection, name: str) -> None:
    """Raises: NotFound: there is no such registered model. CouldNotVerify: it is denied."""
    existing_model(connection, name, f"model '{printable(name)}'")


def existing_model(connection: Connection, name: str, label: str) -> Any:
    """Raises: NotFound: there is none, with names that are like it. CouldNotVerify: it is denied."""
    try:
        return ask_model(connection, name, label)
    except NotFound as error:
        there = f"there is no registered {label} in {connection.registry_address.shown}"
        raise NotFound(f"{there}{did_you_mean(name, _names_like(connection, name))}") from error


def _names_like(connection: Connection, name: str) -> list[str]:
    """Names to suggest; none where they cannot be listed, since that is not what was asked."""
    filters: list[str | None] = [None]
    if not connection.is_uc and not {"'", '"'} & set(name):
        # Of a registry with more names than are looked at here, those that begin alike come first.
        filters.insert(0, f"name ILIKE '{name[: 2 * len(name) // 3]}%'")
    found: list[str] = []
    for filter_string in filters:
        with suppress(AuditError):
            found += [model.name for model in islice(search_models(connection, filter_string), _SUGGESTED_FROM)]
    return found
