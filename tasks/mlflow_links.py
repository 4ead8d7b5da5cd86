"""Markdown links into MLflow's own pages, from a report: only where they are sure to lead somewhere."""

import os
import re

from registry_audit.printable import markdown
from registry_audit.report import links
from registry_audit.report.document import Registry

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./-]*")


class MlflowPages:
    """Markdown of a version and of a run, as a link where the server has pages for people."""

    def __init__(self, registry: Registry) -> None:
        # A server of workspaces has other routes, and its client names one.
        of_workspace = bool(os.environ.get("MLFLOW_WORKSPACE"))
        self._pages = links.MlflowPages(None, None) if of_workspace else links.mlflow_pages(registry)

    def version(self, name: str, version: str) -> str:
        return _link(f"{name}/{version}", self._pages.version(name, version))

    def run(self, run_id: str | None) -> str:
        return "" if run_id is None else _link(run_id, self._pages.run(run_id))


def _link(text: str, page: str | None) -> str:
    # Prefect's tables show the text of a link as it stands, so a name that needs escapes is no link.
    return markdown(text) if page is None or not _PLAIN.fullmatch(text) else f"[{text}]({page})"
