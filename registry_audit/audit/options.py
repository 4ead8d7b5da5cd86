"""What an audit is asked to do. Outside data, so it is validated here, before hours of work."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from registry_audit.model.limits import Limits
from registry_audit.registry.connection import Server
from registry_audit.registry.politeness import Politeness
from registry_audit.registry.versions import RegisteredVersion
from registry_audit.verdict import Severity

DEFAULT_WORKERS = 8


class AuditOptions(BaseModel):
    """Everything that decides what an audit says; small, immutable and safe to hand to another process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracking_uri: str = Field(min_length=1, repr=False)
    registry_uri: str | None = Field(default=None, repr=False)
    models: tuple[str, ...] = ()  # glob patterns on the name, case-sensitive; none means all
    filter: str | None = None  # MLflow's own filter for search_model_versions
    latest: PositiveInt | None = None  # only so many highest versions of each model
    subset: str | None = Field(default=None, pattern=r"^[0-9]{1,6}/[0-9]{1,6}$")  # "n/t": the n-th part of t
    quick: bool = False  # trust what an unchanged fingerprint says of bytes that were read before
    full_every: PositiveInt | None = None  # days after which `quick` reads in full all the same
    accept_new: bool = False
    ledger: str | None = Field(default=None, repr=False)  # SQLAlchemy URL; None keeps no memory
    fail_on: Severity = Severity.MEDIUM
    digest: Literal["sha256", "blake3"] = "sha256"
    workers: PositiveInt = DEFAULT_WORKERS
    max_files: PositiveInt = Limits().max_files
    max_depth: PositiveInt = Limits().max_depth
    max_bytes: PositiveInt = Limits().max_bytes
    max_requests: PositiveInt | None = None  # in flight from one process, to all servers together
    max_bytes_per_second: PositiveInt | None = None  # from servers, read by one process

    @model_validator(mode="after")
    def _no_contradiction(self) -> "AuditOptions":
        if self.ledger is None and (self.quick or self.accept_new):
            raise ValueError("quick and accept_new need a ledger")
        if self.full_every is not None and not self.quick:
            raise ValueError("full_every only means something with quick")
        if self.subset is not None:
            part, parts = map(int, self.subset.split("/"))
            if not 1 <= part <= parts:
                raise ValueError("subset is n/t with n from 1 to t, for instance 2/7")
        return self

    @property
    def server(self) -> Server:
        return Server(self.tracking_uri, self.registry_uri)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_files, self.max_depth, self.max_bytes)

    def politeness(self, around: Callable[[], AbstractContextManager[object]] = nullcontext) -> Politeness:
        """Args: around: entered for as long as a request is in flight, to keep to limits that processes share."""
        return Politeness(self.max_requests, self.max_bytes_per_second, around=around)

    def reported(self) -> dict[str, object]:
        """What a report states: all that changes what an audit says, nothing that only changes how fast."""
        return {
            "models": list(self.models),
            "filter": self.filter,
            "latest": self.latest,
            "subset": self.subset,
            "quick": self.quick,
            "full_every": self.full_every,
            "accept_new": self.accept_new,
            "fail_on": self.fail_on.value,
            "digest": self.digest,
            "max_files": self.max_files,
            "max_depth": self.max_depth,
            "max_bytes": self.max_bytes,
        }


def selected(versions: tuple[RegisteredVersion, ...], options: AuditOptions) -> tuple[RegisteredVersion, ...]:
    """The versions that the options ask for, in the order given.

    Args:
        versions: sorted by name, then number.
    """
    named = [v for v in versions if not options.models or any(fnmatchcase(v.name, glob) for glob in options.models)]
    newest = named if options.latest is None else _latest(named, options.latest)
    if options.subset is None:
        return tuple(newest)
    part, parts = map(int, options.subset.split("/"))
    return tuple(version for version in newest if _part_of(version, parts) == part)


def _latest(versions: list[RegisteredVersion], count: int) -> list[RegisteredVersion]:
    rank: dict[str, int] = {}
    kept = []
    for version in reversed(versions):
        rank[version.name] = rank.get(version.name, 0) + 1
        if rank[version.name] <= count:
            kept.append(version)
    return kept[::-1]


def _part_of(version: RegisteredVersion, parts: int) -> int:
    """1 to `parts`: always the same for one version, so that `parts` runs cover everything exactly once."""
    digest = hashlib.sha256(f"{version.name}\n{version.version}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % parts + 1
