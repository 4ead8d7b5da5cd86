"""Webhooks need an MLflow that has them."""

import sys

import pytest

from registry_audit.errors import UsageError
from registry_audit.registry.webhook import webhook_types


def test_this_mlflow_has_webhooks() -> None:
    pytest.importorskip("mlflow.webhooks")
    assert webhook_types().ModelVersionCreatedPayload


def test_an_older_one_has_none_and_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.webhooks", None)
    with pytest.raises(UsageError, match=r"knows no webhooks: pip install 'mlflow>=3\.3'"):
        webhook_types()
