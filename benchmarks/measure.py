"""Runs commands, and measures time, processor time, memory, descriptors and writes with the kernel's numbers."""

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# ru_maxrss is in kilobytes, but on macOS in bytes.
_MAXRSS_UNIT = 1 if os.uname().sysname == "Darwin" else 1024
_BLOCK_BYTES = 512  # the unit of ru_oublock
_PROC = Path("/proc")
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    wall_seconds: float
    cpu_seconds: float  # user and system, including child processes that it waited for
    # Largest resident set of any of its processes, without growth in its last 50 ms. Without /proc it is at least that
    # of the measuring process when it forked.
    peak_bytes: int
    # Sum over the process and its children, sampled every 50 ms; None without /proc.
    peak_tree_bytes: int | None
    peak_descriptors: int | None
    peak_threads: int | None
    written_bytes: int  # to file systems on disk, including report and ledger
    exit_status: int


def run_once(command: list[str], *, cwd: Path, environment: dict[str, str], output: Path) -> Sample:
    """Run the command to its end, with both its streams in one file."""
    with output.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        watch = _Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - started
        watch.end()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Sample(
        wall_seconds,
        usage.ru_utime + usage.ru_stime,
        # The kernel's number for a child starts with its parent's memory, before the exec.
        watch.one_bytes or usage.ru_maxrss * _MAXRSS_UNIT,
        watch.tree_bytes,
        watch.descriptors,
        watch.threads,
        usage.ru_oublock * _BLOCK_BYTES,
        process.returncode,
    )


class _Watch:
    """Samples a process and its children until it is told to end. It costs about half a percent of a core."""

    def __init__(self, pid: int) -> None:
        self.one_bytes: int | None = None
        self.tree_bytes: int | None = None
        self.descriptors: int | None = None
        self.threads: int | None = None
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            looked = [found for pid in _family(self._pid) if (found := _look(pid)) is not None]
            if looked:
                self.one_bytes = max(self.one_bytes or 0, *(peak for _, peak, _, _ in looked))
                resident, _, descriptors, threads = (sum(column) for column in zip(*looked, strict=True))
                self.tree_bytes = max(self.tree_bytes or 0, resident)
                self.descriptors = max(self.descriptors or 0, descriptors)
                self.threads = max(self.threads or 0, threads)
            if self._ended.wait(_SAMPLE_SECONDS):
                return


def _family(pid: int) -> list[int]:
    found, open_ends = [pid], [pid]
    while open_ends:
        try:
            children = [
                int(child)
                for task in (_PROC / str(open_ends.pop()) / "task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        found += children
        open_ends += children
    return found


def _look(pid: int) -> tuple[int, int, int, int] | None:
    """Return current and peak resident bytes, open descriptors and threads; None if the process has ended."""
    process = _PROC / str(pid)
    try:
        status = (process / "status").read_text()
        peak, now = (int(status.split(name, 1)[1].split(None, 1)[0]) * 1024 for name in ("VmHWM:", "VmRSS:"))
        return now, peak, len(os.listdir(process / "fd")), len(os.listdir(process / "task"))  # noqa: PTH208 - called often
    except (OSError, IndexError):
        return None
