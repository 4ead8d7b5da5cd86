"""The rows of an audit while it runs: a version as one line, so that a hundred thousand of them need no memory."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

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
    return _ROWS.encode(audit)


def decode_row(line: str) -> VersionAudit:
    return _ROWS.decode(line)


_T = TypeVar("_T")


class Codec(Generic[_T]):
    """Values of one type as a line of ASCII each. Law: `decode(encode(value)) == value`, whatever its names hold."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def encode(self, value: _T) -> str:
        return json.dumps(self._adapter.dump_python(value, mode="json"), separators=(",", ":"))

    def decode(self, line: str) -> _T:
        """Raises: ValueError: it is no value of this type."""
        return self._adapter.validate_python(json.loads(line))

    @cached_property
    def _adapter(self) -> TypeAdapter[_T]:
        return TypeAdapter(self._kind)


_ROWS = Codec[VersionAudit](VersionAudit)
