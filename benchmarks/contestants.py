"""Defines contestants: each has a command, and a check that it did the whole work."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AUDIT, ONE_AUDIT = "audit", "audit-start"


@dataclass(frozen=True, slots=True)
class Done:
    says: str
    facts: dict[str, int] | None = None  # numbers that targets need


@dataclass(frozen=True, slots=True)
class Contestant:
    key: str
    label: str
    # Paths are relative to the working directory; programs of this environment take precedence over those on PATH.
    command: tuple[str, ...]
    # Takes the output and the working directory, and returns what was done. Raises ValueError if work is missing.
    check: Callable[[str, Path], Done]
    start: str | None = None  # key of the contestant that measures this one's start-up
    prepare: tuple[str, ...] | None = None  # run once before the warm-up, not measured
    needs_option: str | None = None  # option that `registry-audit audit` must have
    flow: bool = False  # needs a Prefect server
    exit_status: int = 0  # exit status if the whole work was done

    def argv(self) -> list[str]:
        return resolved(self.command)


def resolved(command: tuple[str, ...]) -> list[str]:
    program, *arguments = command
    if program == "python":
        return [sys.executable, *arguments]
    own = Path(sys.executable).with_name(program)
    return [str(own) if own.is_file() else shutil.which(program) or program, *arguments]


def audited(report: Path, versions: int, verdict: str, bytes_read: int | None) -> Done:
    """Check an audit. Raises: ValueError: a version has another verdict, or the number of bytes read is different."""
    audit = _document(report)
    verdicts = {name: count for name, count in audit["summary"]["verdicts"].items() if count}
    if verdicts != {verdict: versions}:
        raise ValueError(f"verdicts {verdicts}, not {versions} of '{verdict}'")
    read = audit["coverage"]["bytes_read"]
    if bytes_read is not None and read != bytes_read:
        raise ValueError(f"{read} bytes read of {bytes_read}")
    return Done(f"{versions} {verdict}, {read} bytes read", {"bytes_read": read})


def listed(report: Path, versions: int, most_bytes: int) -> Done:
    """Check an audit that lists only.

    Raises:
        ValueError: a version was left out, something was found, or more than these bytes were read.
    """
    audit = _document(report)
    coverage, found = audit["coverage"], {rule: count for rule, count in audit["summary"]["findings"].items() if count}
    looked_at = coverage["audited"] + coverage["only_listed"]
    if coverage["listed"] != versions or looked_at != versions or found:
        raise ValueError(f"{looked_at} of {coverage['listed']} looked at, found {found}")
    if coverage["bytes_read"] > most_bytes:
        raise ValueError(f"{coverage['bytes_read']} bytes read")
    return Done(f"{versions} looked at, {coverage['bytes_read']} bytes read", {"bytes_read": coverage["bytes_read"]})


def _document(report: Path) -> Any:
    file = report / "audit.json"
    if not file.is_file():
        raise ValueError("it wrote no audit.json")
    return json.loads(file.read_text())


def last_line(output: str, expected: str) -> Done:
    last = output.splitlines()[-1] if output else ""
    if not last.startswith(expected):
        raise ValueError(output.strip()[-300:])
    return Done(last)


def matching_files(output: str, files: int) -> Done:
    matching = re.search(r"(\d+) matching files", output)
    if "0 differences found" not in output or matching is None or int(matching[1]) != files:
        raise ValueError(output.strip()[-300:])
    return Done(f"{files} matching files")


def silent(output: str) -> Done:
    if output:
        raise ValueError(output.strip()[-300:])
    return Done("no difference")


def containing(output: str, expected: str) -> Done:
    if expected not in output:
        raise ValueError(output.strip()[-300:])
    return Done(expected)
