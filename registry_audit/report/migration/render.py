"""One report on a migration in any of its forms, and its files."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from pydantic import ValidationError

from registry_audit.errors import UsageError
from registry_audit.printable import printable
from registry_audit.report.migration import as_csv, as_html, as_json, as_junit, as_markdown, as_text
from registry_audit.report.migration.document import KIND, SCHEMA_VERSION, MigrationDocument
from registry_audit.report.render import Format
from registry_audit.report.write import json_of, where_invalid, write_whole

# The source of truth first: if the disk fills up, it is the one to have.
FILES: tuple[tuple[str, Format], ...] = (
    ("migration.json", "json"),
    ("migration.html", "html"),
    ("migration.md", "markdown"),
    ("migration.csv", "csv"),
    ("junit.xml", "junit"),
)


def rendered_migration(document: MigrationDocument, format: Format) -> Iterator[str]:
    """The text of a report piece by piece, always encodable as UTF-8. The same document gives the same text."""
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


def write_migration(document: MigrationDocument, directory: Path) -> tuple[Path, ...]:
    """Write the files of a report and return their paths. Makes the directory; replaces files of the same name.

    Raises:
        OSError: the directory cannot be made or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, form in FILES:
        write_whole(directory / name, rendered_migration(document, form))
    return tuple(directory / name for name, _ in FILES)


def load_migration(path: Path) -> MigrationDocument | None:
    """The report on a migration in a file; None where the file is another JSON document.

    Raises:
        UsageError: the file cannot be read, is not JSON, is damaged, or is of a later version of this tool.
    """
    data, shown = json_of(path), printable(str(path))
    if not isinstance(data, dict) or data.get("kind") != KIND:
        return None
    if data.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"{shown}: written by another registry-audit, of schema_version {data.get('schema_version')!r}"
        )
    try:
        return MigrationDocument.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{shown}: not a report on a migration: {where_invalid(error)}") from error
