"""Builds the demo registry from scratch, in a separate process."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from registry_audit.demo.writer import ExpectedResult, Layout
from registry_audit.errors import AuditError, UsageError
from registry_audit.printable import printable
from registry_audit.verdict import Verdict

MARKER = ".mlflow-registry-audit-demo"
_MARKER_TEXT = "This directory holds a demo registry of mlflow-registry-audit. The next build deletes and remakes it.\n"

# SQLAlchemy and MLflow treat these as URI syntax, not as characters of a path.
_UNUSABLE_CHARACTERS = "%?#"


@dataclass(frozen=True, slots=True)
class DemoRegistry:
    tracking_uri: str  # also the registry URI
    artifact_root: Path
    expected: tuple[ExpectedResult, ...]  # sorted by name and version number


def build_demo_registry(directory: Path, *, say: Callable[[str], None]) -> DemoRegistry:
    """Write a real MLflow registry (SQLite and local files) with known damage into an empty directory.

    A directory with an earlier demo may be reused: what that demo made is deleted, anything else stays.

    Args:
        say: called with lines of progress, without a line end.

    Raises:
        UsageError: the directory holds something else, or its path cannot be written as a database URI.
        AuditError: MLflow could not build it; its stderr was passed to `say` before.
    """
    layout = Layout(directory.resolve())
    _claim(layout)
    lines = _run_scenario(layout.directory, say)
    rows = json.loads(lines)
    expected = (
        ExpectedResult(
            row["name"],
            row["version"],
            row["what"],
            Verdict(row["verdict"]) if row["verdict"] is not None else None,
            tuple(row["rules"]),
        )
        for row in rows
    )
    return DemoRegistry(
        tracking_uri=layout.tracking_uri,
        artifact_root=layout.artifacts,
        expected=tuple(sorted(expected, key=lambda result: (result.name, int(result.version)))),
    )


def _claim(layout: Layout) -> None:
    """Mark the directory as ours, and remove everything that an earlier build made."""
    directory = layout.directory
    shown = printable(str(directory))
    if any(character in _UNUSABLE_CHARACTERS or not character.isprintable() for character in str(directory)):
        raise UsageError(f"'{shown}' holds a character that MLflow cannot take in a database URI; choose another path.")
    marker = directory / MARKER
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()) and not marker.is_file():
            raise UsageError(f"'{shown}' is not empty and holds no demo registry; name an empty or a new directory.")
        # Write the marker first, so that an interrupted build can be repeated.
        marker.write_text(_MARKER_TEXT, encoding="utf-8")
        for path in layout.all():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be used for the demo registry: {error.strerror}.") from error


def _run_scenario(directory: Path, say: Callable[[str], None]) -> str:
    """Run the scenario, pass its progress on, and return its last line."""
    last: str | None = None
    # With -P, a folder in the current directory that is named like a library is not imported in its place.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
        with _process([sys.executable, "-P", "-m", "registry_audit.demo.scenario", str(directory)], stderr) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if last is not None:
                    say(last)
                last = line.rstrip("\n")
        # Notes and warnings are switched off in `_environment`, so what is left is worth showing, even after success.
        stderr.seek(0)
        for line in stderr:
            say(line.rstrip("\n"))
    if process.returncode != 0 or last is None:
        raise AuditError(f"MLflow could not build the demo registry (exit status {process.returncode}).")
    return last


@contextmanager
def _process(command: list[str], stderr: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a process that is killed if this one is interrupted."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        env=_environment(),
    )
    with process:  # waits for the process at exit, so it must be killed first if anything is raised
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _environment() -> dict[str, str]:
    """Return this process's environment, quiet and without MLflow's settings, which may name a real server."""
    inherited = {key: value for key, value in os.environ.items() if "MLFLOW_" not in key}
    return inherited | {
        "MLFLOW_LOGGING_LEVEL": "ERROR",  # hides "a new version was created" and "pickle requires caution"
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",  # for a machine without git
        "PYTHONWARNINGS": "ignore",  # stages are deprecated but still in use
        "PYTHONIOENCODING": "utf-8",
    }
