"""What was typed, as options."""

import pytest

from registry_audit.cli.common_options import audit_options


def test_no_ledger_is_a_choice_and_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUDIT_LEDGER", "sqlite:////somebody/ledger.db")
    assert audit_options({"tracking_uri": "http://127.0.0.1", "ledger": None}).ledger is None
    assert audit_options({"tracking_uri": "http://127.0.0.1"}).ledger == "sqlite:////somebody/ledger.db"
    monkeypatch.delenv("REGISTRY_AUDIT_LEDGER")
    assert str(audit_options({"tracking_uri": "http://127.0.0.1"}).ledger).endswith("/ledger.db")


def test_what_was_not_typed_has_its_default() -> None:
    assert audit_options({"tracking_uri": "http://127.0.0.1", "digest": None}).digest == "sha256"
