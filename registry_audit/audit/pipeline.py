"""Defines the steps of one version: resolve, download the run model, download the registry model, compare.

Each step is a function of values, so that a Prefect task, a thread or a test runs it in the same way. A version that
cannot be audited goes through all of them and becomes a row with its reason.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from registry_audit.audit.comparing import ComparedBy, Comparison, Explain, compare, confirm_bytes, within_one_registry
from registry_audit.audit.copies import Copy, CopyFailure, ModelCopy, Reading, Role, summary_of
from registry_audit.audit.judging import (
    VersionAudit,
    findings_of,
    judge,
    location_problems,
    model_missing,
    run_problems,
    sorted_findings,
    unresolvable,
)
from registry_audit.audit.reading import read_all, read_pair
from registry_audit.audit.session import Session, trusted_reading
from registry_audit.audit.signatures import SIGNATURE, SignatureVerifier, SignatureView, judge_signature
from registry_audit.errors import AuditError, CouldNotVerify, LedgerError, Stopped, Transient
from registry_audit.model.listing import Problem
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.redact import redact_location
from registry_audit.registry.connection import Connection
from registry_audit.registry.resolve import Location, Lost, ResolvedVersion, resolve_version
from registry_audit.registry.translate import is_foreign, reason_of, translated
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.versions import is_gone
from registry_audit.stores.base import NotSeen, Store, transfers_of
from registry_audit.stores.local import LocalStore
from registry_audit.stores.store_for_location import open_store
from registry_audit.verdict import SignatureStatus, Storage, Verdict

# `--liveness`: what can be said about a version without reading a byte, which never includes that it passes.

# The rules that an audit of listings checks, and whose findings it may therefore call resolved.
RULES_SEEN = frozenset({"RA003", "RA004", "RA005", "RA006", "RA011"})
NOT_READ = "no byte of it was read (--liveness)"


def judge_listed(resolved: ResolvedVersion, run: Copy, reg: Copy) -> VersionAudit:
    """Return a version's row from listings alone (`--liveness`): is the model there, is it about to be deleted?"""
    version, ready = resolved.version, resolved.version.status == "READY"
    copies = [copy for copy in (run, reg) if isinstance(copy, ModelCopy)]
    failures = [copy for copy in (run, reg) if isinstance(copy, CopyFailure) and copy.reason]
    one_storage = len(copies) == 2 and copies[0].identity == copies[1].identity
    empty = [copy for copy in (copies[:1] if one_storage else copies) if ready and not copy.has_mlmodel]
    problems = [
        *resolved.problems,
        *location_problems(resolved),
        *(Problem("RA009", f"{copy.role.words}: {copy.reason}") for copy in failures),
        *map(model_missing, empty),
    ]
    if resolved.run_model.through_version and resolved.storage is Storage.SEPARATE and not resolved.was_copied:
        source = printable(resolved.run_model.uri)
        problems.append(Problem("RA010", f"its source {source} now leads to another storage than its download URI"))
    problems += run_problems(resolved, any(copy.has_mlmodel for copy in copies))
    if not ready:
        problems.append(Problem("RA006", f"its status is {printable(version.status)}", blocks=False))
    blocking = [problem.message for problem in problems if problem.blocks]
    return VersionAudit(
        version=version,
        verdict=Verdict.UNVERIFIABLE if ready and blocking else Verdict.SKIPPED,
        reason=blocking[0] if ready and blocking else NOT_READ if ready else "its registration is not finished",
        storage=resolved.storage,
        run_model=summary_of(run) if isinstance(run, ModelCopy) else None,
        reg_model=summary_of(reg) if isinstance(reg, ModelCopy) else None,
        comparison=None,
        findings=findings_of(version, problems),
        retryable=any(copy.retryable for copy in failures),
        not_seen=tuple(copy.location.identity.shown for copy in failures if copy.not_seen and copy.location.identity),
        only_listed=True,
    )


_Result = TypeVar("_Result")
_DAMAGE = frozenset({"RA001", "RA003", "RA007", "RA008", "RA010"})  # how files look while they are being deleted
Resolved = ResolvedVersion | VersionAudit  # a row if resolving failed


def must_resolve(session: Session, version: RegisteredVersion) -> ResolvedVersion:
    """Resolve a version. A missing or denied copy is part of the result, not an error.

    Raises: CouldNotVerify: the server does not answer, or contradicts itself.
    """
    if version.doubt is not None:
        raise CouldNotVerify(version.doubt)
    with session.turns.given_up() if session.connection.is_http else session.turns.taken():
        return retried(lambda: resolve_version(session.connection, version, session.runs, session.downloads))


