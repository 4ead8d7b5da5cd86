"""One report in any of its forms."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from registry_audit.report import as_csv, as_html, as_json, as_junit, as_markdown, as_text
from registry_audit.report.document import AuditDocument
from registry_audit.report.migration import registries_as_csv as migration_csv
from registry_audit.report.migration import registries_as_html as migration_html
from registry_audit.report.migration import registries_as_json as migration_json
from registry_audit.report.migration import registries_as_junit as migration_junit
from registry_audit.report.migration import registries_as_markdown as migration_markdown
from registry_audit.report.migration import registries_as_text as migration_text
from registry_audit.report.migration.registries_document import MigrationDocument

Format = Literal["json", "html", "junit", "markdown", "csv", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)
Report = AuditDocument | MigrationDocument

_Forms = dict[Format, Callable[[Any], Iterator[str]]]
_AUDIT: _Forms = {
    "json": as_json.chunks,
    "html": as_html.chunks,
    "junit": as_junit.chunks,
    "markdown": as_markdown.chunks,
    "csv": as_csv.chunks,
    "text": as_text.chunks,
}
_MIGRATION: _Forms = {
    "json": migration_json.chunks,
    "html": migration_html.chunks,
    "junit": migration_junit.chunks,
    "markdown": migration_markdown.chunks,
    "csv": migration_csv.chunks,
    "text": migration_text.chunks,
}


def render(document: Report, format: Format) -> str:
    """The text of a report, always encodable as UTF-8, its last line ended. The same document gives the same text."""
    return "".join(rendered(document, format))


def rendered(document: Report, format: Format) -> Iterator[str]:
    """Render a report piece by piece, because it may be too large for memory."""
    forms = _MIGRATION if isinstance(document, MigrationDocument) else _AUDIT
    return forms[format](document)
