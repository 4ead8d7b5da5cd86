"""Links to MLflow's own pages, but only where such a page certainly exists.

The routes are those of MLflow 3.17: `#/models/NAME`, `#/models/NAME/versions/V` and `#/runs/RUN_ID`, which redirects to
the run's page. A server with workspaces has other routes, so it gets no links.
"""

from typing import NamedTuple
from urllib.parse import quote, urlunsplit

from registry_audit.net.origin import urlsplit
from registry_audit.printable import printable
from registry_audit.report.document import Registry

_UNRESERVED = "!'()*~"  # JavaScript's encodeURIComponent leaves these unescaped as well


class MlflowPages(NamedTuple):
    """Holds the addresses of the two servers to link to; None if a server has no web pages."""

    models: str | None
    runs: str | None

    def model(self, name: str) -> str | None:
        return _page(self.models, "models", name)

    def version(self, name: str, version: str) -> str | None:
        return _page(self.models, "models", name, "versions", version)

    def run(self, run_id: str | None) -> str | None:
        return _page(self.runs, "runs", run_id) if run_id else None


def mlflow_pages(registry: Registry) -> MlflowPages:
    if registry.workspace is not None:
        return MlflowPages(None, None)
    return MlflowPages(web_address(registry.registry_uri), web_address(registry.tracking_uri))


def web_address(uri: str) -> str | None:
    """Return the server's address without credentials; None if it is not a web server or not a valid address."""
    try:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
    except ValueError:
        return None
    # Quoted, so that no character can end the link.
    return urlunsplit((parts.scheme, quote(host, safe=":[]"), quote(parts.path.rstrip("/"), safe="/%"), "", ""))


def _page(base: str | None, *route: str) -> str | None:
    """Return a link; None also if the name is shown with escapes, because the page's script only knows shown names."""
    if base is None or any(printable(part) != part for part in route):
        return None
    return f"{base}/#/{'/'.join(quote(part, safe=_UNRESERVED) for part in route)}"
