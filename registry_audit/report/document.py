"""`audit.json` as a type: the source of truth that every other rendering is made from.

Outside data (a report read back from disk) enters through `AuditDocument.model_validate_json`, so a
file that is not a report is refused with the place named. Keys are a contract: add, never rename.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from registry_audit.verdict import BaselineStatus, Severity, SignatureStatus, Storage, Verdict

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class CopyRow(_Row):
    uri: str
    """As the registry records it, credentials redacted."""
    root: str | None
    """Root storage, credentials redacted; None where it could not be resolved."""
    manifest_digest: str | None
    """None where not every byte was read."""
    files: int
    bytes: int


class SidedSizes(_Row):
    run_model: int | None
    reg_model: int | None


class SidedDigests(_Row):
    run_model: str | None
    reg_model: str | None


class DifferenceRow(_Row):
    path: str
    kind: Literal["only_in_run_model", "only_in_reg_model", "content", "type"]
    expected_by: str | None
    """The rule that explains it, e.g. "registered-model-meta"."""
    sizes: SidedSizes
    digests: SidedDigests


class BaselineSizes(_Row):
    baseline: int | None
    now: int | None


class BaselineDigests(_Row):
    baseline: str | None
    now: str | None


class WaiverRow(_Row):
    by: str
    reason: str
    until: str
    """UTC date, included."""


class FindingRow(_Row):
    rule: str
    name: str
    severity: Severity
    message: str
    remedy: str
    path: str | None = None
    first_seen: str | None = None
    """UTC date; None without a ledger."""
    new: bool | None = None
    """Not open before this audit."""
    waived: WaiverRow | None = None
    """Shown, and does not make the exit status."""


class BaselineDifferenceRow(_Row):
    path: str
    kind: Literal["removed", "added", "content"]
    expected_by: str | None
    """The rule that explains it, or None."""
    sizes: BaselineSizes
    digests: BaselineDigests


class EventRow(_Row):
    """Something that the ledger has of a version, apart from the audits that only read it."""

    at: str
    """UTC."""
    kind: Literal["accepted", "found", "resolved", "waived"]
    what: str
    """One sentence."""


class VersionRow(_Row):
    name: str
    version: str
    status: str
    stage: str | None
    aliases: tuple[str, ...]
    run_id: str | None
    verdict: Verdict
    reason: str | None
    """Why unverifiable or skipped, in one sentence."""
    baseline: BaselineStatus | None
    """None without a ledger."""
    storage: Storage
    """Whether both copies are one storage."""
    compared_by: Literal["bytes", "digests"] | None
    """How the two copies were compared; None where they were not."""
    run_model: CopyRow | None
    reg_model: CopyRow | None
    differences: tuple[DifferenceRow, ...]
    """What differs between the two copies."""
    findings: tuple[FindingRow, ...]
    baseline_differences: tuple[BaselineDifferenceRow, ...] = ()
    """What is not as accepted."""
    accepted_at: str | None = None
    """When the baseline was accepted, UTC; None where there is none."""
    accepted_by: str | None = None
    """Who accepted it."""
    accepted_reason: str | None = None
    """Why they did."""
    accepted_now: bool | None = None
    """Whether this very audit accepted it; None without a ledger."""
    signature: str | None = None
    """Path of an OpenSSF Model Signing signature in the model."""
    signature_status: SignatureStatus | None = None
    """None where there is no signature."""
    signature_reason: str | None = None
    """One sentence."""
    read_at: str | None = None
    """When this audit began to read its bytes, UTC: before the run itself where the audit was interrupted. None where
    it read none."""
    last_read_at: str | None = None
    """For `not_read`: when these bytes were last read in full."""
    seconds: float | None = None
    """How long this version took; what it shares with another one is counted where it was read. None in a Prefect flow,
    whose steps are task runs of many versions, and for what was read before an interruption."""
    history: tuple[EventRow, ...] = ()
    """The life of the version in the ledger, this audit included: the newest events, oldest first."""


def _rows(value: Any, validated: Callable[[Any], Sequence[VersionRow]]) -> Sequence[VersionRow]:
    """Rows of a file are checked; those of an audit may be more than memory should hold, and are rows already."""
    are_rows = isinstance(value, Sequence) and not isinstance(value, list | tuple | str)
    return value if are_rows else tuple(validated(value))


class Coverage(_Row):
    listed: int
    audited: int
    """Every verdict but unverifiable and skipped."""
    unverifiable: int
    """Versions that could not be verified."""
    skipped: int
    """Versions without a finished registration, or no longer in the registry."""
    not_sampled: int
    """Versions that the options left out."""
    not_reached: int = 0
    """To be audited, and without a row: the audit did not come to its end."""
    only_listed: int = 0
    """Of those not audited, looked at without reading a byte (--liveness)."""
    not_read: int = 0
    """Audited, their bytes trusted from an unchanged fingerprint (--quick)."""
    files_read: int
    bytes_read: int
    storages_read: int
    notes: tuple[str, ...] = ()
    """What a reader must know of the listing, e.g. that it changed meanwhile."""


class Summary(_Row):
    verdicts: dict[Verdict, int]
    baseline: dict[BaselineStatus, int]
    findings: dict[str, int]
    """Rule id -> count."""


class Outcome(_Row):
    exit_status: int
    """Of the command; 130 of an audit that was interrupted."""
    state: Literal["clean", "findings", "incomplete"]


class Tool(_Row):
    name: str
    version: str
    mlflow: str
    python: str


class Registry(_Row):
    tracking_uri: str
    """Redacted."""
    registry_uri: str
    """Redacted."""
    mlflow_server: str | None
    """Version of the server; None where there is none."""
    known_as: str | None = None
    """What the ledger files it under: a name, or the address it was first audited under."""
    workspace: str | None = None
    """MLflow's workspace; None for the default one."""


