"""Contains every private name of MLflow and other libraries that this package uses.

`tests/unit/registry/test_mlflow_private.py` fails when one of them is gone, and when another module uses one.
"""

import time
from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import Any

from registry_audit.model.yaml_text import UnreadableYaml, read_yaml_file
from registry_audit.printable import printable
from registry_audit.registry.mlflow_api import ModelVersion
from registry_audit.registry.mlflow_environment import importing_mlflow
from registry_audit.registry.version import number_of

_META, _BEING_WRITTEN_SECONDS = "meta.yaml", 0.1


def stores_of(uri: str) -> tuple[Any, Any]:
    """Return MLflow's client for runs, and its store for registered models: of a database, a directory or a plugin.

    The store is needed, because the client's methods hide everything with the tag of a prompt, and ask twice for each
    download URI, once only to exclude prompts. Nothing process-wide is read or set.
    """
    with importing_mlflow():
        from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    registry: Any = client._get_registry_client().store
    _read_by_ourselves(registry)
    return client, registry


def _read_by_ourselves(registry: Any) -> None:
    """Make a file store read its versions from its own directory alone; other stores stay as they are.

    For each version that has a LoggedModel, MLflow's file store asks the process-wide tracking server for metrics, and
    creates a database in the working directory if there is none. An audit needs no metrics. Also, one `meta.yaml` that
    MLflow cannot read, or that has no end, would stop the audit of all versions: it is read here first.

    Source: mlflow/store/model_registry/file_store.py, `_get_file_model_version_from_dir`.
    """
    with importing_mlflow():
        from mlflow.entities.model_registry import RegisteredModel
        from mlflow.store.model_registry.file_store import FileModelVersion, FileStore

    if not isinstance(registry, FileStore):
        return
    read_model: Any = registry._get_registered_model_from_path

    def version_of(directory: str) -> Any:
        try:
            meta = _meta_in(directory)
            _must_be_of(Path(directory), meta)
            meta["version"] = int(meta["version"])  # a text could not be sorted with numbers
            meta["tags"] = registry._get_model_version_tags_from_dir(directory)
            meta["aliases"] = registry._get_model_version_aliases(directory)
            return FileModelVersion.from_dictionary(meta)
        except Exception as error:  # noqa: BLE001 - a broken version is listed with an unknown status
            place = Path(directory)
            number = place.name.removeprefix("version-")
            return FileModelVersion(
                name=place.parent.name,
                version=int(number) if number_of(number) else 0,
                creation_timestamp=None,
                status=f"its meta.yaml {error}" if isinstance(error, UnreadableYaml) else type(error).__name__,
            )

    def model_of(directory: str) -> Any:
        try:
            _meta_in(directory)
            return read_model(directory)
        except Exception:  # noqa: BLE001 - its versions exist nevertheless
            return RegisteredModel(Path(directory).name)

    # On the instance: no class of MLflow is changed.
    registry._get_file_model_version_from_dir = version_of  # type: ignore[method-assign]
    registry._get_registered_model_from_path = model_of  # type: ignore[method-assign]


def _meta_in(directory: str) -> dict[str, Any]:
    """Read a `meta.yaml`, twice if need be, for MLflow may just be writing it. Raises: UnreadableYaml."""
    try:
        return read_yaml_file(Path(directory, _META))
    except UnreadableYaml:
        time.sleep(_BEING_WRITTEN_SECONDS)
        return read_yaml_file(Path(directory, _META))


def _must_be_of(place: Path, meta: dict[str, Any]) -> None:
    """Check that a `meta.yaml` belongs to its directory: MLflow serves by directory, but lists by `meta.yaml`.

    If they differ, a version is hidden.

    Raises: UnreadableYaml: it belongs to another version.
    """
    named = f"{meta.get('name')}/version-{meta.get('version')}"
    if named != f"{place.parent.name}/{place.name}":
        raise UnreadableYaml(f"is that of {printable(named)[:200]}")


def where_served(store: Any, names: Iterable[str], versions: Iterable[int]) -> list[tuple[str, str, str]]:
    """Return name, version and download URI of these versions of these models, in one query of a database.

    The result is empty if the store is no database. The URI is the store's own: `storage_location`, or `source` if that
    is empty.

    Source: mlflow SqlAlchemyStore.get_model_version_download_uri.
    """
    session_maker = getattr(store, "ManagedSessionMaker", None)
    if session_maker is None:
        return []
    with importing_mlflow():
        from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
        from mlflow.store.model_registry.dbmodels.models import SqlModelVersion as Row

    with session_maker() as session:
        # The store's own query is restricted to the active workspace; MLflow 3.5 and older have neither.
        own = getattr(store, "_get_query", None)
        everything = session.query(Row) if own is None else own(session, Row)
        query = everything.with_entities(Row.name, Row.version, Row.storage_location, Row.source)
        rows = query.filter(
            Row.name.in_(sorted(names)),
            Row.version.in_(sorted(versions)),
            Row.current_stage != STAGE_DELETED_INTERNAL,
        )
        return [(name, str(version), location or source or "") for name, version, location, source in rows]


def matching(versions: Iterable[Any], filter_string: str) -> list[Any]:
    """Return the versions, MLflow's entities or ours, that MLflow's own `filter_string` selects.

    A version without a number is selected if the lowest or the highest number would be: it must be reported.
    """
    with importing_mlflow():
        from mlflow.utils.search_utils import SearchModelVersionUtils

    given = list(versions)
    comparable = [copy(version) for version in given]
    numbers, chosen = [number_of(str(version.version)) for version in given], set[int]()
    for unnumbered in (0, 2**53):
        for version, number in zip(comparable, numbers, strict=True):
            # Over HTTP the version is a text, and a server may send any text.
            setattr(version, "version" if isinstance(version, ModelVersion) else "_version", number or unnumbered)
        chosen |= {id(version) for version in SearchModelVersionUtils.filter(comparable, filter_string)}
    return [version for version, compared in zip(given, comparable, strict=True) if id(compared) in chosen]


def all_tags(version: Any) -> dict[str, str]:
    """Return the tags of a version entity, including those that mark a prompt, which `tags` hides."""
    return dict(getattr(version, "_tags", None) or version.tags or {})


def fetch_file(repository: Any, path: str, to: Path) -> None:
    """Fetch one file of an artifact repository. MLflow's public method first lists the directory of the file."""
    repository._download_file(path, str(to))


def google_client(session: Any, **named: Any) -> Any:
    """Return a client of Google Cloud Storage that uses this session; `_http` is documented as private."""
    from google.cloud import storage

    return storage.Client(_http=session, **named)
