"""Says of a failure how it can be seen again."""

import pytest
from support.fuzzing import DIRECTORY, FACTOR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("failed", ()):
        if "tests/fuzz/" in report.nodeid:
            terminalreporter.write_line(f"to see it again (its example is kept in {DIRECTORY.name}/ and tried first):")
            terminalreporter.write_line(f"  FUZZ_FACTOR={max(FACTOR, 2)} .venv/bin/python -m pytest '{report.nodeid}'")
