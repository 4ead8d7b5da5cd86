"""What `doctor` calls the storages that it looked at."""

import pytest

from registry_audit.cli.doctor_command import _kind


@pytest.mark.parametrize(
    ("root", "kind"),
    [
        ("mlflow-artifacts:/1/models/m-1/artifacts", "mlflow-artifacts:"),
        ("mlflow-artifacts:/2/run/artifacts/model", "mlflow-artifacts:"),
        ("mlflow-artifacts://other:5000/1/run/artifacts", "mlflow-artifacts://other:5000"),
        ("s3://models/1/run/artifacts", "s3://models"),
        ("/srv/artifacts/1", "a directory"),
        ("dbfs:/databricks/mlflow", "dbfs:"),
    ],
)
def test_a_store_is_named_by_its_host_and_not_by_an_experiment(root: str, kind: str) -> None:
    assert _kind((root,)) == kind
