"""Checks one version, or compares two on one or two servers, that a person named: `check` and `compare`."""

import json
import os
import posixpath
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from registry_audit.audit.comparing import Comparison, across_servers, compare
from registry_audit.audit.copies import Copy, CopyFailure, ModelCopy, Role
from registry_audit.audit.judging import (
    Finding,
    VersionAudit,
    findings_of,
    judge_one_copy,
    problems_of_copy,
    sorted_findings,
    verdict_of,
)
from registry_audit.audit.pipeline import (
    audit_version,
    compare_copies,
    compare_version,
    download_reg_model,
    download_run_model,
    fetch,
    in_a_row,
    must_resolve,
)
from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import CouldNotVerify, Stopped, UsageError
from registry_audit.model.listing import Problem
from registry_audit.model.mlmodel import must_not_be_in_a_model
from registry_audit.net.deadline import OutOfTime
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.refs import Selector, parse_selector
from registry_audit.registry.resolve import Location, ResolvedVersion
from registry_audit.registry.storage import StorageIdentity, may_be_one, storage_identity
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.versions import find_version, recorded_sources
from registry_audit.rules import LINEAGE_MISMATCH
from registry_audit.verdict import Severity, Storage, Verdict

_MARKER = ".registry-audit-downloads"
_BOTH = tuple(Role)


@dataclass(frozen=True, slots=True)
class PairAudit:
    """Compares one role's two copies, one from each server."""

    role: Role
    verdict: Verdict
    reason: str | None
    storage: Storage
    copies: tuple[Copy, Copy]  # narrowed to the native models if those were asked for
    comparison: Comparison | None
    findings: tuple[tuple[Finding, ...], tuple[Finding, ...]]  # of each server's version

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        return self.findings[0] + self.findings[1]


@dataclass(frozen=True, slots=True)
class VersionPair:
    """Holds two versions that were found, resolved, and compared in the requested roles."""

    resolved: tuple[ResolvedVersion, ResolvedVersion]
    pairs: tuple[PairAudit, ...]  # run models first
    versions: tuple[VersionAudit, VersionAudit]  # each by itself, as `check` would report it; see `judge_by_itself`

    def said_of(self, index: int) -> tuple[Finding, ...]:
        """Return the findings of one version, each once, even if several copies have it; the pairs' first."""
        of_pairs = (finding for pair in self.pairs for finding in pair.findings[index])
        return tuple(dict.fromkeys((*of_pairs, *self.beside_the_pairs(index))))

    def beside_the_pairs(self, index: int) -> tuple[Finding, ...]:
        """Return findings about one version alone: its two copies differ, or its bytes differ from its baseline."""
        said = {_what(finding) for pair in self.pairs for finding in pair.findings[index]}
        return tuple(finding for finding in self.versions[index].findings if _what(finding) not in said)

    def with_versions(self, one: VersionAudit, two: VersionAudit) -> "VersionPair":
        """Return the pair with these rows and their findings' history. A finding keeps its severity in a pair."""
        known = [{_what(finding): finding for finding in row.findings} for row in (one, two)]
        pairs = []
        for pair in self.pairs:
            first, second = (
                tuple(replace(life.get(_what(finding), finding), severity=finding.severity) for finding in found)
                for life, found in zip(known, pair.findings, strict=True)
            )
            pairs.append(replace(pair, findings=(first, second)))
        return replace(self, pairs=tuple(pairs), versions=(one, two))


def _what(finding: Finding) -> tuple[str, str | None, str]:
    return finding.rule, finding.path, finding.message


