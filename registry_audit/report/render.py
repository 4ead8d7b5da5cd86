"""One report in any of its forms."""

from typing import Literal, assert_never, get_args

from registry_audit.report import as_csv, as_html, as_json, as_junit, as_markdown, as_text
from registry_audit.report.document import AuditDocument

Format = Literal["json", "html", "junit", "markdown", "csv", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)


def render(document: AuditDocument, format: Format) -> str:
    """The text of a report, always encodable as UTF-8, its last line ended. The same document gives the same text."""
    match format:
        case "json":
            return as_json.render(document)
        case "html":
            return as_html.render(document)
        case "junit":
            return as_junit.render(document)
        case "markdown":
            return as_markdown.render(document)
        case "csv":
            return as_csv.render(document)
        case "text":
            return as_text.render(document)
        case _:
            assert_never(format)
