"""What is said of a Prefect server that cannot be asked."""

import pytest

from registry_audit.cli.submit.server import PrefectServer
from registry_audit.errors import UsageError


@pytest.mark.parametrize("url", ["http://a..b/api", f"http://{'x' * 64}.example/api", "http://[broken/api", "nothing"])
def test_an_address_that_is_no_servers_is_a_mistake_in_the_settings(url: str) -> None:
    with pytest.raises(UsageError, match="PREFECT_API_URL is not the address of a server"):
        PrefectServer({"PREFECT_API_URL": url})
