"""Links into MLflow's own pages, from a report: only where they are sure to lead somewhere.

The routes are those of MLflow 3.17: `#/models/NAME/versions/V` and `#/runs/RUN_ID`, which leads on to the run's page.
"""

import os
import re
from urllib.parse import quote, urlsplit, urlunsplit

from registry_audit.printable import markdown
from registry_audit.report.document import Registry

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./-]*")


class MlflowPages:
    """Markdown of a version and of a run, as a link where the server has pages for people."""

    def __init__(self, registry: Registry) -> None:
        # A server of workspaces has other routes, and its client names one.
        of_workspace = bool(os.environ.get("MLFLOW_WORKSPACE"))
        self._versions = None if of_workspace else _base(registry.registry_uri)
        self._runs = None if of_workspace else _base(registry.tracking_uri)

    def version(self, name: str, version: str) -> str:
        return _link(f"{name}/{version}", self._versions, "models", name, "versions", version)

    def run(self, run_id: str | None) -> str:
        return "" if run_id is None else _link(run_id, self._runs, "runs", run_id)


def _base(uri: str) -> str | None:
    """The server's address without credentials; None where it is no web server, or not an address to follow."""
    try:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
    except ValueError:
        return None
    # Quoted, so that no character of it ends the link.
    return urlunsplit((parts.scheme, quote(host, safe=":[]"), quote(parts.path.rstrip("/"), safe="/%"), "", ""))


def _link(text: str, base: str | None, *route: str) -> str:
    # Prefect's tables show the text of a link as it stands, so a name that needs escapes is no link.
    if base is None or not _PLAIN.fullmatch(text):
        return markdown(text)
    path = "/".join(quote(part, safe="") for part in route)
    return f"[{text}]({base}/#/{path})"
