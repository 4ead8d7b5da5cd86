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
    model_config = ConfigDict(extra="ignore", frozen=True)


class CopyRow(_Row):
    uri: str  # as the registry records it, credentials redacted
    root: str | None  # root storage, credentials redacted; None where it could not be resolved
    manifest_digest: str | None  # None where not every byte was read
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
    expected_by: str | None  # the rule that explains it, e.g. "registered-model-meta"
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
    until: str  # UTC date, included


class FindingRow(_Row):
    rule: str
    name: str
    severity: Severity
    message: str
    remedy: str
    path: str | None = None
    first_seen: str | None = None  # UTC date; None without a ledger
    new: bool | None = None  # not open before this audit
    waived: WaiverRow | None = None  # shown, and does not make the exit status


class BaselineDifferenceRow(_Row):
    path: str
    kind: Literal["removed", "added", "content"]
    expected_by: str | None
    sizes: BaselineSizes
    digests: BaselineDigests


class VersionRow(_Row):
    name: str
    version: str
    status: str
    stage: str | None
    aliases: tuple[str, ...]
    run_id: str | None
    verdict: Verdict
    reason: str | None  # why unverifiable or skipped, in one sentence
    baseline: BaselineStatus | None  # None without a ledger
    storage: Storage
    compared_by: Literal["bytes", "digests"] | None
    run_model: CopyRow | None
    reg_model: CopyRow | None
    differences: tuple[DifferenceRow, ...]
    findings: tuple[FindingRow, ...]
    baseline_differences: tuple[BaselineDifferenceRow, ...] = ()
    accepted_at: str | None = None
    accepted_by: str | None = None
    accepted_reason: str | None = None
    accepted_now: bool | None = None  # whether this very audit accepted it; None without a ledger
    signature: str | None = None  # path of an OpenSSF Model Signing signature in the model
    signature_status: SignatureStatus | None = None  # None where there is no signature
    signature_reason: str | None = None  # one sentence
    last_read_at: str | None = None  # for `not_read`: when these bytes were last read in full


def _rows(value: Any, validated: Callable[[Any], Sequence[VersionRow]]) -> Sequence[VersionRow]:
    """Rows of a file are checked; those of an audit may be more than memory should hold, and are rows already."""
    return tuple(validated(value)) if isinstance(value, list | tuple) else value


class Coverage(_Row):
    listed: int
    audited: int  # every verdict but unverifiable and skipped
    unverifiable: int
    skipped: int
    not_sampled: int
    only_listed: int = 0  # of those not audited, looked at without reading a byte (--liveness)
    not_read: int = 0  # audited, their bytes trusted from an unchanged fingerprint (--quick)
    files_read: int
    bytes_read: int
    storages_read: int
    notes: tuple[str, ...] = ()  # what a reader must know of the listing, e.g. that it changed meanwhile


class Summary(_Row):
    verdicts: dict[Verdict, int]
    baseline: dict[BaselineStatus, int]
    findings: dict[str, int]  # rule id -> count


class Outcome(_Row):
    exit_status: int
    state: Literal["clean", "findings", "incomplete"]


class Tool(_Row):
    name: str
    version: str
    mlflow: str
    python: str


class Registry(_Row):
    tracking_uri: str  # redacted
    registry_uri: str  # redacted
    mlflow_server: str | None  # version of the server; None where there is none
    known_as: str | None = None  # what the ledger files it under: a name, or the address it was first audited under
    workspace: str | None = None  # MLflow's workspace; None for the default one


class LedgerRow(_Row):
    url: str  # redacted
    head: str  # digest of the newest entry: a copy of it elsewhere proves that the past was not rewritten
    entries: int
    audit_id: str
    accepted_new: int


class Changes(_Row):
    """Findings beside those of the audits before."""

    new: int
    known: int
    resolved: int
    waived: int
    since: str | None  # UTC; when the audit before finished


class ResolvedRow(_Row):
    name: str
    version: str
    rule: str
    path: str | None
    first_seen: str
    by: str | None = None  # what ended it, in one sentence; older reports do not say


class AuditDocument(_Row):
    schema_version: Literal[1] = SCHEMA_VERSION
    generated_at: str  # UTC, ISO 8601, ends in Z
    tool: Tool
    registry: Registry
    options: dict[str, Any]
    outcome: Outcome
    coverage: Coverage
    summary: Summary
    ledger: LedgerRow | None = None
    changes: Changes | None = None
    resolved: tuple[ResolvedRow, ...] = ()
    # Read it from its beginning, once or a few times; it may come from disk.
    versions: Annotated[Sequence[VersionRow], WrapValidator(_rows)] = Field(default=())
