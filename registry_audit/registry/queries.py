"""Queries a registry, bounded and retried: for a version, an alias, a model, and the pages of a search.

The requests go to MLflow's store, not to its client, because the client hides everything with the tag of a prompt.
Registries may hold names from before MLflow checked names, such as names with `/` or `:`. Only searches accept those.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from registry_audit.errors import CouldNotVerify, NotFound, UsageError
from registry_audit.model.listing import Limits
from registry_audit.net.rest import Denied, NoSuchRoute, OtherAnswer
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.registry.connection import Connection, server_version
from registry_audit.registry.mlflow_private import where_served
from registry_audit.registry.translate import translated
from registry_audit.registry.unity_catalog import name_in
from registry_audit.registry.version import number_of

_PAGE_SIZE = 1_000
_MODELS_PAGE_SIZE = 250  # MLflow also reads the newest versions of each model
# MLflow's default order moves when anything is updated during the scan, which loses rows (docs/mlflow.md section 4).
_STABLE_ORDER = ["name ASC", "version_number ASC"]
_BACKWARD = ["name DESC", "version_number DESC"]


def is_refused_name(name: str) -> bool:
    """Say whether MLflow refuses requests for a model of this name, although its listing may hold it.

    Source: mlflow.utils.validation._validate_model_name, path_not_unique.
    """
    return "/" in name or ":" in name or name == "." or name.startswith("..") or not name.strip()


def ask_version(connection: Connection, name: str, version: str, label: str) -> Any:
    """Return a version. Raises: NotFound: there is none. CouldNotVerify: denied, or the server cannot be read."""
    with translated(f"find {label}"):
        if not _only_searched(connection, name):
            found = connection.registry.get_model_version(name, version)
            if not is_of_model(connection, found, name) or str(found.version) != version:
                ask_model(connection, name, label)  # MySQL finds a name in any capitals, even if none has this spelling
                other = printable(f"{found.name}/{found.version}")[:200]
                raise CouldNotVerify(f"asked for version {version} of '{printable(name)}', the server answers {other}")
            return found
    for found in search_versions(connection, name_filter(name)):
        if found.name == name and str(found.version) == version:
            return found
    raise NotFound(f"could not find {label}: the registry lists none")


def is_of_model(connection: Connection, found: Any, name: str) -> bool:
    """Say whether a model, or a version's model, is the one that was asked for by this name."""
    spelled = connection.own_spelling
    return spelled(found.name) == spelled(name)


def finds_in_any_case(connection: Connection) -> bool:
    """Say whether the registry finds a model however its name is capitalised."""
    return connection.own_spelling("A") == connection.own_spelling("a")


def ask_alias(connection: Connection, name: str, alias: str, label: str) -> Any:
    """Return the version that an alias stands for.

    Raises:
        UsageError, NotFound: there is no such alias.
        CouldNotVerify: the server answers with another model's version, or cannot be read.
    """
    doing = f"find alias '{printable(alias)}' of {label}"
    if not _only_searched(connection, name):
        try:
            with translated(doing):
                found = connection.registry.get_model_version_by_alias(name, alias)
        except NoSuchRoute as error:
            ask_model(connection, name, label)  # which a server without aliases answers, and another address does not
            runs = server_version(connection) or "an older one"
            came = f"aliases came with MLflow 2.3, and the server runs {runs}"
            raise NotFound(f"could not {doing}: {came}; give the version's number") from error
        if not is_of_model(connection, found, name):
            ask_model(connection, name, label)
            other = printable(f"{found.name}/{found.version}")[:200]
            raise CouldNotVerify(f"asked for the alias '{printable(alias)}' of {label}, the server answers {other}")
        return found
    version = dict(ask_model(connection, name, label).aliases or {}).get(alias)
    if version is None:
        raise NotFound(f"could not {doing}: there is none")
    return ask_version(connection, name, str(version), label)


def ask_model(connection: Connection, name: str, label: str) -> Any:
    """Return a registered model. Raises: NotFound: there is none. CouldNotVerify: it is denied."""
    if not _only_searched(connection, name):
        with translated(f"find {label}"):
            found = connection.registry.get_registered_model(name)
        if not is_of_model(connection, found, name):
            raise NotFound(f"could not find {label}: the registry answers with '{printable(found.name)[:200]}'")
        return found
    for found in search_models(connection, name_filter(name)):
        if found.name == name:
            return found
    raise NotFound(f"could not find {label}: the registry lists none")


def search_versions(
    connection: Connection,
    filter_string: str | None,
    max_count: int = Limits().max_versions,
    denied: dict[str, str] | None = None,
    *,
    backward: bool = False,
) -> Iterator[Any]:
    """Yield the versions that a filter selects, or all versions.

    Args:
        backward: list the last version first, if the registry supports an order.
        denied: receives the models whose versions may not be listed, and why; without it their error is raised.
    """
    if connection.is_uc and filter_string is None:
        yield from _model_by_model(connection, max_count, denied)
        return
    order = {} if connection.is_uc else {"order_by": _BACKWARD if backward else _STABLE_ORDER}
    yield from pages(
        connection.client.search_model_versions, max_count, filter_string=filter_string, max_results=_PAGE_SIZE, **order
    )


