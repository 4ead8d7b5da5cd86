"""The files of a zip that anybody may have made: known names, each once, plain and bounded; nothing is unpacked.

Readers of zip files disagree on files that are there twice, on links, and on what stands between the files: such a file
might show one thing here and another to whoever unpacks it. It is refused.
"""

import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry_audit.evidence.pack import CHAIN, CHECK, HTML, REPORT, STAMP, STATEMENT, SUMS
from registry_audit.printable import printable

_NAME = re.compile(r"(manifests/(sha256|blake3)-[0-9a-f]{64}\.txt|listings/sha256-[0-9a-f]{64}\.sha256)")
_PLAIN = frozenset({REPORT, HTML, CHAIN, CHECK, SUMS, STATEMENT, STAMP})
_MAX_FILES = 1_000_000
_MAX_TOTAL = 16 * 2**30  # bytes, unpacked
_MAX_IN_MEMORY = 512 * 2**20
_MAX_RATIO, _SMALL = 300, 2**20  # texts of ours become a twentieth; of what is small it does not matter
_CHUNK = 1 << 20
_MAX_LINE = 64 * 2**20  # of the ledger
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class Broken(Exception):
    """The pack cannot be what it says."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`. Raises: ValueError: a key is given twice, of which each reader believes another."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


class Archive:
    """The files of a zip that may be hostile: known names, each once, plain and bounded."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        infos = archive.infolist()
        if len(infos) > _MAX_FILES or sum(info.file_size for info in infos) > _MAX_TOTAL:
            raise Broken("it holds more than a pack can")
        self._archive, self._read_bytes = archive, 0
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            shown = printable(info.filename)
            if info.filename not in _PLAIN and not _NAME.fullmatch(info.filename):
                raise Broken(f"it holds '{shown}', which no pack does")
            if info.filename in self.infos:
                raise Broken(f"it holds '{shown}' twice")
            if info.flag_bits & 1:
                raise Broken(f"'{shown}' is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Broken(f"'{shown}' is compressed in a way that no pack is")
            if info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size):
                raise Broken(f"'{shown}' unfolds into more than a pack can hold")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise Broken(f"'{shown}' is no plain file")
            self.infos[info.filename] = info
        for name in _PLAIN - {STAMP}:
            if name not in self.infos:
                raise Broken(f"'{name}' is missing")
        _must_hold_nothing_else(archive, path)

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._archive.open(self.infos[name]) as file:
            while chunk := file.read(_CHUNK):
                self._read_bytes += len(chunk)
                if self._read_bytes > 4 * _MAX_TOTAL:
                    raise Broken("it unfolds into more than a pack can hold")
                yield chunk

    def read(self, name: str) -> bytes:
        if self.infos[name].file_size > _MAX_IN_MEMORY:
            raise Broken(f"'{name}' is larger than can be checked")
        content = bytearray()
        for chunk in self.chunks(name):
            content += chunk
            if len(content) > _MAX_IN_MEMORY:
                raise Broken(f"'{name}' is larger than can be checked")
        return bytes(content)

    def lines(self, name: str) -> Iterator[bytes]:
        with self._archive.open(self.infos[name]) as file:
            while line := file.readline(_MAX_LINE):
                if len(line) == _MAX_LINE:
                    raise Broken(f"'{name}' holds a line that is longer than any of a pack")
                yield line


def _must_hold_nothing_else(archive: zipfile.ZipFile, path: Path) -> None:
    """The files follow each other from the first byte on, without anything before, between or behind them."""
    at = 0
    with path.open("rb") as file:
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or info.header_offset != at:
                raise Broken("it holds something before or between its files")
            name_length, extra_length = _LOCAL_HEADER.unpack(header)[-2:]
            at += len(header) + name_length + extra_length + info.compress_size
            if info.flag_bits & 8:  # sizes follow the content, where it was written as a stream
                raise Broken("it was written as a stream, which no pack is")
    if at != archive.start_dir or archive.comment:
        raise Broken("it holds something behind its files")
