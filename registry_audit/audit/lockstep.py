"""Two contents side by side, in pieces of one length, whatever the chunks they come in."""

import ctypes
from collections.abc import Iterator
from typing import Any

Chunk = bytes | memoryview


def in_lockstep(left: Iterator[Chunk], right: Iterator[Chunk]) -> Iterator[tuple[Chunk, Chunk]]:
    """Pieces of both, as long as each other until one content ends; then the rest of the other one, beside nothing."""
    left, right = filter(len, left), filter(len, right)
    while True:
        a, b = next(left, b""), next(right, b"")
        while len(a) != len(b) and a and b:
            shorter = min(len(a), len(b))
            one, two = memoryview(a), memoryview(b)
            yield one[:shorter], two[:shorter]
            a, b = one[shorter:] or next(left, b""), two[shorter:] or next(right, b"")
        if not a and not b:
            return
        yield a, b


def equal(left: Chunk, right: Chunk) -> bool:
    """Whether two pieces are the same bytes. Large ones are compared without the interpreter's lock."""
    size = len(left)
    if size != len(right):
        return False
    if _memcmp is None or size < _LARGE_BYTES:
        return bytes(left) == bytes(right)  # `==` of memoryviews goes from element to element
    return bool(_memcmp(_pointer(left), _pointer(right), size) == 0)


def _pointer(chunk: Chunk) -> Any:
    if isinstance(chunk, memoryview):
        return bytes(chunk) if chunk.readonly else ctypes.byref(ctypes.c_char.from_buffer(chunk))
    return chunk


def _of_the_c_library() -> Any:
    """None where it cannot be had so."""
    try:
        found = ctypes.CDLL(None).memcmp
    except (OSError, TypeError, AttributeError):
        return None
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int
    return found


_LARGE_BYTES = 64 << 10
_memcmp = _of_the_c_library()
