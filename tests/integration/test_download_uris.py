"""The download URI over HTTP: the one that MLflow's client gives, or what that client finds wrong."""

from collections.abc import Iterator
from typing import Any

import pytest
from support import faults
from support.faulty_proxy import FaultyProxy
from support.registry import Registered, Registry
from support.servers import MlflowServer

from registry_audit.errors import CouldNotVerify, NotFound, Transient
from registry_audit.net.rest import Denied, NoSuchRoute
from registry_audit.registry.connection import Connection, Server, connect
from registry_audit.registry.queries import DownloadUris
from registry_audit.registry.translate import translated

ROUTE = "/get-download-uri"


@pytest.fixture(scope="module")
def registered(mlflow_a: MlflowServer) -> Registered:
    return Registry(mlflow_a).add(separate=True)


@pytest.fixture
def connection(proxy_a: FaultyProxy) -> Iterator[Connection]:
    connection = connect(Server(proxy_a.uri))
    yield connection
    connection.transfers.stop()


@pytest.mark.parametrize("name", ["plain", "a b+c", "50% & more = ?#", "ü'\"ß", "a\\b;c,d", " edges "])
def test_it_is_the_clients_own(
    mlflow_a: MlflowServer, connection: Connection, proxy_a: FaultyProxy, registered: Registered, name: str
) -> None:
    name += Registry.new_name()
    client = Registry(mlflow_a).client
    client.create_registered_model(name)
    version = str(client.create_model_version(name, registered.run_location, registered.run_id).version)
    expected = connection.registry.get_model_version_download_uri(name, version)
    assert expected
    proxy_a.clear()
    uris = DownloadUris(connection)
    assert [uris.get(name, version) for _ in range(2)] == [expected] * 2
    assert len(proxy_a.requests) == 2


@pytest.mark.parametrize("body", ['{"artifact_uri": 3}', '{"artifact_uri": "\\ud800"}'])
def test_what_is_no_uri_is_none(
    connection: Connection, proxy_a: FaultyProxy, registered: Registered, body: str
) -> None:
    proxy_a.fault(faults.empty_listing(body), path=ROUTE, times=1)
    with pytest.raises(CouldNotVerify):
        DownloadUris(connection).get(registered.name, registered.version)


@pytest.mark.parametrize("body", ["", "[]", "null", "[" * 9_999])
def test_what_is_no_answer_is_asked_for_again(
    connection: Connection, proxy_a: FaultyProxy, registered: Registered, body: str
) -> None:
    rule = proxy_a.fault(faults.empty_listing(body), path=ROUTE, times=1)
    assert DownloadUris(connection).get(registered.name, registered.version) == registered.reg_location
    assert rule.hits == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncated("original"),
        faults.truncated("corrected"),
        faults.truncated("chunked-unfinished"),
        faults.login_page(),
    ],
    ids=["cut", "cut-corrected", "cut-chunked", "login"],
)
def test_a_fault_that_passes(connection: Connection, proxy_a: FaultyProxy, registered: Registered, fault: Any) -> None:
    rule = proxy_a.fault(fault, path=ROUTE, times=1)
    assert DownloadUris(connection).get(registered.name, registered.version) == registered.reg_location
    assert rule.hits == 1


def test_a_version_that_is_gone(connection: Connection, registered: Registered) -> None:
    with pytest.raises(NotFound):
        DownloadUris(connection).get(registered.name, "999")


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_server_in_trouble_is_not_asked_twice_as_often(
    connection: Connection, proxy_a: FaultyProxy, registered: Registered, code: int
) -> None:
    refused = proxy_a.fault(faults.status(code), path=ROUTE)
    with pytest.raises(Transient):
        DownloadUris(connection).get(registered.name, registered.version)
    tries, refused.hits = refused.hits, 0
    with pytest.raises(Transient), translated("ask"):
        connection.registry.get_model_version_download_uri(registered.name, registered.version)
    assert tries == refused.hits


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.status(404), NoSuchRoute),  # of whatever stands between: nobody's word that the version is gone
        (faults.mlflow_error(404, "RESOURCE_DOES_NOT_EXIST"), NotFound),
        (faults.mlflow_error(403, "PERMISSION_DENIED"), Denied),
    ],
    ids=["page", "gone", "denied"],
)
def test_what_the_client_finds_wrong(
    connection: Connection, proxy_a: FaultyProxy, registered: Registered, fault: Any, error: type[Exception]
) -> None:
    proxy_a.fault(fault, path=ROUTE)
    with pytest.raises(error) as raised:
        DownloadUris(connection).get(registered.name, registered.version)
    assert type(raised.value) is error


def test_a_database_is_asked_by_its_own_client(mlflow_a: MlflowServer, registered: Registered) -> None:
    connection = connect(Server(mlflow_a.db_uri))
    assert DownloadUris(connection).get(registered.name, registered.version) == registered.reg_location
