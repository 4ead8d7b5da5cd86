"""Renders reports in every format, writes files completely or not at all, and reads reports back row by row."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, overload

from pydantic import ValidationError

from registry_audit.errors import UsageError
from registry_audit.model.mlmodel import must_not_be_in_a_model
from registry_audit.printable import printable
from registry_audit.report import as_csv, as_html, as_json, as_junit, as_markdown, as_text
from registry_audit.report.document import SCHEMA_VERSION, AuditDocument, VersionRow
from registry_audit.report.output_file import written_whole
from registry_audit.report.registries_document import KIND, MigrationDocument
from registry_audit.spool import Spool

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
    "json": as_json.migration_chunks,
    "html": as_html.migration_chunks,
    "junit": as_junit.migration_chunks,
    "markdown": as_markdown.migration_chunks,
    "csv": as_csv.migration_chunks,
    "text": as_text.migration_chunks,
}


def render(document: Report, format: Format) -> str:
    """Return the text of a report, which is valid UTF-8 and ends with a newline. Equal documents give equal text."""
    return "".join(rendered(document, format))


def rendered(document: Report, format: Format) -> Iterator[str]:
    """Render a report piece by piece, because it may be too large for memory."""
    forms = _MIGRATION if isinstance(document, MigrationDocument) else _AUDIT
    return forms[format](document)


# Write the source of truth first: it is the most important one if the disk fills up.
FILES: tuple[tuple[str, Format], ...] = (
    ("audit.json", "json"),
    ("audit.html", "html"),
    ("audit.md", "markdown"),
    ("junit.xml", "junit"),
)
MIGRATION_FILES: tuple[tuple[str, Format], ...] = (
    ("migration.json", "json"),
    ("migration.html", "html"),
    ("migration.md", "markdown"),
    ("migration.csv", "csv"),
    ("junit.xml", "junit"),
)


def write_report(document: Report, directory: Path) -> tuple[Path, ...]:
    """Write the files of a report and return their paths.

    The directory is created; files of the same name are replaced.

    A reader sees either the old file or the new one, never a part of it.

    Raises:
        UsageError: the directory is in a model, or a file of the same name is a database.
        OSError: the directory cannot be created or written.
    """
    files = MIGRATION_FILES if isinstance(document, MigrationDocument) else FILES
    must_not_be_in_a_model(directory, printable(str(directory)))
    directory.mkdir(parents=True, exist_ok=True)
    for name, form in files:
        write_whole(directory / name, rendered(document, form))
    return tuple(directory / name for name, _ in files)


def load_report(path: Path) -> AuditDocument:
    """Load an audit report from a file that `write_report` wrote, or from a command's output in the same format.

    Raises:
        UsageError: the file cannot be read, is not JSON, is not such a report, or is of a later version of this tool.
    """
    found = load_any_report(path)
    if isinstance(found, MigrationDocument):
        raise UsageError(f"{printable(str(path))}: a report on a migration, not on an audit")
    return found


def load_any_report(path: Path) -> Report:
    """Load the report of an audit or of a migration; see `load_report`."""
    shown = printable(str(path))
    data = json_of(path)
    _refuse_newer(data, shown)
    of_migration = isinstance(data, dict) and data.get("kind") == KIND
    try:
        # Not `model_validate_json`, whose parser refuses the lone surrogates that a name may contain.
        return (MigrationDocument if of_migration else AuditDocument).model_validate(data)
    except ValidationError as error:
        what = "a report on a migration" if of_migration else "an audit report"
        raise UsageError(f"{shown}: not {what}: {where_invalid(error)}") from error


def json_of(path: Path) -> Any:
    """Read a JSON file. Raises: UsageError: the file cannot be read, or is not JSON."""
    shown = printable(str(path))
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{shown}: no such file") from error
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read: {error.strerror or type(error).__name__}") from error
    except json.JSONDecodeError as error:
        beside = path.with_name("audit.json")
        is_beside = path != beside and os.path.isfile(beside)  # noqa: PTH113 - which never raises
        hint = f"; the report that is read is {printable(str(beside))}" if is_beside else ""
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise UsageError(f"{shown}: not JSON: {where}{hint}") from error
    except (ValueError, RecursionError) as error:  # not text, a number with thousands of digits, or nested too deeply
        raise UsageError(f"{shown}: not JSON that can be read") from error


def where_invalid(error: ValidationError) -> str:
    """Return the first invalid key, and what is wrong with it."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the whole file"
    return f"{printable(key)}: {printable(first['msg'])}"


def _refuse_newer(data: Any, shown: str) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{shown}: written by a later registry-audit (schema_version {version}, this one reads up to "
            f"{SCHEMA_VERSION}): upgrade mlflow-registry-audit"
        )


def write_whole(path: Path, text: Iterable[str]) -> None:
    """Write the text, given in one piece or in many, completely or not at all.

    Raises:
        UsageError: see `written_whole`.
        OSError: the file cannot be written.
    """
    with written_whole(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines([text] if isinstance(text, str) else text)


# A report may have more rows than fit in memory.

IN_MEMORY = 1_000  # rows; some megabytes


_Row = TypeVar("_Row")


class RowFile(Sequence[_Row]):
    """Behaves like a tuple for renderers. Many rows are read from a file during iteration."""

    def __init__(self, spool: Spool[_Row]) -> None:
        self._spool = spool

    def __len__(self) -> int:
        return len(self._spool)

    def __iter__(self) -> Iterator[_Row]:
        return iter(self._spool)

    @overload
    def __getitem__(self, index: int) -> _Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_Row]: ...
    def __getitem__(self, index: int | slice) -> _Row | Sequence[_Row]:
        return tuple(self)[index]


class SpooledRows(RowFile[VersionRow]):
    """Holds the versions of an audit in the order in which they are appended."""

    def __init__(self, directory: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        super().__init__(Spool(_encode, _decode, directory=directory, in_memory=in_memory))

    def append(self, row: VersionRow) -> None:
        self._spool.append(row)


def _encode(row: VersionRow) -> str:
    return json.dumps(row.model_dump(mode="json"))


def _decode(line: str) -> VersionRow:
    return VersionRow.model_validate(json.loads(line))
