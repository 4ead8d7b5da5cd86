"""Colours are for terminals, and never for a file or a pipe."""

import sys

import pytest

from registry_audit.cli.report_output import coloured

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
