"""Who is measured: a command each, and how to see that it did the whole work."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generate import DATABASE, REG_MODELS, RUN_MODELS
from benchmarks.shapes import ONE_VERSION, Shape

AUDIT, RCLONE_DOWNLOAD = "audit", "rclone-download"

_REPORT = "report"


@dataclass(frozen=True, slots=True)
class Contestant:
    key: str
    label: str
    command: tuple[str, ...]  # relative to the working directory; `python` and `registry-audit` are this environment's
    # Of its output and the working directory: what it says it did. Raises ValueError where that is not the whole work.
    check: Callable[[str, Path], str]
    start: str | None = None  # key of the contestant that is this one's start-up

    def argv(self) -> list[str]:
        program, *arguments = self.command
        if program == "python":
            return [sys.executable, *arguments]
        if program == "registry-audit":
            return [str(Path(sys.executable).with_name(program)), *arguments]
        return list(self.command)


def contestants(shape: Shape, tree_bytes: int, workers: int | None) -> list[Contestant]:
    """In the order they run in.

    Args:
        tree_bytes: of all files of one copy of all versions.
        workers: for the audit; None is its default.
    """
    trees = (f"{shape.name}/{RUN_MODELS}", f"{shape.name}/{REG_MODELS}")
    files = shape.versions * 5
    return [
        _audit("audit-start", "registry-audit audit, one version", ONE_VERSION, None, workers),
        _audit(AUDIT, "registry-audit audit", shape, 2 * tree_bytes, workers, start="audit-start"),
        _audit(
            "audit-no-ledger",
            "the same without a ledger",
            shape,
            2 * tree_bytes,
            workers,
            "audit-start",
            ("--ledger", "none"),
        ),
        Contestant(
            RCLONE_DOWNLOAD,
            "rclone check --download",
            ("rclone", "check", "--download", *trees),
            lambda output, cwd: _rclone(output, files),
        ),
        Contestant(
            "rclone-hash",
            "rclone check (md5)",
            ("rclone", "check", *trees),
            lambda output, cwd: _rclone(output, files),
        ),
        Contestant("diff", "diff -rq", ("diff", "-rq", *trees), lambda output, cwd: _silent(output)),
        Contestant(
            "floor-digest",
            "floor: read both, sha256 of one",
            ("python", "-m", "benchmarks.floor", "digest", *trees),
            lambda output, cwd: _floor(output, 2 * tree_bytes),
        ),
        Contestant(
            "floor-read",
            "floor: read both",
            ("python", "-m", "benchmarks.floor", "read", *trees),
            lambda output, cwd: _floor(output, 2 * tree_bytes),
        ),
        # The last two write: what they leave dirty is flushed before the next round begins.
        _predecessor("predecessor-start", "the predecessor, one version", ONE_VERSION),
        _predecessor("predecessor", "the predecessor, in one process", shape, start="predecessor-start"),
    ]


def _audit(
    key: str,
    label: str,
    shape: Shape,
    bytes_read: int | None,
    workers: int | None,
    start: str | None = None,
    options: tuple[str, ...] = (),
) -> Contestant:
    command = ["registry-audit", "audit", "--tracking-uri", f"sqlite:///{shape.name}/{DATABASE}"]
    command += ["--report-dir", _REPORT, *(["--workers", str(workers)] if workers else []), *options]

    def check(output: str, cwd: Path) -> str:
        audit = json.loads((cwd / _REPORT / "audit.json").read_text())
        verdicts = {verdict: count for verdict, count in audit["summary"]["verdicts"].items() if count}
        if verdicts != {"match": shape.versions}:
            raise ValueError(f"verdicts {verdicts}, not {shape.versions} of 'match'")
        read = audit["coverage"]["bytes_read"]
        if bytes_read is not None and read != bytes_read:
            raise ValueError(f"{read} bytes read of {bytes_read}")
        return f"{shape.versions} match, {read} bytes read"

    return Contestant(key, label, tuple(command), check, start)


def _predecessor(key: str, label: str, shape: Shape, start: str | None = None) -> Contestant:
    def check(output: str, cwd: Path) -> str:
        last = output.splitlines()[-1] if output else ""
        if last != f"{shape.versions} of {shape.versions} equal":
            raise ValueError(last)
        return last

    command = ("python", "-m", "benchmarks.predecessor", f"sqlite:///{shape.name}/{DATABASE}", "scratch")
    return Contestant(key, label, command, check, start)


def _rclone(output: str, files: int) -> str:
    matching = re.search(r"(\d+) matching files", output)
    if "0 differences found" not in output or matching is None or int(matching[1]) != files:
        raise ValueError(output.strip()[-300:])
    return f"{files} matching files"


def _silent(output: str) -> str:
    if output:
        raise ValueError(output.strip()[-300:])
    return "no difference"


def _floor(output: str, expected_bytes: int) -> str:
    if not output.startswith(f"{expected_bytes} bytes "):
        raise ValueError(output.strip()[-300:])
    return output.strip()
