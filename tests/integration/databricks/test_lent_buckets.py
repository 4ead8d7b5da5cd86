"""Models in buckets that Unity Catalog lends credentials for, in every cloud, under the clouds' own host names."""

import json
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from support import damage
from support.auditing import Auditor
from support.clouds import S3Cloud
from support.databricks import StandIn
from support.lending import LENDERS, Lending
from support.outside import Sent
from support.registry import Registry
from support.s3 import S3Endpoint
from support.servers import MlflowServer

CLEAN, FINDINGS, INCOMPLETE = 0, 1, 3
URI = "databricks-uc://test_env"
NAME = "main.ml.wine"

dialects = pytest.mark.parametrize("native", [False, True], ids=["mlflow-dialect", "native-dialect"])
clouds = pytest.mark.parametrize("cloud", LENDERS)

# What the auditor has in its own environment, for other storage. None of it may be sent to a lent bucket.
AMBIENT = {
    "AWS_ACCESS_KEY_ID": "AKIAAMBIENT",
    "AWS_SECRET_ACCESS_KEY": "ambient-secret",
    "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "MLFLOW_S3_IGNORE_TLS": "true",
    "AZURE_STORAGE_ACCESS_KEY": "YW1iaWVudA==",
    "AZURE_STORAGE_SAS_TOKEN": "sig=ambient",
    "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
}


@pytest.fixture
def sound_and_damaged(test_env: StandIn, lending: Callable[[str], Lending]) -> Callable[[str], Lending]:
    def kept(cloud: str) -> Lending:
        lent = lending(cloud)
        lent.keep(test_env.register_in_catalog(NAME, seed=1))
        broken = test_env.register_in_catalog(NAME, seed=2)
        damage.flip_byte(broken.reg)
        lent.keep(broken)
        return lent

    return kept


