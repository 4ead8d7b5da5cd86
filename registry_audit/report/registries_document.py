"""`migration.json` as a type: what comparing two registries found. Keys are a contract: add, never rename."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WrapValidator

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.migration.pairing import How
from registry_audit.report.document import SCHEMA_VERSION, FindingRow, RegisteredRow, Registry, Row, Tool, checked_rows

KIND: Literal["registry-migration"] = "registry-migration"


class SideRow(RegisteredRow):
    """One version, as its own registry has it; its verdict is that of an audit of this registry alone."""

    root: str | None  # root storage, credentials redacted
    manifest_digest: str | None  # None where not every byte was read
    files: int | None
    bytes: int | None
    read_at: str | None = None  # UTC; when its bytes were read: before the run itself where that was interrupted
    last_read_at: str | None = None  # UTC; not read now: its fingerprint is that of a full reading at this time


class Sides(Row):
    source: str | None
    target: str | None


class SidedSizes(Row):
    source: int | None
    target: int | None


class FileRow(Row):
    path: str
    kind: Literal["only_in_source", "only_in_target", "content"]
    expected_by: str | None  # the rule that explains it; its version is among the options
    fields: tuple[str, ...] = ()  # of MLmodel, or lines of requirements, that differ
    sizes: SidedSizes
    digests: Sides


class FieldRow(Row):
    field: str
    source: str
    target: str


class PairedRow(Row):
    """A version of the source with its counterpart, or one that has none."""

    source: SideRow | None
    target: SideRow | None
    found_by: How | None  # how the pair was found
    candidates: int  # versions of the other registry with this content
    told_apart_by: str | None  # by what it was chosen among several of one content
    verdict: PairVerdict
    reason: str | None
    one_directory_down: str | None = None  # the directory that holds the model, where the root should
    differences: tuple[FileRow, ...]
    metadata: tuple[FieldRow, ...]
    findings: tuple[FindingRow, ...]


class ModelRow(Row):
    """What is said once for a registered model."""

    source: str | None
    target: str | None
    source_versions: int
    target_versions: int
    renumbered: tuple[tuple[str, str], ...]
    metadata: tuple[FieldRow, ...]
    findings: tuple[FindingRow, ...]


class SideCoverage(Row):
    models: int  # registered models that were compared
    versions: int
    bytes_read: int
    first_read_at: str | None = None  # UTC; when the first of its versions was read: see SideRow.read_at
    not_read: int = 0  # versions whose unchanged fingerprint stood for their bytes (`--quick`)
    oldest_reading: str | None = None  # UTC; the oldest of the full readings that stood for them
    prompts: int | None  # counted, not compared; None where the registry does not say
    listed_whole: bool
    notes: tuple[str, ...] = ()


class MigrationCoverage(Row):
    source: SideCoverage
    target: SideCoverage


class MigrationSummary(Row):
    sentence: str  # for a ticket
    complete: bool  # every version of the source is in the target, unchanged or explained
    verdicts: dict[PairVerdict, int]
    findings: dict[str, int]  # rule id -> count
    behind_proxy: int = 0  # of those not moved, the ones of which it cannot be seen whether they are one storage


class MigrationOutcome(Row):
    exit_status: int
    state: Literal["clean", "findings", "incomplete"]


class MigrationDocument(Row):
    model_config = ConfigDict(extra="ignore", frozen=True, arbitrary_types_allowed=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["registry-migration"] = KIND
    generated_at: str
    tool: Tool
    source: Registry
    target: Registry
    options: dict[str, Any]
    outcome: MigrationOutcome
    summary: MigrationSummary
    coverage: MigrationCoverage
    models: tuple[ModelRow, ...] = Field(default=())
    versions: Annotated[Sequence[PairedRow], WrapValidator(checked_rows)]
