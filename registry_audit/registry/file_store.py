"""MLflow's file store, kept from asking another server.

For each version that has a LoggedModel, MLflow's own file store asks the process-wide tracking server for metrics, and
makes a database in the working directory where there is none (mlflow/store/model_registry/file_store.py,
`_get_file_model_version_from_dir`). An audit needs no metrics. The private names of MLflow that this module uses are
these, and `tests/unit/registry/test_file_store.py` fails when one is gone.
"""

from typing import Any

PRIVATE_NAMES = (
    "_get_file_model_version_from_dir",
    "_get_model_version_tags_from_dir",
    "_get_model_version_aliases",
    "_read_yaml",
)


def ask_no_other_server(registry: Any) -> None:
    """Make a file store read its versions from its own directory alone; other stores stay as they are."""
    from mlflow.store.model_registry.file_store import FileModelVersion, FileStore

    if not isinstance(registry, FileStore):
        return

    def version_of(directory: str) -> Any:
        meta = FileStore._read_yaml(directory, FileStore.META_DATA_FILE_NAME)
        meta["tags"] = registry._get_model_version_tags_from_dir(directory)
        meta["aliases"] = registry._get_model_version_aliases(directory)
        return FileModelVersion.from_dictionary(meta)

    # On the instance: no class of MLflow is changed.
    registry._get_file_model_version_from_dir = version_of  # type: ignore[method-assign]