class LedgerRow(_Row):
    url: str
    """Redacted."""
    head: str
    """Digest of the newest entry: a copy of it elsewhere proves that the past was not rewritten."""
    entries: int
    """Of the ledger, up to its head."""
    audit_id: str
    """Under which the ledger has this audit."""
    accepted_new: int
    """Baselines that this audit accepted on first sight."""


class Changes(_Row):
    """Findings beside those of the audits before."""

    new: int
    """Findings that were not open before."""
    known: int
    """Findings that were open before."""
    resolved: int
    """Findings that ended, or were answered for, since the audit before."""
    waived: int
    since: str | None
    """UTC; when the audit before finished."""


class ResolvedRow(_Row):
    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str
    by: str | None = None
    """What ended it, in one sentence; older reports do not say."""


class PastAudit(_Row):
    """An audit of the same selection of versions, as the ledger has it."""

    at: str
    """UTC; when it finished."""
    exit_status: int
    listed: int
    audited: int
    unverifiable: int
    findings: dict[Severity, int] | None = None
    """Those that nobody answers for; None for an audit of a release that did not record them."""


class AuditDocument(_Row):
    schema_version: Literal[1] = SCHEMA_VERSION
    generated_at: str
    """UTC, ISO 8601, ends in Z."""
    tool: Tool
    registry: Registry
    options: dict[str, Any]
    outcome: Outcome
    coverage: Coverage
    """How much was listed, read, and left out."""
    summary: Summary
    ledger: LedgerRow | None = None
    """None where the audit kept no memory, or did not come to its end."""
    changes: Changes | None = None
    resolved: tuple[ResolvedRow, ...] = ()
    """Findings of earlier audits that ended, or that somebody has answered for since the last one."""
    history: tuple[PastAudit, ...] = ()
    """The last audits of the same selection, oldest first; this one is the last. Empty without a ledger."""
    versions: Annotated[Sequence[VersionRow], WrapValidator(_rows)] = Field(default=())
    """One row a version. In Python it may come from disk: read it from its beginning, once or a few times."""
