"""Reads a zip file that may be hostile. Only known, plain, bounded files are accepted, each once; nothing is unpacked.

Zip readers disagree on duplicate names, on links, and on bytes between the files. Such a zip might show one content
here and another one to the person who unpacks it, so it is refused.
"""

import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry_audit.evidence.pack import CHAIN, CHECK, ENVELOPE, HTML, REPORT, STAMP, STATEMENT, SUMS
from registry_audit.printable import printable

_NAME = re.compile(r"(manifests/(sha256|blake3)-[0-9a-f]{64}\.txt|listings/sha256-[0-9a-f]{64}\.sha256)")
_PLAIN = frozenset({REPORT, HTML, CHAIN, CHECK, SUMS, STATEMENT})
_OPTIONAL = frozenset({STAMP, ENVELOPE})
_MAX_FILES = 1_000_000
_MAX_TOTAL = 16 * 2**30  # bytes, uncompressed
_MAX_IN_MEMORY = 512 * 2**20
_MAX_RATIO, _SMALL = 300, 2**20  # our texts compress to about a twentieth; the ratio of small files does not matter
_CHUNK = 1 << 20
_MAX_LINE = 64 * 2**20  # bytes in a line of the ledger
_MSDOS_DIRECTORY = 0x10
# PKWARE's APPNOTE.TXT 6.3: 4.3.7 local file header, 4.3.16 end of central directory record, 4.5.3 ZIP64 extra field.
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_CENTRAL_HEADER_SIZE = 46
_END = struct.Struct("<4s4H2IH")
_ZIP64_END = struct.Struct("<4sQ2H2I4Q4sIQI")  # the record and its locator
_ZIP64_SIZES = struct.Struct("<HHQQ")  # tag 1, length 16, both sizes
_IN_ZIP64 = 0xFFFFFFFF


class Broken(Exception):
    """The file cannot be a valid pack. The message says why."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse JSON objects with duplicate keys, on whose value readers would disagree.

    Pass this as the `object_pairs_hook` of `json.loads`.

    Raises:
        ValueError: a key is given twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


class Archive:
    """Gives access to the files of a zip that may be hostile: known names, each once, plain and bounded."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        infos = archive.infolist()
        if len(infos) > _MAX_FILES or sum(info.file_size for info in infos) > _MAX_TOTAL:
            raise Broken("it holds more than a pack can")
        self._archive, self._read_bytes = archive, 0
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            shown = printable(info.filename)
            if info.filename not in _PLAIN | _OPTIONAL and not _NAME.fullmatch(info.filename):
                raise Broken(f"it holds '{shown}', which no pack does")
            if info.filename in self.infos:
                raise Broken(f"it holds '{shown}' twice")
            if info.flag_bits & 1:
                raise Broken(f"'{shown}' is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Broken(f"'{shown}' is compressed in a way that no pack is")
            if info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size):
                raise Broken(f"'{shown}' expands to more than a pack can hold")
            is_directory = bool(info.external_attr & _MSDOS_DIRECTORY)
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or is_directory:
                raise Broken(f"'{shown}' is no plain file")
            self.infos[info.filename] = info
        for name in sorted(_PLAIN):
            if name not in self.infos:
                raise Broken(f"'{name}' is missing")
        _must_hold_nothing_else(archive, path)

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._archive.open(self.infos[name]) as file:
            while chunk := file.read(_CHUNK):
                self._read_bytes += len(chunk)
                if self._read_bytes > 4 * _MAX_TOTAL:
                    raise Broken("it expands to more than a pack can hold")
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
    """Refuse a zip with bytes before, between or after its files, or with two descriptions of one file.

    Some programs read the header before each file, others the directory at the end. Both must agree, or these programs
    would see different files.
    """
    at = 0
    with path.open("rb") as file:
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            if info.header_offset != at:
                raise Broken("it holds something before or between its files")
            file.seek(at)
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size:
                raise Broken("it ends within a file")
            if info.flag_bits & 8:  # set if the zip was written as a stream, with the sizes after the content
                raise Broken("it was written as a stream, which no pack is")
            _, _, flags, method, _, _, checksum, packed, size, name_length, extra_length = _LOCAL_HEADER.unpack(header)
            name, extra = file.read(name_length), file.read(extra_length)
            if (packed, size) == (_IN_ZIP64, _IN_ZIP64) and len(extra) == _ZIP64_SIZES.size:
                kind, length, size, packed = _ZIP64_SIZES.unpack(extra)
                extra = b"" if (kind, length) == (1, 16) else extra
            said = (flags, method, checksum, packed, size, name, extra)
            due = (info.flag_bits, info.compress_type, info.CRC, info.compress_size, info.file_size)
            if (*said, info.extra) != (*due, info.filename.encode("ascii"), b"", _large(info)) or info.comment:
                raise Broken(f"'{printable(info.filename)}' is described in two ways")
            at += len(header) + name_length + extra_length + info.compress_size
        directory = sum(_CENTRAL_HEADER_SIZE + len(info.filename) + len(info.extra) for info in archive.infolist())
        end = _end(len(archive.infolist()), directory, at)
        file.seek(at + directory)
        if at != archive.start_dir or file.read(len(end) + 1) != end:
            raise Broken("it holds something behind its files, or its end leads elsewhere")


def _end(count: int, size: int, offset: int) -> bytes:
    """Return the bytes after the directory as Python's `zipfile` writes them.

    Readers disagree on which numbers count.
    """
    large = b""
    if count > zipfile.ZIP_FILECOUNT_LIMIT or max(size, offset) > zipfile.ZIP64_LIMIT:
        record = b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset
        large = _ZIP64_END.pack(*record, b"PK\6\7", 0, offset + size, 1)
        count, size, offset = min(count, 0xFFFF), min(size, _IN_ZIP64), min(offset, _IN_ZIP64)
    return large + _END.pack(b"PK\5\6", 0, 0, count, count, size, offset, 0)


def _large(info: zipfile.ZipInfo) -> bytes:
    """Return the extra field that Python's `zipfile` writes in the directory for numbers beyond 2 GiB, or nothing."""
    sizes = (
        [info.file_size, info.compress_size] if max(info.file_size, info.compress_size) > zipfile.ZIP64_LIMIT else []
    )
    numbers = sizes + [info.header_offset] * (info.header_offset > zipfile.ZIP64_LIMIT)
    return struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