@clouds
@dialects
def test_sound_and_damaged(
    sound_and_damaged: Callable[[str], Lending],
    audit: Auditor,
    monkeypatch: pytest.MonkeyPatch,
    cloud: str,
    native: bool,
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", str(native).lower())
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    lent = sound_and_damaged(cloud)
    audited = audit(URI)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert audited.exit_status == FINDINGS
    assert [difference["path"] for difference in audited.rows[1]["differences"]] == [damage.TOP_FILE]
    # One credential for each version, sent where it belongs and nowhere else, and shown nowhere.
    assert (len(lent.lent), lent.only_own_hosts()) == (2, True), (lent.world.hosts(), lent.world.unknown)
    sent = lent.world.everything()
    assert all(mark in sent for mark in lent.lent)
    for secret in (lent.service.token, "AMBIENT", "ambient", "127.0.0.1:1"):
        assert secret not in sent
    assert not any(mark in audited.everything for mark in lent.lent)
    assert not any(mark in json.dumps([asked.query for asked in lent.service.asked]) for mark in lent.lent)


def looks_at_bucket(sent: Sent) -> bool:
    """Google's SDK does, beside its first request and whenever it likes."""
    return re.fullmatch(r"/storage/v1/b/[^/?]*\?.*", sent.target) is not None


@clouds
def test_renewed_when_refused(
    sound_and_damaged: Callable[[str], Lending], audit: Auditor, monkeypatch: pytest.MonkeyPatch, cloud: str
) -> None:
    """The storage refuses, from its second request on, what was lent first: in the middle of both versions."""
    monkeypatch.setattr("registry_audit.stores.databricks._YOUNG_SECONDS", 0)
    lent = sound_and_damaged(cloud)
    seen = list[str]()

    def expire(sent: Sent) -> None:
        if looks_at_bucket(sent):
            return
        mark = next(mark for mark in lent.lent if mark in sent.text)
        if mark in seen and lent.lent.index(mark) < 2:
            lent.world.refused[mark] = {"s3": 400, "r2": 400, "azure": 403, "google": 401}[cloud]
        seen.append(mark)

    lent.world.on_sent = expire
    audited = audit(URI)
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert len(lent.world.refused) == 2
    assert 4 <= len(lent.lent) <= 6
    listings = [sent for sent in lent.world.sent if "prefix=" in sent.target]
    assert len(listings) == 2, "a version was begun anew, and not only what was refused"
    assert lent.only_own_hosts()


def test_refused_for_good(sound_and_damaged: Callable[[str], Lending], audit: Auditor) -> None:
    """A bucket that refuses what was lent a moment ago is not asked again and again, and is no finding."""
    lent = sound_and_damaged("s3")
    lent.world.refused["session-"] = 403
    audited = audit(URI)
    assert (audited.exit_status, {row["verdict"] for row in audited.rows}) == (INCOMPLETE, {"unverifiable"})
    twice_a_version = len(audited.rows) * 2  # before it is said that nothing can be read, all is asked for once more
    assert len(lent.lent) == len([sent for sent in lent.world.sent if sent.method == "GET"]) == twice_a_version
    assert "RA003" not in audited.rules


def test_renewed_before_the_end(
    sound_and_damaged: Callable[[str], Lending], audit: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour passes with the first listing; from then on nothing that was lent before is used."""
    lent = sound_and_damaged("s3")
    real, hours = lent.now, list[Sent]()
    lent.now = lambda: real() + 3_600 * len(hours[:1])
    monkeypatch.setattr("registry_audit.stores.databricks.time", SimpleNamespace(time=lambda: lent.now()))
    lent.world.on_sent = hours.append
    audited = audit(URI, "--workers", "1")
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    used = [mark for sent in hours[1:] for mark in lent.lent if mark in sent.text]
    assert lent.lent[0] not in used
    assert len(lent.lent) == 3  # one of them for the second version


def test_open_source_with_s3_of_its_own(
    open_catalog: StandIn,
    mlflow_local: MlflowServer,
    audit: Auditor,
    s3_endpoint: S3Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The open-source server may keep models in any S3, which the environment says where it is, as MLflow has it."""
    cloud = S3Cloud(s3_endpoint)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3_endpoint.url)
    open_catalog.lend = lambda: {"aws_temp_credentials": {"access_key_id": "k", "secret_access_key": "s"}}
    for seed in (1, 2):
        logged = Registry(mlflow_local).log_run_model(seed=seed)
        open_catalog.register_in_catalog(NAME, seed=seed)
        location = {"storage_location": cloud.uri(f"unity/{seed}")}
        open_catalog.catalog[NAME][-1] |= {"run_id": logged.run_id, "source": logged.source, **location}
        for path, content in mlflow_local.artifacts.files(logged.location).items():
            broken = b"x" if seed == 2 and path == damage.TOP_FILE else b""
            cloud.put(f"unity/{seed}/{path}", content[: len(content) - len(broken)] + broken)
    audited = audit(mlflow_local.uri, "--registry-uri", f"uc:{open_catalog.url}")
    assert [row["verdict"] for row in audited.rows] == ["match", "mismatch"], audited.everything
    assert [difference["path"] for difference in audited.rows[1]["differences"]] == [damage.TOP_FILE]


@pytest.mark.parametrize(
    ("location", "lent"),
    [
        ("abfss://c@a.dfs.core.windows.net/m/1", {"gcp_oauth_token": {"oauth_token": "secret"}}),
        ("abfss://c@evil.example.com/m/1", {"azure_user_delegation_sas": {"sas_token": "sig=secret"}}),
        ("gs://managed/m/1", {"gcp_oauth_token": {"oauth_token": ""}}),
        ("gs://managed/m/1", {"gcp_oauth_token": "secret"}),
        ("r2://b@evil.example.com/m/1", {"r2_temp_credentials": {"access_key_id": "k", "secret_access_key": "secret"}}),
        ("https://evil.example.com/m/1", {"aws_temp_credentials": {"access_key_id": "k", "secret_access_key": "s"}}),
        ("hdfs://evil.example.com/m/1", {"aws_temp_credentials": {"access_key_id": "k", "secret_access_key": "s"}}),
        ("s3://managed/m/1", {}),
        ("s3://managed/m/1", {"aws_temp_credentials": {"access_key_id": "k"}}),
    ],
)
def test_what_cannot_be_used_is_said(
    test_env: StandIn,
    audit: Auditor,
    lending: Callable[[str], Lending],
    location: str,
    lent: dict[str, object],
) -> None:
    world = lending("s3").world
    test_env.lend = lambda: lent
    test_env.register_in_catalog(NAME, seed=1)
    test_env.catalog[NAME][0]["storage_location"] = location
    audited = audit(URI)
    assert (audited.exit_status, audited.row["verdict"]) == (INCOMPLETE, "unverifiable")
    assert "secret" not in audited.everything
    assert (world.sent, world.unknown) == ([], [])
