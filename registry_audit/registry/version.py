"""A model version as the registry describes it."""

from dataclasses import dataclass

Key = tuple[str, str]  # name, version


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A model version as the registry describes it. Every text in it is hostile."""

    name: str
    version: str  # decimal
    status: str  # READY, PENDING_REGISTRATION, FAILED_REGISTRATION
    stage: str | None  # None where the registry has none or says 'None'
    aliases: tuple[str, ...]  # sorted
    run_id: str | None
    source: str
    creation_time_ms: int | None = None
    last_updated_ms: int | None = None
    description: str | None = None
    user_id: str | None = None
    run_link: str | None = None
    status_message: str | None = None
    tags: tuple[tuple[str, str], ...] = ()  # sorted
    run_workspace: str | None = None  # id of the Databricks workspace that its run is in, where the registry says so

    @property
    def key(self) -> tuple[str, int]:
        """Sorts by name, then by number."""
        return self.name, int(self.version)

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"
