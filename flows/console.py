"""Lets a run outlive the reader of its console: what it prints is dropped once nobody reads it."""

import contextlib
import os
import select
import stat
import threading
from collections.abc import Iterable

OUT, ERR = 1, 2


def outlive_reader(descriptors: Iterable[int] = (OUT, ERR)) -> None:
    """Once nobody reads what this process prints, let it be lost.

    A worker reads it through a pipe. Where the worker alone is killed, the next line that Prefect logs would find the
    pipe broken and end the run, audit and all; what a run has to say is on Prefect's server and in its report.
    """
    pipes = [descriptor for descriptor in descriptors if _is_pipe(descriptor)]
    if pipes and hasattr(select, "poll"):  # Windows has none
        threading.Thread(target=_wait, args=(pipes,), daemon=True, name="console").start()


def _wait(pipes: list[int]) -> None:
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, 0)  # that its other end was closed is told unasked
    while pipes:
        for pipe, _ in poll.poll():
            poll.unregister(pipe)
            pipes.remove(pipe)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, pipe)
            os.close(nowhere)


def _is_pipe(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    return False