def check_version(session: Session, model: str, version_or_stage: str, download_dir: Path | None) -> VersionAudit:
    """Audit the one version that a person named.

    Args:
        download_dir: where the files stay, as `run_model/NAME` and `reg_model/NAME`.

    Raises:
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: the version is denied, or the server cannot be read.
        UsageError: the download directory holds something else.
    """
    until, connection = session.deadline(), session.connection
    wanted = partial(find_version, connection, model, parse_selector(version_or_stage))
    version = in_time(session, lambda: retried(wanted), deadline=until)
    if download_dir is not None:
        prepare_download_dir(download_dir)

    def row() -> VersionAudit:
        if download_dir is None:
            return audit_version(session, version)
        return in_a_row(version, lambda: _audited_and_kept(session, version, download_dir))

    return in_a_row(version, lambda: in_time(session, row, deadline=until))


def _audited_and_kept(session: Session, version: RegisteredVersion, download_dir: Path) -> VersionAudit:
    resolved = must_resolve(session, version)
    empty_download_dir(download_dir, (session,), resolved)
    run = download_run_model(session, resolved, kept_path(download_dir, Role.RUN_MODEL, resolved))
    reg = download_reg_model(session, resolved, kept_path(download_dir, Role.REG_MODEL, resolved))
    return compare_version(session, resolved, run, reg)


def find_and_resolve(session: Session, model: str, selector: Selector) -> ResolvedVersion:
    """Find the version that a person named, and resolve where its copies are.

    Raises:
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: the version is denied, or the server cannot be read.
    """

    def resolved() -> ResolvedVersion:
        return must_resolve(session, retried(partial(find_version, session.connection, model, selector)))

    return in_time(session, resolved, deadline=session.deadline())


def compare_versions(
    sessions: tuple[Session, Session],
    resolved: tuple[ResolvedVersion, ResolvedVersion],
    roles: tuple[Role, ...],
    download_dir: Path | None,
    native_models: tuple[str | None, str | None] = (None, None),
) -> VersionPair:
    """Compare two resolved versions, each read through its own server.

    Args:
        download_dir: where the files stay, as `run_model/server_1/NAME` and so on; None keeps none.

    Raises:
        UsageError: the download directory holds something else, or neither model holds its native model.
    """
    if download_dir is not None:
        prepare_download_dir(download_dir)
        empty_download_dir(download_dir, sessions, *resolved, roles=roles)
    pairs, copies = [], (dict[Role, Copy](), dict[Role, Copy]())
    for role in roles:
        for n, (session, version) in enumerate(zip(sessions, resolved, strict=True), 1):
            kept = kept_path(download_dir, role, version, f"server_{n}")
            copies[n - 1][role] = _fetched(session, role, version, kept)
        both = copies[0][role], copies[1][role]
        pairs.append(compare_pair(sessions[0], role, resolved, both, native_models))
    one, two = map(judge_by_itself, sessions, resolved, copies)
    return VersionPair(resolved, tuple(pairs), (one, two))


def judge_by_itself(session: Session, resolved: ResolvedVersion, copies: Mapping[Role, Copy]) -> VersionAudit:
    """Return the row of one of two versions, from the copies that the comparison has read.

    If a separate copy was skipped, the row is `skipped`, and reports only on the other copy.
    """
    run, reg = copies.get(Role.RUN_MODEL), copies.get(Role.REG_MODEL)
    if resolved.storage is Storage.SHARED and run is None and reg is not None:
        run, reg = replace(reg, role=Role.RUN_MODEL, location=resolved.run_model), None
    if run is not None and (reg is not None or resolved.storage is Storage.SHARED):
        whole = run  # never reassigned, so its type holds in the lambda
        return in_a_row(resolved.version, lambda: compare_version(session, resolved, whole, reg))
    (only,) = copies.values()
    return in_a_row(resolved.version, lambda: judge_one_copy(resolved, only))


def _fetched(session: Session, role: Role, version: ResolvedVersion, keep_in: Path | None) -> Copy:
    location = location_of(version, role)
    try:
        return in_time(session, lambda: fetch(session, role, location, keep_in=keep_in), deadline=session.deadline())
    except OutOfTime as error:
        return CopyFailure(role, location, error.message)


