"""What entries say, by their kind. A ledger is outside data: an entry is read whole here, or the ledger is damaged.

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
# JSON has lists; everything else must have the type that it is written with.
_Texts = Annotated[tuple[str, ...], Field(strict=False)]
# Identity and fingerprint of a storage, the digest of its manifest, and when it was last read in full, UTC; empty or
# None: by this very audit.
StorageRead = tuple[str, str, Digest, str | None]
_Storages = Annotated[tuple[Annotated[StorageRead, Field(strict=False)], ...], Field(strict=False)]

# Name, version, rule, and path or "".
_Findings = Annotated[tuple[Annotated[tuple[str, str, _Rule, str], Field(strict=False)], ...], Field(strict=False)]


class Body(BaseModel):
    """The body of one kind of entry."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")
    kind: ClassVar[Kind]

    def draft(self, registry: str, name: str = "", version: str = "", audit_id: str = "") -> Draft:
        """An entry that says this; what was left out is not written."""
        return Draft(self.kind, registry, name, version, audit_id, self.model_dump(exclude_unset=True))


class AuditStarted(Body):
    kind = Kind.AUDIT_STARTED

    options: dict[str, Any]
    listed: int
    selected: int


class StatedBaselines(BaseModel):
    """All baselines of a ledger at one moment, as an audit states them at its end."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    count: int
    digest: Digest  # over registry, name, version, number and digest of each newest acceptance, sorted


class AuditFinished(Body):
    kind = Kind.AUDIT_FINISHED

    exit_status: int
    verdicts: dict[str, int]
    listed: int
    baselines: StatedBaselines | None = None
    findings: dict[Grade, int] | None = None  # by severity, those that nobody answers for
    # Findings that others have found and told nobody of (a check, a command), and that this audit tells. None: it tells
    # nobody of anything. Where it was not recorded, by an older release, the audit is taken to have told.
    told: _Findings | None = None

    @property
    def tells(self) -> bool:
        """Whether people were told of what the audit found."""
        return self.told is not None or "told" not in self.model_fields_set


class _OfVersion(Body):
    """What tells a version from another one of its name and number."""

    creation_time_ms: int | None = None
    run_id: str | None = None

    @property
    def tells_birth(self) -> bool:
        """Whether it was recorded at all, be it that the registry did not know."""
        return "creation_time_ms" in self.model_fields_set

    def is_surely_of(self, version: RegisteredVersion, *, with_run: bool) -> bool:
        if self.creation_time_ms is None or self.creation_time_ms != version.creation_time_ms:
            return False
        return not with_run or (self.run_id or None) == (version.run_id or None)


class Read(_OfVersion):
    """What an audit said of one version."""

    kind = Kind.READING

    verdict: str
    baseline: str | None
    manifest: Digest | None  # of the registry model; None where it was not read whole
    run_manifest: Digest | None = None
    storages: _Storages = ()
    differences: Digest | None = None
    rules: _Texts = ()
    signature: str | None = None  # the status of a signature in the model; None where there is none


class Accepted(_OfVersion):
    """A baseline; with no manifest, that the version is gone on purpose."""

    kind = Kind.ACCEPTED

    manifest: Digest | None
    by: str
    reason: str
    files: int = 0
    bytes: int = 0
    source: str | None = None  # redacted
    despite: _Texts = ()
    # Whether its registered_model_meta was only MLflow's own; None where it has none, or an older release recorded it.
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
    paths: _Texts | None = None  # the files that the finding was on; None where release 0.1.0 did not record them


class RegistryNamed(Body):
    """Another address or name of a registry."""

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
    """What an entry of a known kind says.

    Raises:
        LedgerError: it is of another kind, or does not say what such an entry says.
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
    """Raises: LedgerError: its kind is unknown, or it does not say what such an entry says."""
    try:
        as_type = _BY_KIND[Kind(entry.kind)]
    except ValueError:
        raise LedgerError(
            f"entry {entry.seq} of the ledger cannot be read: it is of the unknown kind {printable(entry.kind)}"
        ) from None
    return body_of(entry, as_type)
