"""A real server that gives files out by signed URLs of its bucket alone, as MLflow 3.18 can."""

from pathlib import Path

import pytest
from support.auditing import Auditor
from support.databases import everything_in
from support.old_mlflow import RELEASES
from support.old_servers import OldServer
from support.s3 import S3Endpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_its_models_are_read_without_any_credentials_of_the_bucket(
    s3_endpoint: S3Endpoint, tmp_path: Path, audit: Auditor
) -> None:
    old = OldServer(RELEASES["3.18.0"], tmp_path / "registry")
    ledger = ("--ledger", f"sqlite:///{tmp_path / 'ledger.db'}")
    with old.serve(artifacts="s3-proxied", s3=s3_endpoint, more_options=("--artifacts-presigned-only",)) as server:
        old.fill(server)
        first = audit(server.uri, *ledger, "--accept-new")
        assert {row["verdict"] for row in first.rows} == {"same_storage"}, first.stderr
        assert first.document["coverage"]["unverifiable"] == 0
        old.own_client(server, "damage")
        before = everything_in(server.db_uri)
        second = audit(server.uri, *ledger)
        assert everything_in(server.db_uri) == before
        assert {row["name"] for row in second.rows if "RA002" in {f["rule"] for f in row["findings"]}} == {
            "Overwritten"
        }
