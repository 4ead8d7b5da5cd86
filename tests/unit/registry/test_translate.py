"""Errors of other libraries in our words: whoever reads one learns what to do."""

import pytest
from azure.core.exceptions import ClientAuthenticationError
from botocore.exceptions import NoCredentialsError

from registry_audit.errors import CouldNotVerify
from registry_audit.registry.translate import explain


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (NoCredentialsError(), "AWS_PROFILE"),
        (ClientAuthenticationError("DefaultAzureCredential failed\nto retrieve a token"), "az login"),
        (ModuleNotFoundError("No module named 'paramiko'"), "beside registry-audit"),
    ],
)
def test_a_store_that_cannot_be_signed_in_to_or_opened_says_what_helps(error: Exception, way_out: str) -> None:
    explained = explain(error, "list s3://models/1/")
    assert type(explained) is CouldNotVerify
    assert explained.message.startswith(f"could not list s3://models/1/: {type(error).__name__}: ")
    assert way_out in explained.message
