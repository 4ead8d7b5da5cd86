"""Memory for what arrives, used again and again: no megabyte is asked of the system for each one that comes."""

from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any

PIECE_BYTES = 512 << 10
_CHUNK_BYTES = 1 << 20

Where = Callable[[], memoryview]  # the next bytes go there


class Memory:
    """Two pieces by turns: what was read into one is there until the second reading after it."""

    def __init__(self) -> None:
        self._pieces = memoryview(bytearray(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))
        self._turn = 0

    def __call__(self) -> memoryview:
        self._turn = 1 - self._turn
        return self._pieces[self._turn]


def arriving(raw: Any, where: Where | None, *, encoded: bool = False) -> Iterator[bytes | memoryview]:
    """The body of an urllib3 answer, to its end.

    Args:
        where: to read into; None for bytes that stay what they are. An answer of unknown length, or an encoded one,
            comes as such bytes in any case.
        encoded: to be decoded as its headers say.

    Raises whatever urllib3 or the socket raise for a body that breaks off.
    """
    response = getattr(raw, "_fp", None)  # urllib3's own way to read into memory makes a copy first
    left = raw.length_remaining
    if where is None or encoded or left is None or not isinstance(response, HTTPResponse):
        yield from raw.stream(_CHUNK_BYTES, decode_content=encoded)
        return
    while left:
        piece = where()[:left]
        count = response.readinto(piece)
        if not count:
            raise EOFError(f"{left} bytes are missing")
        left -= count
        yield piece[:count]
    raw.release_conn()
