"""Server processes of the tests: started in a group of their own, ready when they say so, gone afterwards."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from support import warm

_POLL_SECONDS = 0.05
_STOP_SECONDS = 5.0
_LOG_TAIL_CHARACTERS = 6_000

# The shell leads the group. It waits for the server, and a second one for the end of the pipe that only pytest holds:
# a pytest that is killed, or dies of a segmentation fault, leaves no server behind either.
_ENDS_WITH_US = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL 0) & "$@" </dev/null 3<&- & wait $!'


class ServerFailed(AssertionError):
    """A server did not start; the message ends with its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago: who uses it must check that it is its own server that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float, what: str) -> None:
    """Poll until `condition` holds.

    Raises:
        ServerFailed: not within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what}: not within {timeout_seconds:g} s")
        time.sleep(_POLL_SECONDS)


@contextmanager
def server_process(
    command: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str],
    directory: Path,
    timeout_seconds: float = 180.0,
    cold: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the block ends; its output goes to the file `log`.

    `cold` is what must import for itself all that it can otherwise be forked with.

    Raises:
        ServerFailed: it ended, or `ready` was not true in time.
    """
    forked = not cold and warm.is_forked(list(command), environment)
    with log.open("wb") as output:
        process = warm.Popen(
            list(command) if forked else ["sh", "-c", _ENDS_WITH_US, "sh", *command],
            ends_with_stdin=forked,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,  # its children end with it, and Ctrl-C reaches pytest alone
        )
    try:
        _wait_ready(process, ready, log=log, timeout_seconds=timeout_seconds)
        yield process
    finally:
        _stop_group(process)


def _wait_ready(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], *, log: Path, timeout_seconds: float
) -> None:
    def ended_or_ready() -> bool:
        return process.poll() is not None or ready()

    try:
        wait_until(ended_or_ready, timeout_seconds=timeout_seconds, what="the server is not ready")
    except ServerFailed as not_ready:
        raise ServerFailed(f"{not_ready}\n{log_tail(log)}") from None
    if process.poll() is not None:
        raise ServerFailed(f"the server ended with status {process.returncode}\n{log_tail(log)}")


def log_tail(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    return f"--- end of {log} ---\n{text[-_LOG_TAIL_CHARACTERS:]}"


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    # Without asking first: a polite end takes MLflow a second, and nobody needs what it would tidy up.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=_STOP_SECONDS)
    if process.stdin:
        process.stdin.close()
