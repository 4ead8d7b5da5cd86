"""What an audit is asked to do. Outside data, so it is validated here, before hours of work."""

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from registry_audit.model.limits import Limits
from registry_audit.registry.connection import Server
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
    fail_on: Severity = Severity.MEDIUM
    digest: Literal["sha256", "blake3"] = "sha256"
    workers: PositiveInt = DEFAULT_WORKERS
    max_files: PositiveInt = Limits().max_files
    max_depth: PositiveInt = Limits().max_depth
    max_bytes: PositiveInt = Limits().max_bytes

    @property
    def server(self) -> Server:
        return Server(self.tracking_uri, self.registry_uri)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_files, self.max_depth, self.max_bytes)

    def reported(self) -> dict[str, object]:
        """What a report states: all that changes what an audit says, nothing that only changes how fast."""
        return {
            "models": list(self.models),
            "filter": self.filter,
            "latest": self.latest,
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
    if options.latest is None:
        return tuple(named)
    rank: dict[str, int] = {}
    kept = []
    for version in reversed(named):
        rank[version.name] = rank.get(version.name, 0) + 1
        if rank[version.name] <= options.latest:
            kept.append(version)
    return tuple(reversed(kept))
