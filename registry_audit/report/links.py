"""Links into MLflow's own pages: only where they are sure to lead somewhere.

The routes are those of MLflow 3.17: `#/models/NAME`, `#/models/NAME/versions/V` and `#/runs/RUN_ID`, which leads on to
the run's page. A server of workspaces has other routes, so it gets no links.
"""

from typing import NamedTuple
from urllib.parse import quote, urlunsplit

from registry_audit.net.origin import urlsplit
from registry_audit.printable import printable
from registry_audit.report.document import Registry

_UNRESERVED = "!'()*~"  # what JavaScript's encodeURIComponent leaves, too


class MlflowPages(NamedTuple):
    """The addresses of the two servers whose pages are linked; None where there is no page for people."""

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


def _page(base: str | None, *route: str) -> str | None:
    """None of a name that is shown with escapes, too: the page's script knows only what is shown."""
    if base is None or any(printable(part) != part for part in route):
        return None
    return f"{base}/#/{'/'.join(quote(part, safe=_UNRESERVED) for part in route)}"