def kept_path(download_dir: Path | None, role: Role, resolved: ResolvedVersion, server: str = "") -> Path | None:
    """Return where a copy's files stay: `DIR/run_model[/server_1]/NAME`, where NAME is the last part of its location.

    The name comes from the server: anything that is no plain file name becomes `model`. The result is None without a
    download directory.
    """
    if download_dir is None:
        return None
    location = location_of(resolved, role)
    root = location.roots[-1] if location.roots else ""
    # A copy that is reached by a version's name has a location of its own nevertheless.
    name = (location.uri if root.startswith("models:/") else root).rstrip("/").rpartition("/")[2]
    plain = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    return download_dir / role.value / server / (name if plain and not name.startswith(".") else "model")


def prepare_download_dir(download_dir: Path) -> None:
    """Create the download directory, or check that its contents may be replaced.

    Raises:
        UsageError: it is in a model, or it has directories of those names that this program did not make or that
            somebody changed since.
    """
    try:
        must_not_be_in_a_model(download_dir, f"--download-dir {download_dir}")
        download_dir.mkdir(parents=True, exist_ok=True)
        _earlier_downloads(download_dir)
    except OSError as error:
        raise UsageError(f"--download-dir {download_dir} cannot be written: {error.strerror}") from error


def empty_download_dir(
    download_dir: Path, sessions: Iterable[Session], *versions: ResolvedVersion, roles: Iterable[Role] = _BOTH
) -> None:
    """Remove the files of an earlier download, and make the directories of this one.

    A stale file would be compared as if it were new.

    Args:
        sessions: sessions of the registries. One of them may have a version that was registered from an earlier
            download.
        versions: the versions that will be downloaded.
        roles: the copies of them that will be downloaded.

    Raises:
        UsageError: the directory is in the model of one of these versions, or an earlier download is now a registered
            model, or somebody else made or changed what would be removed.
    """
    here = download_dir.resolve()
    for storage in (s for v in versions for location in (v.run_model, v.reg_model) for s in location.storages):
        if (storage.is_directory and here.is_relative_to(storage.path)) or _is_earlier_download(here, storage):
            raise UsageError(
                f"--download-dir {download_dir} is where {printable(storage.path)} is kept, the model itself: give "
                "another directory"
            )
    stale = _earlier_downloads(download_dir)
    for session in sessions if stale else ():
        if (label := _registered_from(session, download_dir)) is not None:
            raise UsageError(
                f"--download-dir {download_dir} holds the model of {printable(label)}, which was registered from an "
                "earlier download: give another directory"
            )
    try:
        for path in stale:
            shutil.rmtree(path)
        for n, version in enumerate(versions, 1):
            for role in roles:
                place = kept_path(download_dir, role, version, f"server_{n}" if len(versions) > 1 else "")
                if place is not None and location_of(version, role).roots:
                    place.mkdir(parents=True)
        _note_downloads(download_dir)
    except OSError as error:
        raise UsageError(f"--download-dir {download_dir} cannot be written: {error.strerror}") from error


def _is_earlier_download(here: Path, storage: StorageIdentity) -> bool:
    return storage.is_directory and any(Path(storage.path).is_relative_to(here / role.value) for role in Role)


def _registered_from(session: Session, download_dir: Path) -> str | None:
    """Return the first version of the registry whose source is an earlier download; None if there is none.

    Raises: UsageError: the registry does not say.
    """
    connection, here = session.connection, download_dir.resolve()
    if connection.copies_models:  # such a registry does not use the source any more
        return None
    try:
        for label, source in recorded_sources(connection):
            with suppress(CouldNotVerify):  # the source is not read from this machine
                if _is_earlier_download(here, storage_identity(source, connection.tracking_uri)):
                    return label
    except (CouldNotVerify, UsageError) as error:
        raise UsageError(
            f"--download-dir {download_dir} holds an earlier download, and it cannot be seen whether a model was "
            f"registered from it ({error.message}): give another directory"
        ) from error
    return None


