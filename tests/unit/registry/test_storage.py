"""Which locations are one storage. Wrongly one: the second copy would never be read. Wrongly two: a copy of itself."""

import os
from pathlib import Path
from urllib.request import url2pathname

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.address import is_one_on_every_python, local_path
from registry_audit.registry.storage import (
    NotOnThisMachine,
    StorageIdentity,
    Surroundings,
    comparable,
    is_sent_elsewhere,
    may_be_one,
    storage_identity,
)

SERVER = Surroundings("http://alice:secret@tracking.example:5000")
AZURE = "account.blob.core.windows.net"


def at(uri: str, around: Surroundings = SERVER) -> StorageIdentity:
    return storage_identity(uri, around)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/srv/models/1", "/srv/models/1"),
        ("/srv/models/1/", "/srv/models/1"),
        ("/srv/a:b/c", "/srv/a:b/c"),
        ("/srv/we ird", "/srv/we ird"),
        ("/srv/we%20ird", "/srv/we ird"),
        ("file:///srv/models/1", "/srv/models/1"),
        ("file:/srv/models/1", "/srv/models/1"),
        ("file://localhost/srv/models", "/srv/models"),
        ("file:///srv/we%20ird", "/srv/we ird"),
    ],
)
def test_a_path_of_this_machine(uri: str, path: str) -> None:
    assert at(uri) == StorageIdentity.of_directory(path)


@pytest.mark.parametrize(
    "uri",
    [
        "relative/model",
        "./mlruns/1/r/artifacts/model",
        "../model",
        "dir/a:b",
        "file:relative",
        "FILE:///srv/models",
        "C:/models/1",
        "c:\\models\\1",
        "file:///C:/models/1",
        "\\\\host\\share\\model",
        "//host/share/model",
        "file:////host/share/model",
        "file://otherhost/srv/models",
        "~/models/1",
    ],
)
def test_a_path_that_names_nothing_on_this_machine_is_never_looked_for_here(uri: str) -> None:
    with pytest.raises(NotOnThisMachine):
        at(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/srv/model?x",
        "/srv/model#1",
        "/srv/pct%2541",
        "/srv/nul%00",
        "/srv/line\nbreak",
        " /srv/model",
        "s3://bucket/a//m",
        "s3://bucket/m//",
        "s3://bucket//",
        "s3://bucket/a/../m",
        "s3:///m",
        "s3://user@bucket/m",
        "s3://[bucket/m",
        "http://host/elsewhere",
        "http://host/x/mlflow-artifacts/artifacts/m",
        "http://host/api/2.0/mlflow-artifacts/artifactsX/m",
        "http://host/api/2.0/mlflow-artifacts/artifacts/a//m",
        "http://host/api/2.0/mlflow-artifacts/artifacts/m?x=1",
        "mlflow-artifacts:/1/../m",
        "mlflow-artifacts://5000/m",
    ],
)
def test_what_mlflow_reads_in_two_ways_or_in_none_has_no_storage(uri: str) -> None:
    with pytest.raises(CouldNotVerify):
        at(uri)


PROXIED = StorageIdentity("mlflow-artifacts", "http://tracking.example:5000", "", "1/x")