def resolve(session: Session, version: RegisteredVersion) -> Resolved:
    """Resolve a version; if it cannot be resolved, return its row."""
    return in_a_row(version, lambda: must_resolve(session, version))


def in_a_row(version: RegisteredVersion, step: Callable[[], _Result]) -> _Result | VersionAudit:
    """Return the step's result; if the step raises, a row with the reason. One version never ends an audit.

    Raises:
        Stopped, LedgerError: they end the audit, not the version.
    """
    try:
        return step()
    except (Stopped, LedgerError):
        raise
    except BaseException as error:  # hostile models meet plugins and parsers that nobody has reviewed
        if not is_foreign(error):
            raise
        return unresolvable(version, reason_of(error), retryable=isinstance(error, Transient))


def download_run_model(
    session: Session, resolved: ResolvedVersion, keep_in: Path | None = None, *, by_itself: bool = False
) -> Copy:
    """Read the run model; only list it if both copies are on local disk and will be read together.

    Args:
        keep_in: a directory to leave the files in; it is emptied first.
        by_itself: read it in any case, because it will be compared with another version's.
    """
    return fetch(
        session,
        Role.RUN_MODEL,
        resolved.run_model,
        keep_in=keep_in,
        only_listed=not keep_in and not by_itself and _local_pair(resolved),
    )


def download_reg_model(
    session: Session, resolved: ResolvedVersion, keep_in: Path | None = None, *, by_itself: bool = False
) -> Copy | None:
    """Read or list the registry model, as `download_run_model`; None if it shares the run model's storage."""
    if resolved.storage is Storage.SHARED and keep_in is None and not by_itself:
        return None
    return fetch(
        session,
        Role.REG_MODEL,
        resolved.reg_model,
        keep_in=keep_in,
        only_listed=not keep_in and not by_itself and _local_pair(resolved),
    )


def download_both(session: Session, resolved: ResolvedVersion) -> tuple[Copy, Copy | None]:
    """Download both copies. If both are streamed they are read together, so that equal bytes are digested once."""
    if resolved.storage is Storage.SHARED or session.only_list or _local_pair(resolved):
        return download_run_model(session, resolved), download_reg_model(session, resolved)
    run = list_copy(session, Role.RUN_MODEL, resolved.run_model)
    reg = list_copy(session, Role.REG_MODEL, resolved.reg_model)
    if isinstance(run, ListedCopy) and isinstance(reg, ListedCopy) and run.is_streamed and reg.is_streamed:
        one, two = _read(session, run, reg)
    else:
        one, two = (copy if isinstance(copy, CopyFailure) else _read(session, copy)[0] for copy in (run, reg))
    return one, two


def compare_version(session: Session, resolved: ResolvedVersion, run: Copy, reg: Copy | None) -> VersionAudit:
    """Compare the downloaded copies, and judge them and their signatures."""
    return _compared(session, resolved, run, reg).audit


@dataclass(frozen=True, slots=True)
class AuditedVersion:
    """Holds a version's row with the copies that it was made from."""

    audit: VersionAudit
    resolved: ResolvedVersion | None = None  # None if it could not be resolved, as the copies
    run: Copy | None = None
    reg: Copy | None = None


def _compared(session: Session, resolved: ResolvedVersion, run: Copy, reg: Copy | None) -> AuditedVersion:
    if session.only_list:
        reg = reg or _stand_in(run, resolved.reg_model)
        return AuditedVersion(judge_listed(resolved, run, reg), resolved, run, reg)
    comparison = None
    with _turn(session, resolved.run_model, resolved.reg_model):
        if reg is None:
            reg = _stand_in(run, resolved.reg_model)
        elif isinstance(run, ModelCopy) and isinstance(reg, ModelCopy):
            run, reg, comparison = compare_copies(session, run, reg, within_one_registry)
        audit = with_signature(judge(resolved, run, reg, comparison), run, reg, session.signatures)
        return AuditedVersion(_unless_deleted(session, resolved, audit), resolved, run, reg)


def _unless_deleted(session: Session, resolved: ResolvedVersion, audit: VersionAudit) -> VersionAudit:
    """Skip a version that was deleted after it was listed: it is no damaged model, and nobody can ask for it any more.

    Its files may disappear before they are listed, while they are read, or in between. If it was accepted, the ledger
    turns the row into that of a vanished version.
    """
    damaged = any(finding.rule in _DAMAGE for finding in audit.findings)
    unread = audit.verdict is Verdict.UNVERIFIABLE and not audit.retryable
    if not (damaged or unread or resolved.reg_model.lost is Lost.VERSION):
        return audit
    version = audit.version
    try:
        if not is_gone(session.connection, version.name, version.version):
            return audit
    except AuditError:
        return audit
    reason = "it was deleted from the registry while the audit ran"
    return VersionAudit(version, Verdict.SKIPPED, reason, Storage.UNKNOWN, None, None, None, (), deleted_meanwhile=True)


