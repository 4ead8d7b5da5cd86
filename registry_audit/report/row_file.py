"""The rows of a report that may be longer than memory should be."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, overload

from registry_audit.report.document import VersionRow
from registry_audit.spool import Spool

IN_MEMORY = 1_000  # rows; some megabytes


_Row = TypeVar("_Row")


class RowFile(Sequence[_Row]):
    """To a renderer a tuple, read from a file as it goes where there are many."""

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
    """The versions of an audit, as they come."""

    def __init__(self, directory: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        super().__init__(Spool(_encode, _decode, directory=directory, in_memory=in_memory))

    def append(self, row: VersionRow) -> None:
        self._spool.append(row)


def _encode(row: VersionRow) -> str:
    return json.dumps(row.model_dump(mode="json"))


def _decode(line: str) -> VersionRow:
    return VersionRow.model_validate(json.loads(line))
