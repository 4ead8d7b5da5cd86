"""The demo's overwrite: what MLflow lets anyone do to a registered model, and no timestamp shows."""

import tempfile
from pathlib import Path

OVERWRITTEN = ("Churn", "1")  # name and version; healthy and accepted in the first act


def overwrite_accepted_model(tracking_uri: str) -> None:
    """Log another `model.pkl` over the one that was registered, as any run's author can."""
    from mlflow import MlflowClient

    from registry_audit.registry.connection import calm_mlflow

    calm_mlflow()
    client = MlflowClient(tracking_uri, tracking_uri)
    version = client.get_model_version(*OVERWRITTEN)
    before = version.last_updated_timestamp
    with tempfile.TemporaryDirectory() as scratch:
        other = Path(scratch) / "model.pkl"
        other.write_bytes(b"not the model that was reviewed" * 40)
        client.log_artifact(version.run_id, str(other), "model")
    if client.get_model_version(*OVERWRITTEN).last_updated_timestamp != before:
        raise AssertionError("MLflow noticed the overwrite: the demo no longer shows what it says")