def audit_version(session: Session, version: RegisteredVersion) -> VersionAudit:
    """Run all steps of one version and return its row, even if a step raises."""
    return audit_with_copies(session, version).audit


def audit_with_copies(session: Session, version: RegisteredVersion) -> AuditedVersion:
    """Audit one version for a caller that needs more of the copies than a row keeps."""
    began = time.monotonic()
    resolved = resolve(session, version)
    found: AuditedVersion | VersionAudit = (
        resolved
        if isinstance(resolved, VersionAudit)
        else in_a_row(version, lambda: _audit_resolved(session, resolved))
    )
    audited = AuditedVersion(found) if isinstance(found, VersionAudit) else found
    seconds = round(time.monotonic() - began, 3)
    return replace(audited, audit=replace(audited.audit, seconds=seconds))


def _audit_resolved(session: Session, resolved: ResolvedVersion) -> AuditedVersion:
    with _turn(session, resolved.run_model, resolved.reg_model):
        run, reg = download_both(session, resolved)
        return _compared(session, resolved, run, reg)


def compare_copies(
    session: Session, left: ModelCopy, right: ModelCopy, explain: Explain
) -> tuple[ModelCopy, ModelCopy, Comparison]:
    """Read and compare both copies: byte for byte if both are on local disk, else by digest."""
    by: ComparedBy = "digests"
    if left.reading is None or right.reading is None:
        left, right = _read_together(session, left, right)
        trusted = any(copy.reading and copy.reading.trusted_since for copy in (left, right))
        by = "digests" if trusted else "bytes"
    elif left.directory and right.directory:
        left = confirm_bytes(left, right, pulse=session.pulse)
        by = "bytes"
    return left, right, compare(left, right, explain, by=by)


def _read_together(session: Session, left: ModelCopy, right: ModelCopy) -> tuple[ModelCopy, ModelCopy]:
    stores = _local_store(session.connection, left), _local_store(session.connection, right)

    def read() -> tuple[Reading, ...]:
        one, two = left.listing, right.listing
        return read_pair(stores[0], one, stores[1], two, session.algorithm, pulse=session.pulse, turns=session.turns)

    quick = [trusted_reading(session, store, copy) for store, copy in zip(stores, (left, right), strict=True)]
    if quick[0] is not None and quick[1] is not None:
        return replace(left, reading=quick[0]), replace(right, reading=quick[1])
    parts = (left.identity.key, left.listing), (right.identity.key, right.listing)
    first, second = session.readings.once(parts, session.algorithm, read)
    return replace(left, reading=first), replace(right, reading=second)


def fetch(
    session: Session, role: Role, location: Location, *, keep_in: Path | None = None, only_listed: bool = False
) -> Copy:
    """List and read one copy."""
    with _turn(session, location):
        listed = list_copy(session, role, location, keep_in)
        if isinstance(listed, CopyFailure):
            return listed
        return listed.copy if only_listed or session.only_list else _read(session, listed, keep_in=keep_in)[0]


@dataclass(frozen=True, slots=True)
class ListedCopy:
    """Holds a copy that was listed and not read yet, with the store that reads it."""

    store: Store
    copy: ModelCopy

    @property
    def is_streamed(self) -> bool:
        return transfers_of(self.store) is not None


def list_copy(
    session: Session, role: Role, location: Location, keep_in: Path | None = None
) -> ListedCopy | CopyFailure:
    """List one copy within the limits of the session.

    Args:
        keep_in: where its files will be kept.
    """
    if not location.roots:
        return CopyFailure(role, location, "")
    try:
        with translated(f"open the storage {printable(redact_location(location.uri))}"):
            store = open_store(session.connection, location, session.runs)
        listing = retried(store.root_listing if session.only_list else lambda: store.listing(session.limits))
    except (Stopped, LedgerError):
        raise
    except Exception as error:  # noqa: BLE001 - the other copy can still be looked at
        return _failure(role, location, error)
    directory = keep_in or store.directory
    return ListedCopy(
        store, ModelCopy(role, location, store.identity, listing, None, str(directory) if directory else None)
    )


