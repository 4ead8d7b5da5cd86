"""Defines the body of each kind of entry. A ledger is untrusted input: an invalid body means a damaged ledger.

Keys that later releases added have defaults, so that the entries of every release can be read.
"""

import json
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry_audit.errors import LedgerError
from registry_audit.ledger.chain import Draft, Entry, Kind
from registry_audit.printable import printable
from registry_audit.registry.version import RegisteredVersion

_B = TypeVar("_B", bound="Body")

Digest = Annotated[str, Field(pattern=r"^(sha256|blake3):[0-9a-f]{64}$")]
_Rule = Annotated[str, Field(pattern=r"^RA[0-9]{3}$")]
_Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Grade = Literal["low", "medium", "high", "critical"]
# JSON has lists where we have tuples, so these are not strict; all other types are.
_Texts = Annotated[tuple[str, ...], Field(strict=False)]
# Identity and fingerprint of a storage, the digest of its manifest, and when it was last read in full (UTC); if that is
# empty or None, the audit itself read it.
StorageRead = tuple[str, str, Digest, str | None]
_Storages = Annotated[tuple[Annotated[StorageRead, Field(strict=False)], ...], Field(strict=False)]

# Each is name, version, rule, and path or "".
_Findings = Annotated[tuple[Annotated[tuple[str, str, _Rule, str], Field(strict=False)], ...], Field(strict=False)]


class Body(BaseModel):
    """This is the base class of all entry bodies."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")
    kind: ClassVar[Kind]

    def draft(self, registry: str, name: str = "", version: str = "", audit_id: str = "") -> Draft:
        """Return an entry with this body. Fields that were not set are not written."""
        return Draft(self.kind, registry, name, version, audit_id, self.model_dump(exclude_unset=True))


class AuditStarted(Body):
    kind = Kind.AUDIT_STARTED

    options: dict[str, Any]
    listed: int
    selected: int
    # Addresses as the report shows them, and MLflow's workspace; None if an older release wrote the entry.
    tracking_uri: str | None = None
    registry_uri: str | None = None
    workspace: str | None = None


class StatedBaselines(BaseModel):
    """An audit states all baselines of the ledger at its end in this form."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    count: int
    digest: Digest  # over registry, name, version, number and digest of each newest acceptance, sorted


class AuditFinished(Body):
    kind = Kind.AUDIT_FINISHED

    exit_status: int
    verdicts: dict[str, int]
    listed: int
    baselines: StatedBaselines | None = None
    findings: dict[Grade, int] | None = None  # number of findings without a waiver, by severity
    # Findings that an earlier check or command found without notifying anybody, and of which this audit notifies
    # people. None: this audit notifies nobody. If an older release did not record it, the audit counts as having
    # notified.
    told: _Findings | None = None

    @property
    def tells(self) -> bool:
        """Say whether people were notified of the audit's findings."""
        return self.told is not None or "told" not in self.model_fields_set


class _OfVersion(Body):
    """The creation time and the run distinguish a version from another version of the same name and number."""

    creation_time_ms: int | None = None
    run_id: str | None = None

    @property
    def tells_birth(self) -> bool:
        """Say whether the creation time was recorded, even if the registry did not know it."""
        return "creation_time_ms" in self.model_fields_set

    def is_surely_of(self, version: RegisteredVersion, *, with_run: bool) -> bool:
        if self.creation_time_ms is None or self.creation_time_ms != version.creation_time_ms:
            return False
        return not with_run or (self.run_id or None) == (version.run_id or None)


class Read(_OfVersion):
    """This is the result of an audit for one version."""

    kind = Kind.READING

    verdict: str
    baseline: str | None
    manifest: Digest | None  # of the registry model; None if it was not read in full
    run_manifest: Digest | None = None
    storages: _Storages = ()
    differences: Digest | None = None
    rules: _Texts = ()
    signature: str | None = None  # status of the model's signature; None if there is none


class Accepted(_OfVersion):
    """This is a baseline. Without a manifest, it says that the version was removed on purpose."""

    kind = Kind.ACCEPTED

    manifest: Digest | None
    by: str
    reason: str
    files: int = 0
    bytes: int = 0
    source: str | None = None  # redacted
    despite: _Texts = ()
    # Whether its registered_model_meta was only MLflow's own; None if it has none or an older release recorded it.
    meta_is_mlflows: bool | None = None


class FindingOpened(Body):
    kind = Kind.FINDING_OPENED

    rule: _Rule
    path: str | None
    severity: Grade


class FindingResolved(Body):
    kind = Kind.FINDING_RESOLVED

    rule: _Rule
    path: str | None
    first_seen: str
    by: str = ""


class Waived(Body):
    kind = Kind.WAIVED

    rule: _Rule
    path: str | None
    by: str
    reason: str
    until: _Day
    run_manifest: Digest | None = None
    manifest: Digest | None = None
    differences: Digest | None = None
    paths: _Texts | None = None  # the files that the finding was on; None if release 0.1.0 wrote the entry


class RegistryNamed(Body):
    """This entry gives a registry another address or name."""

    kind = Kind.REGISTRY

    address: str | None
    name: str | None


_BY_KIND: dict[Kind, type[Body]] = {
    body.kind: body
    for body in (
        AuditStarted,
        AuditFinished,
        Read,
        Accepted,
        FindingOpened,
        FindingResolved,
        Waived,
        RegistryNamed,
    )
}


def body_of(entry: Entry, as_type: type[_B]) -> _B:
    """Parse the body of an entry of a known kind.

    Raises:
        LedgerError: the entry is of another kind, or its body is not valid for this kind.
    """
    if entry.kind != as_type.kind:
        raise LedgerError(f"entry {entry.seq} of the ledger cannot be read: it is of the kind {printable(entry.kind)}")
    try:
        return as_type.model_validate(json.loads(entry.body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(printable(str(part)) for part in first["loc"])
        why = f"{where}: {printable(first['msg'])}" if where else "its body is no JSON object"
    except (ValueError, RecursionError):
        why = "its body is no JSON"
    raise LedgerError(f"entry {entry.seq} of the ledger cannot be read: {why}")


def any_body_of(entry: Entry) -> Body:
    """Parse the body of an entry of any kind. Raises: LedgerError: its kind is unknown, or its body is not valid."""
    try:
        as_type = _BY_KIND[Kind(entry.kind)]
    except ValueError:
        raise LedgerError(
            f"entry {entry.seq} of the ledger cannot be read: it is of the unknown kind {printable(entry.kind)}"
        ) from None
    return body_of(entry, as_type)
