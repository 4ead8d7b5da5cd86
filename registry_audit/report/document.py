"""Defines `audit.json` as a type: the source of truth from which every other rendering is made.

A report that is read back from disk is validated, so a file that is not a report is refused, and the error names the
place. Keys are a contract: add, never rename.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from registry_audit.verdict import BaselineStatus, Severity, SignatureStatus, Storage, Verdict

SCHEMA_VERSION: Literal[1] = 1

_AnyRow = TypeVar("_AnyRow")


class Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class CopyRow(Row):
    uri: str
    """Location as the registry records it, credentials redacted."""
    root: str | None
    """Location that holds the bytes, credentials redacted; null where it could not be resolved."""
    manifest_digest: str | None
    """Digest of the list of all files; null where not every file was read."""
    files: int
    """Number of files."""
    bytes: int
    """Size of all files together."""


class SidedSizes(Row):
    run_model: int | None
    reg_model: int | None


class SidedDigests(Row):
    run_model: str | None
    reg_model: str | None


class DifferenceRow(Row):
    path: str
    kind: Literal["only_in_run_model", "only_in_reg_model", "content", "type"]
    expected_by: str | None
    """Name of the rule that explains the difference, such as "registered-model-meta"; null where none does."""
    sizes: SidedSizes
    digests: SidedDigests


class BaselineSizes(Row):
    baseline: int | None
    now: int | None


class BaselineDigests(Row):
    baseline: str | None
    now: str | None


class WaiverRow(Row):
    by: str
    reason: str
    until: str
    """Last day of the waiver, UTC."""


class FindingRow(Row):
    rule: str
    """Id of the rule, such as RA002."""
    name: str
    """Name of the rule."""
    severity: Severity
    message: str
    """What was found."""
    remedy: str
    """What to do."""
    path: str | None = None
    """File of the model that the finding is about; null where it is about the version."""
    first_seen: str | None = None
    """Day on which an audit first found it, UTC; null without a ledger."""
    new: bool | None = None
    """Whether no earlier audit had found it; null without a ledger."""
    waived: WaiverRow | None = None
    """Who tolerates the finding, and until when. A waived finding does not change the exit status."""


class BaselineDifferenceRow(Row):
    path: str
    kind: Literal["removed", "added", "content"]
    expected_by: str | None
    """Name of the rule that explains the difference; null where none does."""
    sizes: BaselineSizes
    digests: BaselineDigests


class EventRow(Row):
    """This is an entry of the ledger about a version: it was accepted, or a finding began, ended or was waived."""

    at: str
    """When, UTC."""
    kind: Literal["accepted", "found", "resolved", "waived"]
    what: str
    """What happened, in one sentence."""


class RegisteredRow(Row):
    """Holds what every report says about a version."""

    name: str
    version: str
    status: str
    """MLflow's status: READY, PENDING_REGISTRATION or FAILED_REGISTRATION."""
    stage: str | None
    aliases: tuple[str, ...]
    run_id: str | None
    verdict: Verdict


class VersionRow(RegisteredRow):
    reason: str | None
    """Why the version is unverifiable or skipped, in one sentence."""
    baseline: BaselineStatus | None
    """How the bytes compare with the accepted baseline; null without a ledger."""
    storage: Storage
    """Whether the run model and the registry model are in one storage."""
    compared_by: Literal["bytes", "digests"] | None
    """How the two copies were compared; null where they were not."""
    run_model: CopyRow | None
    reg_model: CopyRow | None
    differences: tuple[DifferenceRow, ...]
    """What differs between the two copies."""
    findings: tuple[FindingRow, ...]
    baseline_differences: tuple[BaselineDifferenceRow, ...] = ()
    """Files that are not as accepted."""
    accepted_at: str | None = None
    """When the baseline was accepted, UTC; null where there is none."""
    accepted_by: str | None = None
    """Who accepted the baseline."""
    accepted_reason: str | None = None
    """Why the baseline was accepted."""
    accepted_now: bool | None = None
    """Whether this audit accepted the baseline; null without a ledger."""
    signature: str | None = None
    """Path of an OpenSSF Model Signing signature in the model."""
    signature_status: SignatureStatus | None = None
    """Whether the signature is valid; null where there is no signature."""
    signature_reason: str | None = None
    """Why the signature has this status, in one sentence."""
    read_at: str | None = None
    """When this audit began to read the version's files, UTC. If the audit was resumed, this can be before its
    last start. Null where nothing was read."""
    last_read_at: str | None = None
    """When the bytes were last read in full, UTC, if this audit did not read them."""
    seconds: float | None = None
    """Time that this version took. What it shares with another version is counted at the one where it was read.
    Null in a Prefect flow, and for what was read before an interruption."""
    history: tuple[EventRow, ...] = ()
    """What the ledger recorded about the version, this audit included: the newest events, oldest first."""