def _earlier_downloads(download_dir: Path) -> list[Path]:
    """List the directories of an earlier download.

    Raises:
        UsageError: one of them is not as a download made it, so it may be somebody else's.
        OSError: it cannot be read.
    """
    found = [download_dir / role.value for role in Role if os.path.lexists(download_dir / role.value)]
    marker, made = download_dir / _MARKER, dict[str, list[int]]()
    is_by_name = False
    if os.path.lexists(marker):
        try:
            if marker.is_symlink() or not marker.is_file():
                raise ValueError(marker)
            text = marker.read_text(encoding="ascii")
            is_by_name = not text  # by 0.1.0, which noted nothing
            made = dict(json.loads(text or "{}"))
        except (ValueError, TypeError):
            found.append(marker)
    others = [
        path
        for path in found
        if not stat.S_ISDIR(path.lstat().st_mode) or not (is_by_name or made.get(path.name) == _identity(path))
    ]
    if others:
        names = " and ".join(str(path) for path in others)
        raise UsageError(
            f"--download-dir: {names} was not made by an earlier download, or was changed since: remove it or give "
            "another directory"
        )
    return found


def _note_downloads(download_dir: Path) -> None:
    """Note which directories are ours, in a new file: a symlink in its place is not followed."""
    marker = download_dir / _MARKER
    made = {role.value: _identity(place) for role in Role if (place := download_dir / role.value).is_dir()}
    marker.unlink(missing_ok=True)
    with marker.open("x", encoding="ascii") as opened:
        json.dump(made, opened)


def _identity(directory: Path) -> list[int]:
    """Return what tells a directory from another of its name, and from itself after an entry was added or removed."""
    found = directory.lstat()  # without the device, whose number may change when the machine restarts
    return [found.st_ino, found.st_mtime_ns]


# The comparison of two versions.


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
    """Return the findings of one side. A difference in the run that `MLmodel` names only gets severity low."""
    findings = findings_of(version, problems)
    return sorted_findings(replace(f, severity=Severity.LOW) if f.rule == LINEAGE_MISMATCH.id else f for f in findings)


def _narrowed_pair(
    left: ModelCopy, right: ModelCopy, native_models: tuple[str | None, str | None]
) -> tuple[ModelCopy, ModelCopy]:
    # In its shortest form, as listings spell paths: MLflow joins it to a directory, where `a//b` is `a/b`.
    one, two = (native and posixpath.normpath(native.strip("/")) for native in native_models)
    narrowed = _narrowed(left, one, one or two or ""), _narrowed(right, two, one or two or "")
    if not any(copy.listing.files for copy in narrowed):
        raise UsageError(f"native_model '{printable(native_models[0] or native_models[1] or '')}' is in neither model")
    return narrowed


def _narrowed(copy: ModelCopy, native: str | None, shown_as: str) -> ModelCopy:
    """Narrow a copy to what is at or under `native`, renamed to the first server's name, so that the two line up.

    A renamed copy keeps no content of root files: its `MLmodel` may be another file than the root `MLmodel` was, and
    the content of that one would explain a difference in this one.
    """
    if native is None:
        return copy

    def renamed(path: str) -> str | None:
        inside = path == native or path.startswith(native + "/")
        return shown_as + path[len(native) :] if inside else None

    files = tuple(replace(f, path=new) for f in copy.listing.files if (new := renamed(f.path)) is not None)
    unsafe = tuple(new for path in copy.listing.unsafe if (new := renamed(path)) is not None)
    listing = replace(copy.listing, files=files, unsafe=unsafe, empty_directories=())
    if copy.reading is None:
        raise ValueError("a copy is narrowed after it was read")
    entries = tuple(replace(e, path=new) for e in copy.reading.entries if (new := renamed(e.path)) is not None)
    reading = replace(copy.reading, entries=entries)
    if native != shown_as:
        reading = replace(reading, mlmodel=None, meta=None, signature=None)
    return replace(copy, listing=listing, reading=reading, native=native)
