"""Python environments with packages that must not be beside the product's own, made once for all test runs.

They are kept in the user's cache, outside of the checkout, and made by `uv`.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

_INSTALL_SECONDS = 900


@cache
def environment(name: str, python: str, steps: tuple[tuple[str, ...], ...], must_run: str = "") -> Path | str:
    """The Python of an environment, or the reason why there is none.

    Args:
        name: begins that of its directory.
        python: version of the interpreter.
        steps: what `uv pip` is told, one after the other.
        must_run: Python that must run in it.
    """
    uv = find_uv()
    if uv is None:
        return "uv is not installed"
    base = find_python(uv, python)
    if base is None:
        return f"there is no Python {python}"
    asked = "\n".join((base, *(" ".join(step) for step in steps)))
    directory = cache_directory() / f"{name}-{sha256(asked.encode()).hexdigest()[:8]}"
    made, complete = directory / "bin" / "python", directory / "complete"
    with _one_at_a_time(directory):
        if complete.exists():
            return made
        try:
            _run(uv, "venv", "--quiet", "--clear", "--python", base, str(directory))
            for step in steps:
                _run(uv, "pip", *step, "--quiet", "--python", str(made))
            _run(str(made), "-c", must_run)
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()
            shutil.rmtree(directory, ignore_errors=True)
            return said[-500:]
        complete.touch()
    return made


def cache_directory() -> Path:
    """Where what takes long to make is kept, outside of the checkout."""
    found = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-registry-audit-tests"
    found.mkdir(parents=True, exist_ok=True)
    return found


def find_uv() -> str | None:
    """The program, beside this Python or on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def find_python(uv: str, version: str) -> str | None:
    """A Python of this machine, or one that uv can fetch."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for found in sorted(pyenv.glob(f"{version}.*/bin/python")):
        return str(found)
    with suppress(subprocess.SubprocessError):
        return _run(uv, "python", "find", version).strip()
    with suppress(subprocess.SubprocessError):
        _run(uv, "python", "install", "--quiet", version)
        return _run(uv, "python", "find", version).strip()
    return None


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW_"))}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_INSTALL_SECONDS, env=environment, cwd="/"
    )
    return done.stdout
