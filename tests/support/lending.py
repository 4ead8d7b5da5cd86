"""Buckets of every cloud that Unity Catalog lends credentials for, on emulators behind the clouds' own host names."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs

from support.clouds import AzureCloud, Cloud, GcsCloud, S3Cloud
from support.databricks import StandIn, Version
from support.outside import Outside

R2_HOST = "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
_AZURE_ACCOUNT = "devstoreaccount1"


class Lender(Protocol):
    """One cloud, as Unity Catalog knows it."""

    hosts: str  # by the end of their name: the only ones that its credentials may go to

    def location(self, key: str) -> str: ...

    def lend(self) -> tuple[dict[str, Any], str]:
        """Credentials as Unity Catalog answers them, other ones each time, and the part that tells them apart."""
        ...


@dataclass
class Lending:
    """A lender with a stand-in for Unity Catalog before it."""

    service: StandIn
    lender: Lender
    cloud: Cloud
    world: Outside
    seconds: float = 3_600.0  # that each credentials hold, as they say of themselves
    now: Callable[[], float] = time.time
    lent: list[str] = field(default_factory=list)  # what tells each credential apart, in their order

    def __post_init__(self) -> None:
        self.service.faults.models_through_files = False
        self.service.lend = self._lend

    def keep(self, version: Version) -> str:
        """Move what the version's directory holds into the bucket, under a key of its own. Returns the key."""
        key = f"__unitystorage/{secrets.token_hex(8)}/{version.version}"
        for file in sorted(version.reg.rglob("*")):
            if file.is_file():
                self.cloud.put(f"{key}/{file.relative_to(version.reg).as_posix()}", file.read_bytes())
        self.service.catalog[version.name][int(version.version) - 1]["storage_location"] = self.lender.location(key)
        return key

    def only_own_hosts(self) -> bool:
        return self.world.unknown == [] and all(host.endswith(self.lender.hosts) for host in self.world.hosts())

    def _lend(self) -> dict[str, Any]:
        credentials, mark = self.lender.lend()
        self.lent.append(mark)
        return {"expiration_time": int((self.now() + self.seconds) * 1_000), **credentials}


class _Aws:
    hosts = ".amazonaws.com"
    _scheme, _part, _at = "s3", "aws_temp_credentials", ""

    def __init__(self, cloud: S3Cloud, world: Outside) -> None:
        self._cloud = cloud
        world.backends[self.hosts] = cloud.url

    def location(self, key: str) -> str:
        return f"{self._scheme}://{self._cloud.bucket}{self._at}/{key}"

    def lend(self) -> tuple[dict[str, Any], str]:
        mark = f"session-{secrets.token_hex(8)}"
        keys = {"access_key_id": "ASIALENT", "secret_access_key": f"lent-{mark}", "session_token": mark}
        return {self._part: keys}, mark


class _R2(_Aws):
    hosts = R2_HOST
    _scheme, _part, _at = "r2", "r2_temp_credentials", f"@{R2_HOST}"

    def __init__(self, cloud: S3Cloud, world: Outside) -> None:
        super().__init__(cloud, world)
        world.as_host[self.hosts] = cloud.url.partition("://")[2]


class _Azure:
    hosts = f"{_AZURE_ACCOUNT}.blob.core.windows.net"

    def __init__(self, cloud: AzureCloud, world: Outside) -> None:
        self._cloud = cloud
        world.backends[self.hosts] = cloud.url

    def location(self, key: str) -> str:
        return f"abfss://{self._cloud.bucket}@{_AZURE_ACCOUNT}.dfs.core.windows.net/{key}"

    def lend(self) -> tuple[dict[str, Any], str]:
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        ends = datetime.now(UTC) + timedelta(hours=1, seconds=secrets.randbelow(3_600))
        allowed = ContainerSasPermissions(read=True, list=True)
        key = self._cloud.client.credential.account_key
        sas = generate_container_sas(_AZURE_ACCOUNT, self._cloud.bucket, key, permission=allowed, expiry=ends)
        mark = parse_qs(sas)["sig"][0]
        return {"azure_user_delegation_sas": {"sas_token": sas}}, mark


class _Google:
    hosts = "storage.googleapis.com"

    def __init__(self, cloud: GcsCloud, world: Outside) -> None:
        self._cloud = cloud
        world.backends[self.hosts] = cloud.url
        world.as_host[self.hosts] = cloud.url.partition("://")[2]

    def location(self, key: str) -> str:
        return f"gs://{self._cloud.bucket}/{key}"

    def lend(self) -> tuple[dict[str, Any], str]:
        mark = f"ya29.lent-{secrets.token_hex(8)}"
        return {"gcp_oauth_token": {"oauth_token": mark}}, mark


LENDERS: dict[str, Callable[[Any, Outside], Lender]] = {"s3": _Aws, "r2": _R2, "azure": _Azure, "google": _Google}