def _read(session: Session, *listed: ListedCopy, keep_in: Path | None = None) -> tuple[Copy, ...]:
    """Read one listed copy, or two together, unless another thread reads or has read them."""
    try:
        known = [None if keep_in else trusted_reading(session, one.store, one.copy) for one in listed]
        unread = [one for one, reading in zip(listed, known, strict=True) if reading is None]

        def read(positions: Sequence[int]) -> tuple[Reading, ...]:
            return _readings(session, [unread[position] for position in positions], keep_in)

        parts = tuple((one.copy.identity.key, one.copy.listing) for one in unread)
        readings = read(range(len(unread))) if keep_in else session.readings.each_once(parts, session.algorithm, read)
        fresh = iter(readings)
        return tuple(replace(one.copy, reading=found or next(fresh)) for one, found in zip(listed, known, strict=True))
    except (Stopped, LedgerError):
        raise
    except Exception as error:  # noqa: BLE001 - see `list_copy`
        return tuple(_failure(one.copy.role, one.copy.location, error) for one in listed)


def _readings(session: Session, listed: Sequence[ListedCopy], keep_in: Path | None) -> tuple[Reading, ...]:
    algorithm, pulse, turns = session.algorithm, session.pulse, session.turns
    if len(listed) == 2:
        one, two = listed
        return read_pair(one.store, one.copy.listing, two.store, two.copy.listing, algorithm, pulse=pulse, turns=turns)
    return tuple(
        read_all(each.store, each.copy.listing, algorithm, pulse=pulse, turns=turns, keep_in=keep_in) for each in listed
    )


def _failure(role: Role, location: Location, error: Exception) -> CopyFailure:
    return CopyFailure(role, location, reason_of(error), isinstance(error, Transient), isinstance(error, NotSeen))


def _stand_in(run: Copy, location: Location) -> Copy:
    """Return the registry model if it shares the storage that was read as the run model."""
    if isinstance(run, CopyFailure):
        return CopyFailure(Role.REG_MODEL, location, "")
    return replace(run, role=Role.REG_MODEL, location=location)


def _local_pair(resolved: ResolvedVersion) -> bool:
    locations = (resolved.run_model, resolved.reg_model)
    return resolved.storage is not Storage.SHARED and all(
        len(location.storages) == 1 and location.storages[0].is_directory for location in locations
    )


def _turn(session: Session, *locations: Location) -> AbstractContextManager[None]:
    """Take a turn for local disks; give the turn up for anything that waits for a server."""
    local = all(storage.is_directory for location in locations for storage in location.storages)
    return session.turns.taken() if local else session.turns.given_up()


def _local_store(connection: Connection, copy: ModelCopy) -> LocalStore:
    store = open_store(connection, copy.location)
    if not isinstance(store, LocalStore):
        raise TypeError("only local copies wait for their pair")
    return store


# The signatures in a version's copies, and their findings.


def with_signature(audit: VersionAudit, run: Copy, reg: Copy, verifier: SignatureVerifier | None) -> VersionAudit:
    """Return the row with the status of its signature, the worse one if both copies have one.

    A missing signature is no finding, because nobody promised one.
    """
    copies = [copy for copy in _copies(audit, run, reg) if isinstance(copy, ModelCopy)]
    judged = [(copy, view) for copy in copies if (view := judge_signature(copy, verifier))]
    if not judged:
        return audit
    copy, worst = max(judged, key=lambda pair: pair[1].status.rank)
    if audit.storage is not Storage.SHARED:
        worst = SignatureView(worst.status, f"{copy.role.words}: {worst.reason}")
    findings = findings_of(audit.version, _problems(copy, worst))
    return replace(audit, signature=worst, findings=sorted_findings((*audit.findings, *findings)))


def _copies(audit: VersionAudit, run: Copy, reg: Copy) -> tuple[Copy, ...]:
    """Return the copies to look at, the registry model first, because that is what the version serves."""
    one_storage = audit.storage is Storage.SHARED and isinstance(reg, ModelCopy)
    return (reg,) if one_storage else (reg, run)


def _problems(copy: ModelCopy, view: SignatureView) -> list[Problem]:
    match view.status:
        case SignatureStatus.INVALID:
            return [Problem("RA014", f"its signature does not hold: {view.reason}", SIGNATURE, blocks=False)]
        # Anything that was not read has a finding of its own already.
        case SignatureStatus.UNVERIFIABLE if not any(problem.blocks for problem in copy.problems):
            return [Problem("RA009", f"its signature cannot be verified: {view.reason}", SIGNATURE, blocks=False)]
        case _:
            return []