@pytest.mark.parametrize(
    ("uri", "identity"),
    [
        ("mlflow-artifacts:/1/x", PROXIED),
        ("mlflow-artifacts:///1/x/", PROXIED),
        ("mlflow-artifacts:1/x", PROXIED),
        ("mlflow-artifacts:/1//x", PROXIED),
        ("mlflow-artifacts://tracking.example:5000/1/x/", PROXIED),
        ("http://bob:pw@Tracking.example:5000/api/2.0/mlflow-artifacts/artifacts/1/x", PROXIED),
        ("mlflow-artifacts://other/1/x", StorageIdentity("mlflow-artifacts", "http://other", "", "1/x")),
        (
            "https://host:443/team-a/api/2.0/mlflow-artifacts/artifacts/1/x",
            StorageIdentity("mlflow-artifacts", "https://host/team-a", "", "1/x"),
        ),
        ("s3://bucket/1/x", StorageIdentity("s3", "", "bucket", "1/x")),
        ("s3://bucket/1/x/", StorageIdentity("s3", "", "bucket", "1/x")),
        ("S3://bucket/1/x?y#z", StorageIdentity("s3", "", "bucket", "1/x")),
        ("s3a://Bucket/1/x", StorageIdentity("s3a", "Bucket", "", "1/x")),  # MLflow has no way to read it
        ("s3://bucket//1/x", StorageIdentity("s3", "", "bucket", "/1/x")),
        ("s3://bucket/1//2/x", StorageIdentity("s3", "", "bucket", "1//2/x")),
        ("s3://bucket/%41", StorageIdentity("s3", "", "bucket", "%41")),
        ("gs://bucket/1/x", StorageIdentity("gs", "", "bucket", "1/x")),
        (f"wasbs://c@{AZURE}/1/x", StorageIdentity("azure", "account.core.windows.net", "c", "1/x")),
        (
            "abfss://c@account.dfs.core.windows.net/1/x",
            StorageIdentity("azure", "account.core.windows.net", "c", "1/x"),
        ),
        (
            "abfss://c@account.privatelink.dfs.core.windows.net/1/x",
            StorageIdentity("azure", "account.core.windows.net", "c", "1/x"),
        ),
        (
            "abfss://c@account.z13.dfs.storage.azure.net/1/x",
            StorageIdentity("azure", "account.z13.storage.azure.net", "c", "1/x"),
        ),
        (
            "b2://bucket@s3.us-west-004.backblazeb2.com/1/x?y#z",
            StorageIdentity("b2", "s3.us-west-004.backblazeb2.com", "bucket", "1/x"),
        ),
        ("ftp://user:pw@Host/x?version=2", StorageIdentity("ftp", "host", "user", "x", "?version=2#")),
    ],
)
def test_the_identity_of_a_remote_storage(uri: str, identity: StorageIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert at(uri) == identity


STRANGERS = [
    f"wasbs://{AZURE}/m",
    "abfss://container@evil.example/m",
    "abfss://container@account.other.dfs.core.windows.net/m",
    "abfss://container@account.dfs.core.windows.net.evil.example/m",
    "r2://bucket@evil.example/m",
    "b2://bucket@evil.example/m",
    "b2://bucket@s3.us-west-004.backblazeb2.com.evil.example/m",
    "b2://s3.us-west-004.backblazeb2.com@bucket@evil.example/m",
]
KNOWN = [
    f"wasbs://c@{AZURE}/m",
    "abfss://c@account.dfs.core.windows.net/m",
    "r2://b@account.r2.cloudflarestorage.com/m",
    "b2://b@s3.us-west-004.backblazeb2.com/m",
]


@pytest.mark.parametrize(("uri", "expected"), [(uri, True) for uri in STRANGERS] + [(uri, False) for uri in KNOWN])
def test_cloud_credentials_go_to_the_clouds_own_hosts(uri: str, expected: bool) -> None:
    assert is_sent_elsewhere(at(uri)) is expected


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
    assert {at(uri) for uri in spellings} == {StorageIdentity.of_directory(tmp_path / "real" / "model")}


@pytest.mark.parametrize(("written", "beside"), [("we%20ird", "we%20ird"), (" m", "m"), ("A:m", "a:m")])
def test_a_neighbour_that_mlflow_takes_for_it_makes_it_ambiguous(tmp_path: Path, written: str, beside: str) -> None:
    uri = f"{tmp_path}/{written}"
    assert at(uri).path.startswith(str(tmp_path))
    (tmp_path / beside).mkdir()
    with pytest.raises(CouldNotVerify, match="in two ways"):
        at(uri)


def test_a_way_through_a_directory_that_is_not_there_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(CouldNotVerify, match="not there"):
        at(f"{tmp_path}/x/../m")
    (tmp_path / "x").mkdir()
    assert at(f"{tmp_path}/x/../m") == StorageIdentity.of_directory(tmp_path / "m")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("s3://bucket/1/x", "s3://bucket/1/y"),
        ("s3://bucket/1/x", "s3://other/1/x"),
        ("s3://bucket/1/x", "gs://bucket/1/x"),
        ("s3://bucket/X", "s3://bucket/x"),
        ("s3://bucket//x", "s3://bucket/x"),
        ("b2://Bucket/x", "b2://bucket/x"),
        ("s3://bucket/design=good/m", "s3://bucket/design=evil/m"),
        ("gs://bucket/token=1/m", "gs://bucket/token=2/m"),
        (f"wasbs://c@{AZURE}/assignment=1/m", f"wasbs://c@{AZURE}/assignment=2/m"),
        (f"wasbs://prod@{AZURE}/x", f"wasbs://scratch@{AZURE}/x"),
        ("sftp://one@host/m", "sftp://two@host/m"),
        ("ftp://host/m?token=1", "ftp://host/m?token=2"),
        ("mlflow-artifacts://a/1/x", "mlflow-artifacts://b/1/x"),
        ("mlflow-artifacts://a:1/x", "mlflow-artifacts://a:2/x"),
        ("dbfs://one@databricks/x", "dbfs://two@databricks/x"),
    ],
)
def test_different_places_have_different_identities_and_keys(one: str, two: str) -> None:
    around = Surroundings("http://host", databricks_host=lambda profile: f"https://{profile}")
    assert at(one, around) != at(two, around)
    assert at(one, around).key != at(two, around).key


