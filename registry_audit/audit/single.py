"""One version, or one pair of versions, from what a person typed to what is said of it."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from registry_audit.audit.copies import Copy, CopyFailure, Role
from registry_audit.audit.in_time import in_time
from registry_audit.audit.judging import VersionAudit
from registry_audit.audit.pairing import PairAudit, compare_pair, location_of
from registry_audit.audit.session import Session
from registry_audit.audit.steps import (
    audit_version,
    compare_version,
    download_reg_model,
    download_run_model,
    fetch,
    in_a_row,
    must_resolve,
)
from registry_audit.deadline import OutOfTime
from registry_audit.errors import UsageError
from registry_audit.patience import patiently
from registry_audit.refs import Selector, parse_selector
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.versions import find_version

_MARKER = ".registry-audit-downloads"


@dataclass(frozen=True, slots=True)
class VersionPair:
    """Two versions that were found, resolved, and compared in the roles asked for."""

    resolved: tuple[ResolvedVersion, ResolvedVersion]
    pairs: tuple[PairAudit, ...]  # run models first


def check_version(session: Session, model: str, version_or_stage: str, download_dir: Path | None) -> VersionAudit:
    """Audit the one version that a person named.

    Args:
        download_dir: where the files stay, as `run_model/NAME` and `reg_model/NAME`.

    Raises:
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: it is denied, or the server cannot be read.
        UsageError: the download directory holds something else.
    """
    until, connection = session.deadline(), session.connection
    wanted = partial(find_version, connection, model, parse_selector(version_or_stage))
    version = in_time(session, lambda: patiently(wanted), deadline=until)
    if download_dir is not None:
        prepare_download_dir(download_dir)

    def row() -> VersionAudit:
        if download_dir is None:
            return audit_version(session, version)
        return in_a_row(version, lambda: _audited_and_kept(session, version, download_dir))

    return in_a_row(version, lambda: in_time(session, row, deadline=until))


def _audited_and_kept(session: Session, version: RegisteredVersion, download_dir: Path) -> VersionAudit:
    resolved = must_resolve(session, version)
    run = download_run_model(session, resolved, kept_path(download_dir, Role.RUN_MODEL, resolved))
    reg = download_reg_model(session, resolved, kept_path(download_dir, Role.REG_MODEL, resolved))
    return compare_version(session, resolved, run, reg)


def find_and_resolve(session: Session, model: str, selector: Selector) -> ResolvedVersion:
    """The version that a person named, and where its copies are.

    Raises:
        NotFound: there is no such model, version, stage or alias.
        CouldNotVerify: it is denied, or the server cannot be read.
    """

    def resolved() -> ResolvedVersion:
        return must_resolve(session, patiently(partial(find_version, session.connection, model, selector)))

    return in_time(session, resolved, deadline=session.deadline())


def compare_versions(
    sessions: tuple[Session, Session],
    resolved: tuple[ResolvedVersion, ResolvedVersion],
    roles: tuple[Role, ...],
    download_dir: Path,
    native_models: tuple[str | None, str | None] = (None, None),
) -> VersionPair:
    """Compare two resolved versions, each read through its own server.

    Raises:
        UsageError: the download directory holds something else, or neither model holds its native model.
    """
    prepare_download_dir(download_dir)
    pairs = []
    for role in roles:
        one, two = (
            _fetched(session, role, version, kept_path(download_dir, role, version, f"server_{n}"))
            for n, (session, version) in enumerate(zip(sessions, resolved, strict=True), 1)
        )
        pairs.append(compare_pair(sessions[0], role, resolved, (one, two), native_models))
    return VersionPair(resolved, tuple(pairs))


def _fetched(session: Session, role: Role, version: ResolvedVersion, keep_in: Path) -> Copy:
    location = location_of(version, role)
    try:
        return in_time(session, lambda: fetch(session, role, location, keep_in=keep_in), deadline=session.deadline())
    except OutOfTime as error:
        return CopyFailure(role, location, error.message)


def kept_path(download_dir: Path, role: Role, resolved: ResolvedVersion, server: str = "") -> Path:
    """Where a copy's files stay: `DIR/run_model[/server_1]/NAME`, NAME being the last part of its location.

    The name comes from the server: anything that is no plain file name becomes `model`.
    """
    roots = location_of(resolved, role).roots
    name = roots[-1].rstrip("/").rpartition("/")[2] if roots else ""
    plain = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    return download_dir / role.value / server / (name if plain and not name.startswith(".") else "model")


def prepare_download_dir(download_dir: Path) -> None:
    """Leave no file of an earlier download behind: a stale one would be compared as if it were new.

    Raises:
        UsageError: there are directories of those names that this program did not make.
    """
    marker = download_dir / _MARKER
    try:
        download_dir.mkdir(parents=True, exist_ok=True)
        stale = [download_dir / role.value for role in Role if (download_dir / role.value).exists()]
        if stale and not marker.is_file():
            names = " and ".join(str(path) for path in stale)
            raise UsageError(f"--download-dir: {names} is not of our making: remove it or give another directory")
        marker.touch()
        for path in stale:
            shutil.rmtree(path)
    except OSError as error:
        raise UsageError(f"--download-dir {download_dir} cannot be written: {error.strerror}") from error
