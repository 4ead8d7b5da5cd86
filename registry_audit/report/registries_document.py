"""Defines `migration.json` as a type: the result of a comparison of two registries.

Keys are a contract: add, never rename.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WrapValidator

from registry_audit.migration.pair_judging import PairVerdict
from registry_audit.migration.pairing import How
from registry_audit.report.document import SCHEMA_VERSION, FindingRow, RegisteredRow, Registry, Row, Tool, checked_rows

KIND: Literal["registry-migration"] = "registry-migration"


class SideRow(RegisteredRow):
    """This is one version as its own registry has it. Its verdict is that of an audit of this registry alone."""

    root: str | None  # root storage, credentials redacted
    manifest_digest: str | None  # None if not every byte was read
    files: int | None
    bytes: int | None
    read_at: str | None = None  # UTC; when its bytes were read, which may be before the start of a resumed run
    last_read_at: str | None = None  # UTC; time of the full reading with the same fingerprint, if not read now


class Sides(Row):
    source: str | None
    target: str | None


class SidedSizes(Row):
    source: int | None
    target: int | None


class FileRow(Row):
    path: str
    kind: Literal["only_in_source", "only_in_target", "content"]
    expected_by: str | None  # the rule that explains the difference; the rule's version is among the options
    fields: tuple[str, ...] = ()  # fields of MLmodel or lines of requirements that differ
    sizes: SidedSizes
    digests: Sides


class FieldRow(Row):
    field: str
    source: str
    target: str


class PairedRow(Row):
    """This is a version with its counterpart, or a version without one."""

    source: SideRow | None
    target: SideRow | None
    found_by: How | None  # how the pair was found
    candidates: int  # number of versions of the other registry with this content
    told_apart_by: str | None  # the criteria by which it was chosen among several with this content
    verdict: PairVerdict
    reason: str | None
    one_directory_down: str | None = None  # the directory that holds the model instead of the root
    differences: tuple[FileRow, ...]
    metadata: tuple[FieldRow, ...]
    findings: tuple[FindingRow, ...]


class ModelRow(Row):
    """This is the result for one registered model as a whole."""

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
    first_read_at: str | None = None  # UTC; when the first of its versions was read, see SideRow.read_at
    not_read: int = 0  # versions that were not read because their fingerprint is unchanged (`--quick`)
    oldest_reading: str | None = None  # UTC; the oldest full reading of these versions
    prompts: int | None  # counted, not compared; None if the registry does not say
    listed_whole: bool
    notes: tuple[str, ...] = ()


class MigrationCoverage(Row):
    source: SideCoverage
    target: SideCoverage


class MigrationSummary(Row):
    sentence: str  # summary for a ticket
    complete: bool  # whether every version of the source is in the target, unchanged or explained
    verdicts: dict[PairVerdict, int]
    findings: dict[str, int]  # rule id -> count
    behind_proxy: int = 0  # not moved versions for which a proxy hides whether they are one storage


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
