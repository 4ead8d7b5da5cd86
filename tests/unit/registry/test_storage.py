"""Which spellings are one storage (docs/mlflow.md section 1). Wrongly one: the second copy would never be read."""

from pathlib import Path

import pytest

from registry_audit.registry.storage import comparable, local_path, storage_identity

SERVER = "http://alice:secret@tracking.example:5000"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/srv/models/1", "/srv/models/1"),
        ("relative/model", "relative/model"),
        ("/srv/a:b/c", "/srv/a:b/c"),
        ("dir/a:b", "dir/a:b"),
        ("/srv/we ird#1?x", "/srv/we ird#1?x"),
        ("file:///srv/models/1", "/srv/models/1"),
        ("file:/srv/models/1", "/srv/models/1"),
        ("file://localhost/srv/models", "/srv/models"),
        ("FILE:///srv/models", "/srv/models"),
        ("file:///srv/we%20ird%23", "/srv/we ird#"),
    ],
)
def test_what_is_a_path_of_this_machine(uri: str, path: str) -> None:
    assert local_path(uri) == Path(path)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/x",
        "mlflow-artifacts:/1/x",
        "mlflow-artifacts://host/1/x",
        "dbfs:/databricks/x",
        "http://host/x",
        "runs:/r1/model",
        "models:/Wine/1",
        "file://otherhost/srv/models",
    ],
)
def test_what_is_not(uri: str) -> None:
    assert local_path(uri) is None


@pytest.mark.parametrize(
    ("uri", "identity"),
    [
        ("mlflow-artifacts:/1/x", "mlflow-artifacts://tracking.example:5000//1/x"),
        ("mlflow-artifacts:///1/x", "mlflow-artifacts://tracking.example:5000//1/x"),
        ("mlflow-artifacts://tracking.example:5000/1/x/", "mlflow-artifacts://tracking.example:5000//1/x"),
        ("mlflow-artifacts://other/1/x", "mlflow-artifacts://other//1/x"),
        (
            "http://bob:pw@Tracking.example:5000/api/2.0/mlflow-artifacts/artifacts/1/x",
            "mlflow-artifacts://tracking.example:5000//1/x",
        ),
        (
            "https://host/team-a/api/2.0/mlflow-artifacts/artifacts/1/x",
            "mlflow-artifacts://host/team-a//1/x",
        ),
        ("s3://bucket/1/x", "s3://bucket/1/x"),
        ("s3://bucket/1/x/", "s3://bucket/1/x"),
        ("s3a://bucket/1/x", "s3://bucket/1/x"),
        ("s3n://bucket/1/x", "s3://bucket/1/x"),
        ("gs://bucket/1/x", "gs://bucket/1/x"),
        ("https://user:pw@host/elsewhere", "https://host/elsewhere"),
        ("dbfs:/databricks/mlflow/x", "dbfs:///databricks/mlflow/x"),
        ("dbfs://profile@databricks/x", "dbfs://profile@databricks/x"),
        ("ftp://host/x?version=2", "ftp://host/x?version=2"),
    ],
)
def test_the_identity_of_a_remote_storage(uri: str, identity: str) -> None:
    assert storage_identity(uri, SERVER) == identity


def test_a_local_identity_follows_symlinks(tmp_path: Path) -> None:
    (tmp_path / "real" / "model").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    spellings = [
        f"{tmp_path}/real/model",
        f"{tmp_path}/real//model/",
        f"{tmp_path}/real/../real/model",
        f"{tmp_path}/link/model",
        f"file://{tmp_path}/link/model",
    ]
    assert {storage_identity(uri, SERVER) for uri in spellings} == {f"file:{tmp_path.resolve()}/real/model"}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("s3://bucket/1/x", "s3://bucket/1/y"),
        ("s3://bucket/1/x", "s3://other/1/x"),
        ("s3://bucket/1/x", "gs://bucket/1/x"),
        ("s3://bucket/X", "s3://bucket/x"),
        ("mlflow-artifacts://a/1/x", "mlflow-artifacts://b/1/x"),
        ("mlflow-artifacts://a:1/x", "mlflow-artifacts://a:2/x"),
        ("dbfs://one@databricks/x", "dbfs://two@databricks/x"),
        ("models:/Wine/1", "models:/Wine/2"),
    ],
)
def test_different_places_have_different_identities(one: str, two: str) -> None:
    assert storage_identity(one, SERVER) != storage_identity(two, SERVER)


@pytest.mark.parametrize("scheme", ["wasbs", "abfss"])
def test_two_containers_of_one_azure_account_are_two_places(scheme: str) -> None:
    one, two = (f"{scheme}://{container}@account.example/1/x" for container in ("prod", "scratch"))
    assert storage_identity(one, SERVER) != storage_identity(two, SERVER)


@pytest.mark.parametrize("other", ["s3://bucket/1//x", "s3://bucket/2/../1/x", "s3://bucket/1/./x"])
def test_keys_of_a_bucket_are_literal(other: str) -> None:
    assert storage_identity("s3://bucket/1/x", SERVER) != storage_identity(other, SERVER)


def test_two_servers_behind_one_host_are_two_places() -> None:
    one, two = (storage_identity("mlflow-artifacts:/1/x", f"https://host/{team}") for team in ("team-a", "team-b"))
    assert one != two


def test_behind_a_proxy_nothing_is_surely_elsewhere() -> None:
    uris = ("mlflow-artifacts://host/1/x", "mlflow-artifacts://alias/1/x", "s3://bucket/1/x", "/srv/1/x")
    proxied, other_name, bucket, local = (storage_identity(uri, SERVER) for uri in uris)
    assert comparable(bucket, local)
    assert comparable(proxied, storage_identity("mlflow-artifacts://host/1/y", SERVER))
    assert not comparable(proxied, bucket)
    assert not comparable(local, proxied)
    assert not comparable(proxied, other_name)  # one server may have two names


def test_no_credentials_in_an_identity() -> None:
    for uri in (
        "mlflow-artifacts:/x",
        "http://alice:secret@h/api/2.0/mlflow-artifacts/artifacts/x",
        "ftp://a:secret@h/x",
    ):
        assert "secret" not in storage_identity(uri, SERVER)


@pytest.mark.parametrize("uri", ["/srv/models/1", "file:///srv/we%20ird", "/srv/we ird#1", "/srv/a:b"])
def test_mlflow_means_the_same_directory(uri: str) -> None:
    assert local_path(uri) == mlflow_path(uri)


def test_mlflow_means_the_same_directory_where_a_plain_path_has_a_percent_sign() -> None:
    assert mlflow_path("/srv/p%41q") == Path("/srv/pAq")
    assert local_path("/srv/p%41q") == mlflow_path("/srv/p%41q")


def mlflow_path(uri: str) -> Path:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return Path(LocalArtifactRepository(uri).artifact_dir)