def _model_by_model(connection: Connection, max_count: int, denied: dict[str, str] | None) -> Iterator[Any]:
    """List model by model: Unity Catalog has no search over all models, and supports no order."""
    left, search = max_count, connection.client.search_model_versions
    for model in pages(connection.client.search_registered_models, max_count, max_results=100):
        try:
            for version in pages(search, left, filter_string=name_filter(model.name)):
                left -= 1
                yield version
        except NotFound:
            continue  # deleted since the models were listed
        except (Denied, OtherAnswer) as error:
            if denied is None:
                raise
            denied[model.name] = error.message


def search_models(
    connection: Connection,
    filter_string: str | None = None,
    max_count: int = Limits().max_versions,
    *,
    backward: bool = False,
) -> Iterator[Any]:
    """Yield the registered models that a filter selects, or all of them.

    Args:
        backward: list the last model first; only for registries that support an order.
    """
    if connection.is_uc and filter_string is not None:
        yield connection.registry.get_registered_model(name_in(filter_string))
        return
    size = 100 if connection.is_uc else _MODELS_PAGE_SIZE
    filtered: dict[str, Any] = {} if filter_string is None else {"filter_string": filter_string}
    if backward:
        filtered["order_by"] = _BACKWARD[:1]
    search = connection.client.search_registered_models
    yield from pages(search, max_count, max_results=size, **filtered)


def first_versions(connection: Connection, count: int) -> list[Any]:
    """Return one page in the server's own order, for a first look."""
    if connection.is_uc:
        found = list[Any]()
        for model in _page(connection.client.search_registered_models, max_results=1):
            found += _page(connection.client.search_model_versions, filter_string=name_filter(model.name))
            if len(found) >= count:
                break
        return found
    return list(_page(connection.client.search_model_versions, max_results=count))


def name_filter(name: str) -> str | None:
    """Return a filter for one name; None if the name has both kinds of quote, which no filter can express: list all."""
    if "'" not in name:
        return f"name='{name}'"
    return None if '"' in name else f'name="{name}"'


def _only_searched(connection: Connection, name: str) -> bool:
    return is_refused_name(name) and not connection.is_databricks


def too_many(max_count: int) -> CouldNotVerify:
    """Return the error for a registry that lists more versions than `--max-versions` allows."""
    return CouldNotVerify(f"could not list the registry: it lists more than {max_count} (--max-versions)")


def pages(search: Callable[..., Any], max_count: int, **arguments: Any) -> Iterator[Any]:
    """Yield the results of an MLflow search, one page at a time, for a registry of any size.

    Raises:
        CouldNotVerify: the pages do not end, or hold more than `max_count` results.
    """
    token, seen, count = None, set[str](), 0
    while True:
        page = retried(partial(_page, search, page_token=token, **arguments))
        count += len(page)
        if count > max_count:
            raise too_many(max_count)
        yield from page
        token = page.token
        if not token:
            return
        # A server that repeats a page, or sends empty pages, would be followed forever.
        if token in seen or not page:
            raise CouldNotVerify("could not list the registry: the server's pages lead in a circle")
        seen.add(token)


def _page(search: Callable[..., Any], **arguments: Any) -> Any:
    with translated("list the registry"):
        return search(**arguments)


# Download URIs: the answers of `get_model_version_download_uri`, for many versions at once if possible.

Key = tuple[str, str]  # name, version


class RefusedName(UsageError):
    """MLflow does not say where a model of this name is served from: see `is_refused_name`."""


class DownloadUris:
    """Looks up the download URIs of one audit; safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[Key, str] = {}
        self._lock = threading.Lock()

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Read the download URIs of some hundred versions from a database in one query; HTTP has no such request.

        If the query fails, `get` asks for each of them.
        """
        wanted = {(name, version) for name, version in keys if number_of(version) is not None}
        if len(wanted) < 8:
            return
        self._read(wanted)

    def _read(self, wanted: set[Key]) -> None:
        names, versions = {name for name, _ in wanted}, {int(version) for _, version in wanted}
        try:
            served = where_served(self._connection.registry, names, versions)
        except Exception:  # noqa: BLE001 - see above: `get` asks again and reports
            return
        with self._lock:
            self._known |= {
                (name, version): uri
                for name, version, uri in served
                if (name, version) in wanted and isinstance(uri, str)
            }

    def get(self, name: str, version: str) -> str:
        """Return a download URI. A prefetched URI is returned once, so that a second call asks the registry.

        Raises:
            RefusedName: MLflow answers nothing for such a name, whatever the version.
            NotFound: there is no such version.
            CouldNotVerify: denied, or the server does not answer.
        """
        if is_refused_name(name) and not self._connection.is_databricks:
            return self._of_refused(name, version)
        with self._lock:
            known = self._known.pop((name, version), None)
        if known is not None:
            return known
        return self._asked(name, version)

    def _asked(self, name: str, version: str) -> str:
        with translated("ask for the download URI"):
            found = self._connection.registry.get_model_version_download_uri(name, version) or ""
        if not isinstance(found, str):  # bytes, which SQLite accepts in any column
            raise CouldNotVerify("could not ask for the download URI: what the registry says is no text")
        return found

    def _of_refused(self, name: str, version: str) -> str:
        """Ask for a refused name nevertheless: a database has the answer, and so has a server that is old enough."""
        if (name, version) not in self._known:
            self._read({(name, version)})
        with self._lock:
            known = self._known.pop((name, version), None)
        if known is not None:
            return known
        try:
            return self._asked(name, version)
        except NotFound:
            raise
        except UsageError as error:
            raise RefusedName(error.message) from error
