"""Models in a bucket that Unity Catalog lends credentials for."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import damage
from support.auditing import Auditor
from support.databricks import StandIn, Version
from support.s3 import S3Endpoint

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
URI = "databricks-uc://test_env"
NAME = "main.ml.wine"

dialects = pytest.mark.parametrize("native", [False, True], ids=["mlflow-dialect", "native-dialect"])


def _put(endpoint: S3Endpoint, service: StandIn, version: Version) -> None:
    """What the version's directory holds, into the bucket that Unity Catalog names."""
    parts = urlsplit(service.catalog[version.name][int(version.version) - 1]["storage_location"])
    client = endpoint.client()
    if parts.netloc not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=parts.netloc)
    for file in version.reg.rglob("*"):
        if file.is_file():
            key = f"{parts.path.strip('/')}/{file.relative_to(version.reg).as_posix()}"
            client.upload_file(str(file), parts.netloc, key)


@dialects
def test_s3(
    test_env: StandIn,
    audit: Auditor,
    s3_endpoint: S3Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    native: bool,
) -> None:
    """With the credentials that are lent, though the environment holds none."""
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", str(native).lower())
    environment = s3_endpoint.environment
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", environment["MLFLOW_S3_ENDPOINT_URL"])
    test_env.faults.models_through_files = False
    test_env.lent = {
        "aws_temp_credentials": {
            "access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            "session_token": "lent",
        }
    }
    name = f"main.ml.wine_{int(native)}"
    _put(s3_endpoint, test_env, test_env.register_in_catalog(name, seed=1))
    broken = test_env.register_in_catalog(name, seed=2)
    damage.flip_byte(broken.reg)
    _put(s3_endpoint, test_env, broken)
    audited = audit(URI)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert audited.exit_status == FINDINGS
    assert environment["AWS_SECRET_ACCESS_KEY"] not in audited.everything


@pytest.mark.parametrize(
    ("location", "lent"),
    [
        ("abfss://c@a.dfs.core.windows.net/m/1", {"azure_user_delegation_sas": {"sas_token": "sig=secret"}}),
        ("gs://managed/m/1", {"gcp_oauth_token": {"oauth_token": "secret"}}),
        ("r2://b@evil.example.com/m/1", {"r2_temp_credentials": {"access_key_id": "k", "secret_access_key": "secret"}}),
        ("s3://managed/m/1", {}),
    ],
)
def test_what_cannot_be_used_is_said(test_env: StandIn, audit: Auditor, location: str, lent: dict[str, object]) -> None:
    test_env.faults.models_through_files = False
    test_env.lent = lent
    test_env.register_in_catalog(NAME, seed=1)
    test_env.catalog[NAME][0]["storage_location"] = location
    audited = audit(URI)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert "secret" not in audited.everything
