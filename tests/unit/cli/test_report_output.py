"""Colours are for terminals, and never for a file or a pipe."""

import sys
from pathlib import Path

import pytest

from registry_audit.cli.report_output import coloured, show_and_write
from registry_audit.errors import UsageError

TEXT = (
    "* Wine/3\tRA001 critical\n  critical  RA001 run-registry-mismatch  Wine/3\n  Result    Findings (exit status 1)\n"
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def test_a_terminal_sees_colours(terminal: None) -> None:
    shown = coloured(TEXT)
    assert shown.count("\x1b[0m") == 3
    assert "\x1b[31m" in shown


def test_a_version_with_a_finding_is_never_green(terminal: None) -> None:
    assert coloured("@ Churn/2\tRA004 high\n") == "\x1b[31m@ Churn/2\tRA004 high\x1b[0m\n"
    assert coloured("@ Churn/1\n") == "\x1b[32m@ Churn/1\x1b[0m\n"


def test_no_color_is_kept_to(terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured(TEXT) == TEXT


def test_a_pipe_sees_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert coloured(TEXT) == TEXT


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        (UsageError("it is in a model"), "it is in a model"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_a_report_that_cannot_be_written_is_shown_all_the_same(
    failed: Exception, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(directory: Path) -> tuple[Path, ...]:
        raise failed

    assert not show_and_write(["the report\n"], tmp_path, write)
    shown = capsys.readouterr()
    assert shown.out == "the report\n"
    assert shown.err == f"the report cannot be written to {tmp_path}: {why}\n"
