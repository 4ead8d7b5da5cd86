import pytest

from registry_audit.redact import holds_credentials, redact, redact_endpoint, redact_location


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://alice:s3cret@host:5000/x", "http://***@host:5000/x"),
        ("https://tok3n@host", "https://***@host"),
        ("postgresql://u:p%40ss@db/mlflow and http://a:b@c", "postgresql://***@db/mlflow and http://***@c"),
        ("http://:pw@host", "http://***@host"),
        ("https://TOKEN:@host", "https://***@host"),
        ("http://u:it's@b:d@host/x", "http://***@host/x"),
        ("mssql:///?odbc_connect=DRIVER%3DX%3BPWD%3Dsecret", "mssql:///?odbc_connect=***"),
        ("https://b.blob/x?sig=abc&se=1", "https://b.blob/x?sig=***&se=1"),
        ("s3://b/k?X-Amz-Signature=00ff&X-Amz-Credential=AK", "s3://b/k?X-Amz-Signature=***&X-Amz-Credential=***"),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer ***"),
        ("could not ask: Invalid header value b'Bearer s3cr3t!t$k\\n'", "could not ask: Invalid header value ***"),
        ("return character(s) in header value: 'TOKEN\n'", "return character(s) in header value ***"),
        ("Failed to parse: 'u:s3cr3t' is not a valid host or port", "Failed to parse: ***"),
        ("(Port could not be cast to integer value as 's3cr3t')", "(Port could not be cast to integer value as ***"),
        ("s3://bucket/an invalid header value/m", "s3://bucket/an invalid header value/m"),
        ("s3://bucket/design=good/m and design=evil", "s3://bucket/design=good/m and design=evil"),
        ("dbfs://profile@databricks/x", "dbfs://profile@databricks/x"),
        ("postgresql+psycopg2://audit@db/ledger", "postgresql+psycopg2://***@db/ledger"),
        ("mail someone@example.org about s3://bucket/model@2", "mail someone@example.org about s3://bucket/model@2"),
    ],
)
def test_credentials_go_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/srv/models/1", "/srv/models/1"),
        ("C:/models@2/1", "C:/models@2/1"),
        ("s3://bucket/model@2/design=good", "s3://bucket/model@2/design=good"),
        ("models:/Wine@champion", "models:/Wine@champion"),
        ("runs:/0123/model", "runs:/0123/model"),
        ("http://host:5000/m@1", "http://host:5000/m@1"),
        ("wasbs://container@account.blob.core.windows.net/m", "wasbs://container@account.blob.core.windows.net/m"),
        ("dbfs://profile@databricks/m", "dbfs://profile@databricks/m"),
        ("sftp://alice:p w/d'@host/m", "sftp://***@host/m"),
        ("sftp://TOKEN:@host/m", "sftp://***@host/m"),
        ("wasbs://container:TOKEN@account/m", "wasbs://***@account/m"),
        ("https://account.blob/c?sv=1&anything=TOKEN", "https://account.blob/c?***"),
        ("s3:/bucket/m?TOKEN", "s3:/bucket/m?***"),
        ("/srv/m?token=TOKEN", "/srv/m?token=***"),
    ],
)
def test_a_location_is_shown_as_the_place_that_it_leads_to(location: str, shown: str) -> None:
    assert redact_location(location) == shown


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("http://minio:9000", "http://minio:9000"),
        ("http://u:a/s3cr3t@minio:9000", "http://***@minio:9000"),
        ("http://u:1/s3cr3t@minio:9000/x", "http://***@minio:9000/x"),
        ("u:s3cr3t@minio:9000", "***@minio:9000"),
        ("http://u:s3://cr3t@minio", "http://***@minio"),
        ("https://minio/x?sig=s3cr3t", "https://minio/x?***"),
        ("minio:9000", "minio:9000"),
    ],
)
def test_an_endpoint_is_shown_without_what_stands_before_its_host(endpoint: str, shown: str) -> None:
    assert redact_endpoint(endpoint) == shown


@pytest.mark.parametrize("unit", ["a", "a-", "token", "token-", "sig=", "a://", "://", "@", "a@", "basic ", "=", "-"])
def test_a_text_of_a_megabyte_is_read_once(unit: str) -> None:
    """A pattern that looks at each part of a text for each other part would take hours, and nothing could end it."""
    text = f"http://h/{unit * (1_000_000 // len(unit))}?x=@ ="
    assert redact(redact(text)) == redact(text)
    assert len(redact_location(text)) <= len(text)


@pytest.mark.parametrize(
    ("address", "it_does"),
    [
        ("http://host:5000/path", False),
        ("http://bob:pw@host", True),
        ("http://token@host", True),
        ("postgresql+psycopg2://bob:ba/se/64=@host/db", True),
        ("postgresql://host:5432/db?options=-csearch_path=a", False),
        ("sqlite:////home/a:b/me@work/ledger.db", False),
        ("sqlite:///C:/me@work/ledger.db", False),
        ("databricks://profile", False),
        ("see http://host:1 and mail me@example.org", False),
    ],
)
def test_which_addresses_hold_credentials(address: str, it_does: bool) -> None:
    assert holds_credentials(address) is it_does
