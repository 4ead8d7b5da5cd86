"""What `doctor` calls the storages that it looked at."""

import pytest

from registry_audit.cli.doctor_command import _kind, _prefect
from registry_audit.verdict import ExitStatus


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


@pytest.mark.parametrize("url", ["http://a..b/api", "http://[broken/api", "nothing"])
def test_a_prefect_address_that_is_no_servers_is_a_finding(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    assert _prefect().status == ExitStatus.USAGE
