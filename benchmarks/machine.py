"""Describes the machine as far as it matters to the numbers."""

import os
import platform
import re
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contestants import resolved

_PACKAGES = ("mlflow-registry-audit", "mlflow", "prefect", "boto3", "obstore", "blake3", "model-signing")


def describe_machine() -> dict[str, object]:
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "load_at_start": round(_busy_cores(), 2),
        "versions": {
            "python": platform.python_version(),
            **{name: found for name in _PACKAGES if (found := _package(name)) is not None},
            **{name: found for name in ("rclone", "diff", "b3sum") if (found := _version_of(name)) is not None},
        },
    }


def _busy_cores() -> float:
    """Return how many cores were busy with other work for a second.

    The load average would include our own last case.
    """
    try:
        before = _core_seconds()
        time.sleep(1.0)
        return _core_seconds() - before
    except OSError:
        return os.getloadavg()[0]


def _core_seconds() -> float:
    user, nice, system, _, _, irq, soft_irq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _package(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _version_of(program: str) -> str | None:
    command = resolved((program, "--version"))
    if shutil.which(command[0]) is None:
        return None
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", output)
    return found[0] if found else "unknown"
