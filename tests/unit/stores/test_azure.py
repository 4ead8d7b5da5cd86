"""Whose blobs the environment leads to: those of the account that a location names, or none."""

from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest
from support.loopback import HttpServer, Quiet, serving

from registry_audit.errors import UsageError
from registry_audit.stores.azure import AzureAccess, azure_environment

HOST, SAS = "wines.core.windows.net", "SharedAccessSignature=sv=2022&sig=x"
OWN = "https://wines.blob.core.windows.net"


@pytest.fixture(autouse=True)
def installed() -> None:
    pytest.importorskip("azure.storage.blob")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"AccountName=wines;{SAS}", OWN),
        (f"AccountName=Wines;{SAS}", OWN),
        (f"BlobEndpoint=https://Wines.blob.core.windows.net;{SAS}", None),
        ("DefaultEndpointsProtocol=https;AccountName=wines;AccountKey=a2V5;EndpointSuffix=core.windows.net", OWN),
        (f"BlobEndpoint={OWN}/;{SAS}", OWN),
        (f"BlobEndpoint=https://wines-secondary.blob.core.windows.net;{SAS}", None),
        (f"BlobEndpoint=https://wines.z01.blob.storage.azure.net;{SAS}", None),
        (f"BlobEndpoint=http://127.0.0.1:10000/wines;{SAS}", None),
        (f"BlobEndpoint=https://blobs.example.com;AccountName=wines;{SAS}", None),
    ],
)
def test_a_connection_string_for_the_account_of_the_location(
    text: str, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    access = azure_environment(HOST)
    assert access.account == "wines"
    assert access.url == url or (url is None and access.url in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"AccountName=beers;{SAS}", "for the account beers, not for wines"),
        (f"BlobEndpoint=https://beers.blob.core.windows.net/;{SAS}", "for the account beers, not for wines"),
        (f"BlobEndpoint=http://127.0.0.1:10000/beers;{SAS}", "for the account beers, not for wines"),
        (f"BlobEndpoint=https://blobs.example.com;{SAS}", "add AccountName=NAME"),
        (SAS, "add AccountName=NAME"),
        (f"AccountName=;{SAS}", "add AccountName=NAME"),
        (f"BlobEndpoint=wines;{SAS}", "must be a URL"),
    ],
)
def test_a_connection_string_for_another_account_or_nobody_knows_which(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would read the location of one account in another one."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with pytest.raises(UsageError, match=message):
        azure_environment(HOST)


def test_an_account_in_a_dns_zone_is_asked_in_that_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", "a2V5")
    access = azure_environment("wines.z13.storage.azure.net")
    assert (access.url, access.account) == ("https://wines.z13.blob.storage.azure.net", "wines")
    assert azure_environment(HOST).url == OWN


@pytest.mark.parametrize("secret", ["AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN"])
@pytest.mark.parametrize("says", ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"])
def test_a_key_is_for_the_account_that_the_environment_names(
    secret: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(secret, "a2V5")
    assert azure_environment(HOST).account == "wines"
    monkeypatch.setenv(says, "wines")
    assert azure_environment(HOST).account == "wines"
    with pytest.raises(UsageError, match=f"{secret} is for the account wines .*, not for beers"):
        azure_environment("beers.core.windows.net")


class DataLake(Quiet, BaseHTTPRequestHandler):
    """A container with a directory called MLmodel, which Data Lake lists as an empty blob."""

    def do_GET(self) -> None:
        is_asked = parse_qs(urlsplit(self.path).query).get("include") == ["metadata"]
        metadata = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>" if is_asked else ""
        properties = "<Content-Length>0</Content-Length><Etag>e</Etag><BlobType>BlockBlob</BlobType>"
        blob = f"<Blob><Name>wine/MLmodel</Name><Properties>{properties}</Properties>{metadata}</Blob>"
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        listing = f"<EnumerationResults><Blobs>{blob}</Blobs><NextMarker/></EnumerationResults>"
        self.wfile.write(listing.encode())


@pytest.mark.parametrize("directly", [False, True])
def test_a_directory_of_data_lake_is_no_empty_file(directly: bool) -> None:
    server = HttpServer(("127.0.0.1", 0), DataLake)
    with serving(server):
        access = AzureAccess(f"http://127.0.0.1:{server.server_port}/wines", "wines", sas_token="sig=x")
        page = access.bucket("models").page("wine/", None, directly=directly)
    assert [(entry.key, entry.is_directory) for entry in page.entries] == [("wine/MLmodel", True)]
