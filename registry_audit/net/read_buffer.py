"""Memory for what is read from a disk, used again and again: no megabyte is asked of the system for each that comes."""

from collections.abc import Callable

PIECE_BYTES = 512 << 10

Where = Callable[[], memoryview]  # the next bytes go there


class ReadBuffer:
    """Two pieces by turns: what was read into one is there until the second reading after it."""

    def __init__(self) -> None:
        self._pieces = memoryview(bytearray(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))
        self._turn = 0

    def __call__(self) -> memoryview:
        self._turn = 1 - self._turn
        return self._pieces[self._turn]
