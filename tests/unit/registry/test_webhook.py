"""Webhooks need an MLflow that has them, and each starts an audit of one version."""

import sys
from glob import escape

import pytest

from registry_audit.audit.options import ModelChoice
from registry_audit.errors import UsageError
from registry_audit.registry.webhook import Registration, webhook_types


def test_this_mlflow_has_webhooks() -> None:
    pytest.importorskip("mlflow.webhooks")
    assert webhook_types().ModelVersionCreatedPayload


def test_an_older_one_has_none_and_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.webhooks", None)
    with pytest.raises(UsageError, match=r"knows no webhooks: pip install 'mlflow>=3\.3'"):
        webhook_types()


@pytest.mark.parametrize(
    "name", ["plain", "a[1]", "[a]*? 'quoted' \"twice\"\\", "a[[]1]", "*", "?", "[!a]", "]", "a[/-.]"]
)
def test_an_audit_on_registration_selects_the_registered_model_and_no_other(name: str) -> None:
    (text,) = Registration(name, "1", None).audit_parameters()["models"]
    others = {escape(name), escape(escape(name)), "a1", "a/1]", "a", "b", "/", ".", "-", "!", "", name + "x"} - {name}
    there = ModelChoice([text], others | {name})
    assert [other for other in (*others, name) if other in there] == [name]
    gone = ModelChoice([text], others)
    assert [other for other in others if other in gone] == []
    assert gone.without_any(others) == (text,), "the audit says that it selects nothing, and is incomplete"


def test_an_audit_on_registration_names_a_plain_model_as_it_is() -> None:
    parameters = Registration("Wine 2.0", "7", None).audit_parameters()
    assert parameters == {"models": ["Wine 2.0"], "filter": "name = 'Wine 2.0' AND version_number = 7"}
