"""Two versions, on one or two tracking servers: is what they wrap the same model?"""

from dataclasses import dataclass, replace

from registry_audit.audit.allowed_differences import across_servers
from registry_audit.audit.comparing import Comparison, compare
from registry_audit.audit.copies import Copy, ModelCopy, Role
from registry_audit.audit.judging import Finding, findings_of, problems_of_copy, sorted_findings, verdict_of
from registry_audit.audit.pipeline import compare_copies
from registry_audit.audit.session import Session
from registry_audit.errors import Stopped, UsageError
from registry_audit.model.listing import Problem
from registry_audit.printable import printable
from registry_audit.registry.resolve import Location, ResolvedVersion
from registry_audit.registry.storage import may_be_one
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import RegisteredVersion
from registry_audit.rules import LINEAGE_MISMATCH
from registry_audit.verdict import Severity, Storage, Verdict


@dataclass(frozen=True, slots=True)
class PairAudit:
    """One role's two copies, one from each server."""

    role: Role
    verdict: Verdict
    reason: str | None
    storage: Storage
    copies: tuple[Copy, Copy]  # narrowed to the native models where those were asked for
    comparison: Comparison | None
    findings: tuple[tuple[Finding, ...], tuple[Finding, ...]]  # of each server's version

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        return self.findings[0] + self.findings[1]


def location_of(resolved: ResolvedVersion, role: Role) -> Location:
    return resolved.run_model if role is Role.RUN_MODEL else resolved.reg_model


def compare_pair(
    session: Session,
    role: Role,
    resolved: tuple[ResolvedVersion, ResolvedVersion],
    copies: tuple[Copy, Copy],
    native_models: tuple[str | None, str | None] = (None, None),
) -> PairAudit:
    """Compare one role's copies of two versions.

    Args:
        copies: as downloaded, each from its own server.
        native_models: one file or directory inside each model to compare; None compares the whole model.

    Raises:
        UsageError: neither model holds its native model.
    """
    try:
        return _compared(session, role, resolved, copies, native_models)
    except (Stopped, UsageError):
        raise
    except Exception as error:  # noqa: BLE001 - hostile models meet parsers that nobody has read
        reason = reason_of(error)
        one, two = (findings_of(version.version, [Problem("RA009", reason)]) for version in resolved)
        return PairAudit(role, Verdict.UNVERIFIABLE, reason, Storage.UNKNOWN, copies, None, (one, two))


def _compared(
    session: Session,
    role: Role,
    resolved: tuple[ResolvedVersion, ResolvedVersion],
    copies: tuple[Copy, Copy],
    native_models: tuple[str | None, str | None],
) -> PairAudit:
    left, right = copies
    comparison, storage = None, Storage.UNKNOWN
    if isinstance(left, ModelCopy) and isinstance(right, ModelCopy):
        unseen = Storage.UNKNOWN if may_be_one(left.identity, right.identity) else Storage.SEPARATE
        storage = Storage.SHARED if left.identity == right.identity else unseen
        left, right, comparison = compare_copies(session, left, right, across_servers)
        storage = Storage.SHARED if comparison.linked_count else storage
    # After comparing, which may find that a file changed on disk since it was read.
    problems = [problems_of_copy(version, copy) for version, copy in zip(resolved, (left, right), strict=True)]
    has_model = all(isinstance(copy, ModelCopy) and copy.has_mlmodel for copy in (left, right))
    if any(native_models) and isinstance(left, ModelCopy) and isinstance(right, ModelCopy):
        left, right = _narrowed_pair(left, right, native_models)
        comparison = compare(left, right, across_servers, by=comparison.compared_by if comparison else "digests")
    ready = all(version.version.status == "READY" for version in resolved)
    verdict, reason = verdict_of(
        problems[0] + problems[1],
        differ=bool(comparison and comparison.unexpected),
        ready=ready,
        has_model=has_model,
        storage=storage,
        comparison=comparison,
    )
    findings = tuple(_weighed(version.version, found) for version, found in zip(resolved, problems, strict=True))
    return PairAudit(role, verdict, reason, storage, (left, right), comparison, (findings[0], findings[1]))


def _weighed(version: RegisteredVersion, problems: list[Problem]) -> tuple[Finding, ...]:
    """The findings of one side. Which run `MLmodel` names is no difference between the sides: it is only said."""
    findings = findings_of(version, problems)
    return sorted_findings(replace(f, severity=Severity.LOW) if f.rule == LINEAGE_MISMATCH.id else f for f in findings)


def _narrowed_pair(
    left: ModelCopy, right: ModelCopy, native_models: tuple[str | None, str | None]
) -> tuple[ModelCopy, ModelCopy]:
    one, two = native_models
    narrowed = _narrowed(left, one, one or two or ""), _narrowed(right, two, one or two or "")
    if not any(copy.listing.files for copy in narrowed):
        raise UsageError(f"native_model '{printable(one or two or '')}' is in neither model")
    return narrowed


def _narrowed(copy: ModelCopy, native: str | None, shown_as: str) -> ModelCopy:
    """Only what lies at or under `native`, under the first server's name for it, so that the two line up."""
    if native is None:
        return copy
    native = native.strip("/")

    def renamed(path: str) -> str | None:
        inside = path == native or path.startswith(native + "/")
        return shown_as.strip("/") + path[len(native) :] if inside else None

    files = tuple(replace(f, path=new) for f in copy.listing.files if (new := renamed(f.path)) is not None)
    unsafe = tuple(new for path in copy.listing.unsafe if (new := renamed(path)) is not None)
    listing = replace(copy.listing, files=files, unsafe=unsafe, empty_directories=())
    if copy.reading is None:
        raise ValueError("a copy is narrowed after it was read")
    entries = tuple(replace(e, path=new) for e in copy.reading.entries if (new := renamed(e.path)) is not None)
    return replace(copy, listing=listing, reading=replace(copy.reading, entries=entries), native=native)
