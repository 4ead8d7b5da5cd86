"""Keeps a flow run alive when the worker that reads its output is killed."""

import contextlib
import os
import select
import stat
import threading
from collections.abc import Iterable

OUT, ERR = 1, 2


def outlive_reader(descriptors: Iterable[int] = (OUT, ERR)) -> None:
    """Discard this process's output after its reader is gone, instead of being killed by a broken pipe.

    A worker reads the output of its runs through pipes. If only the worker is killed, the next line that Prefect logs
    would end the run and its audit. Nothing important is lost: the results are on Prefect's server and in the report.
    """
    pipes = [descriptor for descriptor in descriptors if _is_pipe(descriptor)]
    if pipes and hasattr(select, "poll"):  # Windows has no poll
        threading.Thread(target=_wait, args=(pipes,), daemon=True, name="console").start()


def _wait(pipes: list[int]) -> None:
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, 0)  # no event is needed: a closed reader is always reported
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
