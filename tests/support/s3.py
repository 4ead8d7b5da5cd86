"""An S3-compatible endpoint of one's own: moto's server in a process beside the tests."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import server_process

_ANNOUNCED = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True, slots=True)
class S3Endpoint:
    url: str
    log: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client needs to reach this endpoint, and nothing of the machine's own AWS set-up."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "test-access-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret-key",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self) -> Any:
        import boto3

        variables = self.environment
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=variables["AWS_DEFAULT_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Endpoint]:
    log = directory / "s3.log"
    # Port 0: the system chooses and the server says which, so no two runs can take the same one.
    command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with server_process(
        command, log=log, ready=lambda: _announced(log) is not None, environment=os.environ, directory=directory
    ):
        yield S3Endpoint(_announced(log) or "", log)


def _announced(log: Path) -> str | None:
    found = _ANNOUNCED.search(log.read_text(encoding="utf-8", errors="replace"))
    return found and found[1]
