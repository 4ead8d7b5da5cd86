"""Runs commands and takes their time, processor time and peak memory from the kernel."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# ru_maxrss is in kilobytes, on macOS in bytes.
_MAXRSS_UNIT = 1 if os.uname().sysname == "Darwin" else 1024


@dataclass(frozen=True, slots=True)
class Sample:
    wall_seconds: float
    cpu_seconds: float  # user and system, of all its processes that it waited for
    peak_bytes: int  # largest resident set of any one of them; at least the measuring process's own when it forked
    exit_status: int


def run_once(command: list[str], *, cwd: Path, environment: dict[str, str], output: Path) -> Sample:
    """Run the command to its end, both its streams into one file."""
    with output.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Sample(wall_seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MAXRSS_UNIT, process.returncode)
