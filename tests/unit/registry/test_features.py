"""An MLflow that lacks something is asked for it by feature, and says what to install."""

import sys

import pytest
from mlflow import environment_variables

from registry_audit.errors import UsageError
from registry_audit.registry import features


@pytest.mark.skipif(
    not hasattr(environment_variables, "MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY"), reason="this MLflow is an older one"
)
def test_this_mlflow_has_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", "true")
    monkeypatch.setenv("MLFLOW_S3_EXPECTED_BUCKET_OWNER", "123")
    assert features.asks_unity_catalog_natively()
    assert features.expected_bucket_owner() == "123"
    assert features.webhook_types().ModelVersionCreatedPayload


def test_an_older_one_has_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", "MLFLOW_S3_EXPECTED_BUCKET_OWNER"):
        monkeypatch.delattr(environment_variables, name, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow.webhooks", None)
    assert not features.asks_unity_catalog_natively()
    assert features.expected_bucket_owner() is None
    with pytest.raises(UsageError, match=r"knows no webhooks: pip install 'mlflow>=3\.3'"):
        features.webhook_types()
