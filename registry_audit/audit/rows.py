"""The rows of an audit while it runs: a version as one line, so that a hundred thousand of them need no memory."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from registry_audit.audit.judging import VersionAudit
from registry_audit.spool import Spool


class Rows(Protocol):
    """To be read from the beginning, once or a few times."""

    def __iter__(self) -> Iterator[VersionAudit]: ...
    def __len__(self) -> int: ...


def row_spool(directory: Path | None, in_memory: int | None = None) -> Spool[VersionAudit]:
    """
    Args:
        directory: for its file; None is the system's for such.
        in_memory: rows before a file is needed.
    """
    return Spool(encode_row, decode_row, directory=directory, in_memory=in_memory)


def encode_row(audit: VersionAudit) -> str:
    """One line of ASCII. Law: `decode_row(encode_row(audit)) == audit`, whatever its names hold."""
    return json.dumps(_adapter().dump_python(audit, mode="json"))


def decode_row(line: str) -> VersionAudit:
    return _adapter().validate_python(json.loads(line))


@cache
def _adapter() -> TypeAdapter[VersionAudit]:
    return TypeAdapter(VersionAudit)
