"""Two contents side by side, in pieces of one length, whatever the chunks they come in."""

from collections.abc import Iterator

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


class Equal:
    """Whether two pieces are the same bytes, compared as memory: `==` of memoryviews goes from element to element."""

    def __init__(self) -> None:
        self._copied = bytearray()

    def __call__(self, left: Chunk, right: Chunk) -> bool:
        if isinstance(left, bytes) and isinstance(right, bytes):
            return left == right
        size = len(left)
        if size > len(self._copied):
            self._copied = bytearray(size)
        memoryview(self._copied)[:size] = left
        return size == len(right) and self._copied.startswith(right)
