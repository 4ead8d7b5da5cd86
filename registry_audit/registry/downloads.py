"""Download URIs: what `get_model_version_download_uri` answers, asked for many versions at once where that can be."""

import threading
from collections.abc import Iterable

from registry_audit.errors import NotFound, UsageError
from registry_audit.registry.asking import is_refused_name
from registry_audit.registry.connection import Connection
from registry_audit.registry.mlflow_private import where_served
from registry_audit.registry.translate import translated
from registry_audit.registry.version import number_of

Key = tuple[str, str]  # name, version


class RefusedName(UsageError):
    """MLflow refuses to say where a model of this name is served from: it has `/` or `:` in it."""


class DownloadUris:
    """Answers for one audit; safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[Key, str] = {}
        self._lock = threading.Lock()

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Read some hundreds of them from a database in one query; no such question exists over HTTP.

        A query that fails costs nothing but speed.
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
            self._known |= {(name, version): uri for name, version, uri in served if (name, version) in wanted}

    def get(self, name: str, version: str) -> str:
        """Each prefetched answer is given once, so that whoever asks again asks the registry.

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
        with translated("ask for the download URI"):
            return self._connection.registry.get_model_version_download_uri(name, version) or ""

    def _of_refused(self, name: str, version: str) -> str:
        """A database says it all the same; a server that is old enough does, too."""
        if (name, version) not in self._known:
            self._read({(name, version)})
        with self._lock:
            known = self._known.pop((name, version), None)
        if known is not None:
            return known
        try:
            with translated("ask for the download URI"):
                return self._connection.registry.get_model_version_download_uri(name, version) or ""
        except NotFound:
            raise
        except UsageError as error:
            raise RefusedName(error.message) from error