def checked_rows(value: Any, validated: Callable[[Any], Sequence[_AnyRow]]) -> Sequence[_AnyRow]:
    """Validate rows from a file.

    Rows of a running audit may exceed memory and are valid already, so they are returned as is.
    """
    are_rows = isinstance(value, Sequence) and not isinstance(value, list | tuple | str)
    return value if are_rows else tuple(validated(value))


class Coverage(Row):
    listed: int
    """Versions that the registry lists."""
    audited: int
    """Versions with a verdict other than unverifiable or skipped."""
    unverifiable: int
    """Versions that could not be verified."""
    skipped: int
    """Versions whose registration is not finished, or that are no longer in the registry."""
    not_sampled: int
    """Versions that the options left out."""
    not_reached: int = 0
    """Versions that should have been audited and were not, because the audit was interrupted."""
    only_listed: int = 0
    """Versions of which only the list of files was looked at (--liveness). They do not count as audited."""
    not_read: int = 0
    """Audited versions whose files were not read because their fingerprint is unchanged (--quick)."""
    files_read: int
    bytes_read: int
    storages_read: int
    """Model directories that were read. Versions that share one count it once."""
    notes: tuple[str, ...] = ()
    """What a reader must know about the list of versions, for instance that it changed while it was read."""


class Summary(Row):
    verdicts: dict[Verdict, int]
    """Number of versions with each verdict."""
    baseline: dict[BaselineStatus, int]
    """Number of versions with each baseline status."""
    findings: dict[str, int]
    """Number of findings of each rule, by rule id."""


class Outcome(Row):
    exit_status: int
    """Exit status of the command; 130 if the audit was interrupted."""
    state: Literal["clean", "findings", "incomplete"]


class Tool(Row):
    name: str
    version: str
    mlflow: str
    python: str


class Registry(Row):
    tracking_uri: str
    """Address of the tracking server, without credentials."""
    registry_uri: str
    """Address of the registry, without credentials."""
    mlflow_server: str | None
    """MLflow version of the server; null where no server was asked or it does not say."""
    known_as: str | None = None
    """Name of the registry in the ledger, or the address under which it was first audited."""
    workspace: str | None = None
    """MLflow workspace; null for the default one."""


class LedgerRow(Row):
    url: str
    """Address of the ledger, without credentials."""
    head: str
    """Digest of the newest entry. A copy of it kept elsewhere proves that the past was not rewritten."""
    entries: int
    """Number of entries up to the head."""
    audit_id: str
    """Id of this audit in the ledger."""
    accepted_new: int
    """Number of baselines that this audit accepted at first sight (--accept-new)."""


class Changes(Row):
    """Compares the findings with those of the previous audit."""

    new: int
    """Findings that the audit before did not have."""
    known: int
    """Findings that an earlier audit already had."""
    resolved: int
    """Findings that ended, or were waived, since the audit before."""
    waived: int
    """Findings that are waived."""
    since: str | None
    """When the audit before finished, UTC; null for the first audit."""


class ResolvedRow(Row):
    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str
    """Day or time at which an audit first found it, UTC."""
    by: str | None = None
    """What ended it, in one sentence; null in reports of older releases."""


class PastAudit(Row):
    """This is an earlier audit of the same selection of versions, as the ledger recorded it."""

    at: str
    """When the audit finished, UTC."""
    exit_status: int
    listed: int
    audited: int
    unverifiable: int
    findings: dict[Severity, int] | None = None
    """Number of findings of each severity that were not waived; null where an older release did not record them."""


class AuditDocument(Row):
    schema_version: Literal[1] = SCHEMA_VERSION
    generated_at: str
    """UTC, ISO 8601, ends in Z."""
    tool: Tool
    registry: Registry
    options: dict[str, Any]
    """The options that decide what the audit says."""
    outcome: Outcome
    coverage: Coverage
    """How much was listed, read, and left out."""
    summary: Summary
    ledger: LedgerRow | None = None
    """The ledger that the audit used; null where it used none or was interrupted."""
    changes: Changes | None = None
    """How the findings compare with those of the audit before; null without a ledger."""
    resolved: tuple[ResolvedRow, ...] = ()
    """Findings of earlier audits that ended, or were waived, since the audit before."""
    history: tuple[PastAudit, ...] = ()
    """The last audits of the same selection, oldest first; this one is the last. Empty without a ledger."""
    versions: Annotated[Sequence[VersionRow], WrapValidator(checked_rows)] = Field(default=())
    """A row for each version."""
