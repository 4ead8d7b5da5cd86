import pytest

from registry_audit.redact import redact


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
        ("dbfs://profile@databricks/x", "dbfs://profile@databricks/x"),
        ("postgresql+psycopg2://audit@db/ledger", "postgresql+psycopg2://***@db/ledger"),
        ("mail someone@example.org about s3://bucket/model@2", "mail someone@example.org about s3://bucket/model@2"),
    ],
)
def test_credentials_go_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown
