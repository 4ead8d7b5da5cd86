"""The rows of a report that may be longer than memory should be."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from registry_audit.report.document import VersionRow
from registry_audit.spool import Spool

IN_MEMORY = 1_000  # rows; some megabytes


class SpooledRows(Sequence[VersionRow]):
    """To a renderer a tuple, read from a file as it goes where there are many."""

    def __init__(self, directory: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        self._spool = Spool(_encode, _decode, directory=directory, in_memory=in_memory)

    def append(self, row: VersionRow) -> None:
        self._spool.append(row)

    def __len__(self) -> int:
        return len(self._spool)

    def __iter__(self) -> Iterator[VersionRow]:
        return iter(self._spool)

    @overload
    def __getitem__(self, index: int) -> VersionRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[VersionRow]: ...
    def __getitem__(self, index: int | slice) -> VersionRow | Sequence[VersionRow]:
        return tuple(self)[index]


def _encode(row: VersionRow) -> str:
    return json.dumps(row.model_dump(mode="json"))


def _decode(line: str) -> VersionRow:
    return VersionRow.model_validate(json.loads(line))
