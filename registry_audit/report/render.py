"""One report in any of its forms."""

from collections.abc import Iterator
from typing import Literal, assert_never, get_args

from registry_audit.report import as_csv, as_html, as_json, as_junit, as_markdown, as_text
from registry_audit.report.document import AuditDocument

Format = Literal["json", "html", "junit", "markdown", "csv", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)


def render(document: AuditDocument, format: Format) -> str:
    """The text of a report, always encodable as UTF-8, its last line ended. The same document gives the same text."""
    return "".join(rendered(document, format))


def rendered(document: AuditDocument, format: Format) -> Iterator[str]:
    """The same piece by piece, for a report that may be longer than memory should be."""
    match format:
        case "json":
            return as_json.chunks(document)
        case "html":
            return as_html.chunks(document)
        case "junit":
            return as_junit.chunks(document)
        case "markdown":
            return as_markdown.chunks(document)
        case "csv":
            return as_csv.chunks(document)
        case "text":
            return as_text.chunks(document)
        case _:
            assert_never(format)
