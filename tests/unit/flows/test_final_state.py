"""The error that ended a run decides its final state, whatever fails afterwards."""

import logging
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import flows.audit_registry
import flows.compare_registries
from registry_audit.errors import LedgerError, Stopped, UsageError

_LATER = [
    (UsageError("the directory is in a model"), "the directory is in a model"),
    (LedgerError("the chain is broken"), "the chain is broken"),
    (PermissionError(13, "Permission denied"), "Permission denied"),
    (KeyError("defect"), "internal error: KeyError"),
]


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("final_state", "audit_registry", "compare_registries"):
        monkeypatch.setattr(f"flows.{module}.get_run_logger", lambda: logging.getLogger("run"))


@pytest.mark.parametrize("step", ["ledger_of", "interrupted_report", "write_report"])
@pytest.mark.parametrize(("later", "said"), _LATER)
def test_an_audit_that_was_stopped_and_cannot_be_reported_is_stopped(
    step: str, later: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    given = "parameters life_of job_of listeners_of opened_results replace Steps nothing_listed row_spool close_job"
    for name in (*given.split(), "list_versions", "ledger_of", "interrupted_report", "write_report"):
        monkeypatch.setattr(flows.audit_registry, name, MagicMock())
    monkeypatch.setattr(flows.audit_registry, "list_versions", MagicMock(side_effect=Stopped("cancelled")))
    monkeypatch.setattr(flows.audit_registry, step, MagicMock(side_effect=later))
    with pytest.raises(Stopped, match="cancelled"):
        flows.audit_registry._audit(MagicMock(), MagicMock(), tmp_path, MagicMock(), None)
    if not (step == "ledger_of" and isinstance(later, UsageError | LedgerError)):  # without a ledger it is reported
        assert said in caplog.text


@pytest.mark.parametrize("step", ["open_session", "interrupted_migration", "write_report"])
@pytest.mark.parametrize(("later", "said"), _LATER)
def test_a_comparison_that_was_stopped_and_cannot_be_reported_is_stopped(
    step: str, later: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for name in ("list_registry", "begin_both", "close_job", "open_session", "interrupted_migration", "write_report"):
        monkeypatch.setattr(flows.compare_registries, name, MagicMock())
    monkeypatch.setattr(flows.compare_registries, "_read", MagicMock(side_effect=Stopped("cancelled")))
    monkeypatch.setattr(flows.compare_registries, step, MagicMock(side_effect=later))
    with pytest.raises(Stopped, match="cancelled"):
        flows.compare_registries._compared((MagicMock(), MagicMock()), MagicMock(), [1, 1], tmp_path, None)
    assert said in caplog.text