def test_two_profiles_of_one_workspace_are_one_storage() -> None:
    around = Surroundings("databricks", databricks_host=lambda profile: "https://workspace")
    assert at("dbfs://one@databricks/x", around) == at("dbfs:/x", around)


def test_two_servers_behind_one_host_are_two_places() -> None:
    one, two = (at("mlflow-artifacts:/1/x", Surroundings(f"https://host/{team}")) for team in ("team-a", "team-b"))
    assert one != two


def test_a_workspace_is_a_place_of_its_own_and_its_name_before_the_path_changes_nothing() -> None:
    team = Surroundings("http://host", "team-a")
    assert at("mlflow-artifacts:/1/x", team) != at("mlflow-artifacts:/1/x", Surroundings("http://host"))
    assert at("mlflow-artifacts:/workspaces/team-a/1/x", team) == at("mlflow-artifacts:/1/x", team)


@pytest.mark.parametrize(
    ("variable", "uri"),
    [
        ("MLFLOW_S3_ENDPOINT_URL", "s3://bucket/x"),
        ("AWS_ENDPOINT_URL_S3", "s3://bucket/x"),
        ("STORAGE_EMULATOR_HOST", "gs://bucket/x"),
    ],
)
def test_the_endpoint_of_a_bucket_is_in_its_identity(variable: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_S3_ENDPOINT_URL", raising=False)
    monkeypatch.setenv(variable, "http://one")
    one = at(uri)
    monkeypatch.setenv(variable, "http://two")
    assert at(uri) != one


def test_behind_a_proxy_nothing_is_surely_elsewhere() -> None:
    uris = ("mlflow-artifacts://host/1/x", "mlflow-artifacts://alias/1/x", "s3://bucket/1/x", "/srv/1/x")
    proxied, other_name, bucket, local = map(at, uris)
    assert comparable(bucket, local)
    assert comparable(proxied, at("mlflow-artifacts://host/1/y"))
    assert not comparable(proxied, bucket)
    assert not comparable(local, proxied)
    assert not comparable(proxied, other_name)  # one server may have two names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://bucket/m", "s3://point-0123456789abcdef-s3alias/m"),
        ("s3://bucket/m", "s3a://bucket/m"),
        ("dbfs:/Volumes/a/b/c/m", "/Volumes/a/b/c/m"),
        ("dbfs:/mnt/lake/1/m", "s3://lake/1/m"),
        ("dbfs:/Volumes/main/ml/lake/1/m", "gs://lake/1/m"),
        ("dbfs:/mnt/lake/1/m", "abfss://lake@account.dfs.core.windows.net/1/m"),
        ("sftp://storage/srv/1/m", "/srv/1/m"),
        ("sftp://storage/srv/1/m", "sftp://10.0.0.7/srv/1/m"),
        ("hdfs://namenode/1/m", "hdfs://nameservice/1/m"),
    ],
)
def test_one_store_may_have_two_names(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        assert not comparable(at(first), at(second))
        assert may_be_one(at(first), at(second))


def test_a_bucket_may_be_read_by_two_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's storage, Cloudflare's and Backblaze's answer to S3's protocol, too."""
    spoken = "gs://bucket/m", "r2://bucket@0123.r2.cloudflarestorage.com/m", "b2://bucket@s3.eu-1.backblazeb2.com/m"
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    for variable in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(variable, raising=False)
    assert all(comparable(at("s3://bucket/m"), at(other)) for other in spoken)  # Amazon's own
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://storage.googleapis.com")
    assert not any(comparable(at("s3://bucket/m"), at(other)) for other in spoken)
    assert comparable(at("s3://other/m"), at("gs://bucket/m"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dbfs:/databricks/mlflow-tracking/1/m", "s3://lake/databricks/mlflow-tracking/1/m"),
        ("s3://bucket/1/m", "gs://bucket/1/m"),
        ("sftp://storage/srv/1/m", "sftp://storage/srv/2/m"),
        ("sftp://storage/srv/1/m", "s3://bucket/srv/1/m"),
    ],
)
def test_other_stores_are_two(one: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert comparable(at(one), at(other))
    assert comparable(at(other), at(one))


SECRETS = [
    "sftp://alice:hunter2@h/x",
    "b2://hunter2@h/x",
    "r2://hunter2:x@h/x",
    "ftp://h/x?token=hunter2",
    "http://a:hunter2@h/api/2.0/mlflow-artifacts/artifacts/x",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_no_credentials_in_what_is_shown_or_kept(uri: str) -> None:
    found = at(uri)
    assert "hunter2" not in found.shown + found.key


@given(st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text), st.sampled_from(["s3", "gs", "sftp"]))
def test_law_a_key_is_the_identity(path: str, scheme: str) -> None:
    """Two texts that share a key are read from one place: nothing of what selects it was dropped for the key."""
    one, two = StorageIdentity(scheme, "", "b", path), StorageIdentity(scheme, "", "b", path[::-1])
    assert (one.key == two.key) is (one == two)


@given(st.text(alphabet="ab%41/.#?;: é~", min_size=1, max_size=12))
def test_law_a_directory_is_the_one_that_mlflow_opens(text: str) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    uri = f"/no-such-root/{text}"
    try:
        found = at(uri)
    except CouldNotVerify:
        return
    assert found.path == os.path.realpath(LocalArtifactRepository(uri).artifact_dir)


MOUNTS = """22 1 254:0 / / rw - ext4 /dev/vda rw
31 22 0:27 / /mnt/share rw - nfs4 server:/x rw
32 22 0:28 / /mnt/lake rw - fuse.s3fs s3fs rw
33 22 0:29 / /mnt/again rw - fuse.rclone remote: rw
"""


@pytest.mark.parametrize(
    ("one", "other", "are_two", "may_be"),
    [
        ("/mnt/lake/1/m", "s3://lake/1/m", False, True),
        ("/mnt/lake/1/m", "gs://other/prefix/1/m", False, True),  # a part of a bucket may be mounted
        ("/mnt/lake/1/m", "s3://lake/2/m", True, False),
        ("/mnt/share/1/m", "abfss://c@account.dfs.core.windows.net/1/m", False, True),
        ("/mnt/lake/1/m", "/mnt/again/1/m", False, True),
        ("/mnt/lake/1/m", "/srv/data/1/m", False, True),
        ("/mnt/lake/1/m", "/mnt/lake/2/1/m", True, False),  # two directories of one mount
        ("/mnt/share/1/m", "/srv/1/m", True, False),  # one file has one inode in both: reading shows it
        ("/srv/1/m", "s3://lake/1/m", True, False),
    ],
)
def test_what_is_mounted_may_be_the_store_beside_it(
    one: str, other: str, are_two: bool, may_be: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_audit.registry.mounts._of_this_machine", lambda: MOUNTS)
    for first, second in ((at(one), at(other)), (at(other), at(one))):
        assert (comparable(first, second), may_be_one(first, second)) == (are_two, may_be)


@pytest.mark.parametrize(
    ("one", "other", "are_two"),
    [
        ("uc:http://127.0.0.1:8080", "uc:http://localhost:8080", False),
        ("databricks-uc://a.example/workspace/1", "databricks-uc://b.example/workspace/2", False),  # of one metastore
        ("databricks-uc://metastore/1", "databricks-uc://metastore/2", True),
        ("databricks://a.example/workspace/1", "databricks://b.example/workspace/2", True),
    ],
)
def test_a_registry_of_two_names_holds_one_copy_of_a_version(one: str, other: str, are_two: bool) -> None:
    first, second = (StorageIdentity("models", registry, "", "main.ml.wine/1") for registry in (one, other))
    assert comparable(first, second) is are_two
    assert may_be_one(first, second) is not are_two
    assert comparable(first, StorageIdentity("models", other, "", "main.ml.wine/2"))


@given(st.text("ab/%?#\t\n2fF\xe9", max_size=12))
def test_a_path_that_another_python_reads_otherwise_is_not_read(path: str) -> None:
    """From 3.14 on `url2pathname` cuts some of a path off, with which MLflow reads another directory."""
    written = f"/srv/{path}x/model"
    if "?" in path or "#" in path or "\t" in path or "\n" in path:
        with pytest.raises(CouldNotVerify):
            at(written)
    elif is_one_on_every_python(written):
        assert local_path(written) == url2pathname(written)
