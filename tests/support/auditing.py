"""Running the product as its users do, and reading what it wrote."""

import contextlib
import io
import json
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import warm

SECONDS = 300  # far more than it takes, also where ten others run


@dataclass(frozen=True, slots=True)
class Done:
    """A command that came to its end."""

    exit_status: int
    stdout: str
    stderr: str
    report_dir: Path

    def report(self, name: str) -> dict[str, Any]:
        """The JSON of this name; a command that failed wrote none."""
        file = self.report_dir / name
        assert file.is_file(), f"no report; the command said: {self.stderr}"
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return content


class Audited(Done):
    @property
    def document(self) -> dict[str, Any]:
        return self.report("audit.json")

    @property
    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document["versions"]
        return found

    @property
    def row(self) -> dict[str, Any]:
        (only,) = self.rows
        return only

    @property
    def rules(self) -> set[str]:
        return {finding["rule"] for row in self.rows for finding in row["findings"]}

    @property
    def everything(self) -> str:
        """All that a user could see or keep."""
        written = (file.read_text(encoding="utf-8") for file in sorted(self.report_dir.rglob("*")) if file.is_file())
        return "\n".join((self.stdout, self.stderr, *written))


class Auditor:
    """Runs `registry-audit audit`, each time with a report directory of its own.

    It must leave nothing behind in the working directory, where MLflow starts a registry of its own when it is asked
    for one in an unguarded way.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.working_directory = directory / "working-directory"
        self.working_directory.mkdir()

    def __call__(self, uri: str, *arguments: str) -> Audited:
        """In this process. Give names of models: the servers are shared with other tests."""
        report_dir, command = self._command(uri, arguments)
        done = self.command(*command)
        return Audited(done.exit_status, done.stdout, done.stderr, report_dir)

    def command(self, *arguments: str) -> Audited:
        """Any command of `registry-audit`, in this process; it has no report directory but the one it is given."""
        from registry_audit.cli import boundary
        from registry_audit.cli.main import registry_audit

        stdout, stderr = io.StringIO(), io.StringIO()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                status = boundary.run(registry_audit, "registry-audit", [*arguments])
        finally:
            signal.signal(signal.SIGTERM, handler)
        self._must_be_empty()
        return Audited(int(status), stdout.getvalue(), stderr.getvalue(), self._directory)

    def program(self, uri: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Audited:
        """As a process of its own."""
        report_dir, command = self._command(uri, arguments)
        done = warm.run(
            [sys.executable, "-m", "registry_audit", *command],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=dict(os.environ) | dict(environment or {}),
            cwd=self.working_directory,
        )
        self._must_be_empty()
        return Audited(done.returncode, done.stdout, done.stderr, report_dir)

    def _must_be_empty(self) -> None:
        left = sorted(path.name for path in self.working_directory.iterdir())
        assert not left, f"the audit left {left} in the working directory"

    def _command(self, uri: str, arguments: tuple[str, ...]) -> tuple[Path, list[str]]:
        report_dir = self._directory / f"report-{secrets.token_hex(4)}"
        return report_dir, ["audit", "--tracking-uri", uri, "--report-dir", str(report_dir), "--quiet", *arguments]
