"""Downloads a registry model and compares it with its accepted baseline while the bytes arrive."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from registry_audit.audit.comparing import Difference, Kind, explains_meta
from registry_audit.audit.copies import (
    META_FILE,
    Copy,
    CopyFailure,
    ModelCopy,
    Role,
    is_written_by_mlflow,
)
from registry_audit.audit.judging import problems_of_copy
from registry_audit.audit.pipeline import list_copy, must_resolve
from registry_audit.audit.reading import read_all
from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import AuditError, CouldNotVerify, NotFound
from registry_audit.ledger.assess import baseline_differences
from registry_audit.ledger.connecting import remember
from registry_audit.ledger.identity import recognise, versions_to_recognise
from registry_audit.ledger.memory import Baseline, Memory, learn
from registry_audit.ledger.store import Ledger
from registry_audit.ledger.version_history import Renamed
from registry_audit.model.listing import ListedFile, Listing, illegal_path, make_listing
from registry_audit.model.manifest import Manifest, ManifestEntry, manifest_of
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.pulling.place import Place, place_for
from registry_audit.refs import Selector, parse_selector
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.registry.translate import reason_of
from registry_audit.registry.version import RegisteredVersion
from registry_audit.registry.versions import find_version
from registry_audit.verdict import ExitStatus

# The baseline of one version in the ledger. The ledger is only read.


class NoBaseline(CouldNotVerify):
    """Nobody has accepted bytes for the version, so there is nothing to compare it with."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Describes the bytes that somebody accepted for a version."""

    manifest: Manifest
    baseline: Baseline


def accepted_for(
    ledger: Ledger,
    identity: str,
    registry_name: str | None,
    version: RegisteredVersion,
    everything: Sequence[RegisteredVersion],
) -> Accepted:
    """Return the baseline of a version.

    Args:
        identity: identity of the registry's address.
        registry_name: as given with `--registry-name`.
        everything: versions that show which registry it is; see `versions_to_recognise`.

    Raises:
        NoBaseline: there is none, or it is of another version that had this name and number.
        CouldNotVerify: its files cannot be in one directory on every file system.
        UsageError: the registry may be a copy of one that the ledger knows; `--registry-name` has to say.
        LedgerError: the ledger is unusable.
    """
    key, label = version.ledger_key, printable(version.label)
    with ledger.reading() as reader:
        if (head := reader.head()) is not None:
            remember(ledger, head)
        registry, memory = recognise(reader, identity, registry_name, everything).key, Memory()
        learn(memory, reader, registry, (key,))
        baseline = memory.baselines.get(key)
        if baseline is None or not baseline.is_of(version):
            baseline = Renamed(reader, registry, (version,)).former_name(version) or baseline
        if baseline is None or baseline.manifest is None:
            gone = "was accepted as gone" if baseline is not None else "has no baseline"
            raise NoBaseline(
                f"{label} {gone} in the ledger {ledger.url}: audit it, look at the report, then accept it with "
                f"registry-audit baseline accept {shlex.quote(label)} --reason TEXT"
            )
        if not baseline.is_of(version):
            raise NoBaseline(
                f"{label} is not the version that was accepted on {baseline.at[:10]}: another one was created under "
                "its name and number"
            )
        manifest = reader.manifest(baseline.manifest)
    _must_fit_a_directory(manifest, label)
    return Accepted(manifest, baseline)


def _must_fit_a_directory(manifest: Manifest, label: str) -> None:
    for entry in manifest.entries:
        if reason := illegal_path(entry.path):
            raise CouldNotVerify(f"{label} cannot be pulled: '{printable(entry.path)}' {reason}")
    for problem in make_listing([ListedFile(entry.path, entry.size) for entry in manifest.entries]).problems:
        raise CouldNotVerify(f"{label} cannot be pulled: {problem.message}")


_CERTAIN = ("RA003", "RA013")  # certainly not what was accepted: gone, or an entry that nobody could accept


@dataclass(frozen=True, slots=True)
class Pulled:
    """Describes a registry model whose files were compared with its accepted baseline, byte for byte."""

    name: str
    version: str
    path: Path  # the directory that holds it
    file_count: int
    byte_count: int
    manifest: str  # digest of the accepted manifest
    accepted_at: str  # UTC
    accepted_by: str
    reason: str  # why they accepted it
    expected: tuple[Difference, ...] = ()  # differences from the baseline that a named rule explains

    def __fspath__(self) -> str:
        return str(self.path)


class NotAsAccepted(AuditError):
    """The registry model is not what was accepted. Nothing was left in the output."""

    exit_status = ExitStatus.FINDINGS

    def __init__(self, message: str, differences: tuple[Difference, ...] = ()) -> None:
        """
        Args:
            differences: left is what was accepted, right what the registry serves; sorted by path. Digests are missing
                if the listing alone shows the difference.
        """
        super().__init__(message)
        self.differences = differences

    def __reduce__(self) -> tuple[type, tuple[str, tuple[Difference, ...]]]:
        return type(self), (self.message, self.differences)


def pull_version(
    session: Session,
    ledger: Ledger,
    registry_name: str | None,
    model: str,
    version_or_stage: str,
    output: Path,
    on_begin: Callable[[int], None] = lambda byte_count: None,
) -> Pulled:
    """Download the registry model of a version; it is put into `output` only if it is what was accepted.

    Every byte is read. Nothing is loaded, and nothing is written to the registry, its storage or the ledger.

    Args:
        registry_name: as given with `--registry-name`.
        output: an empty directory, or one that does not exist yet.
        on_begin: called with the number of bytes to come, before the first of them.

    Raises:
        NotAsAccepted: the model differs from its baseline, or is gone.
        CouldNotVerify: it has no baseline, could not be read, or changed meanwhile.
        UsageError: there is no such version, or the output cannot be made or is not empty.
        LedgerError: the ledger is unusable.
    """
    selector = parse_selector(version_or_stage)
    pull = _Pull(session, ledger, registry_name, model, selector, on_begin)
    with place_for(output) as place:
        pulled, entries = in_time(session, partial(pull.into, place), deadline=session.deadline())
        # Not in the reading thread, which goes on for a while after an interruption: then nothing may appear.
        place.publish(entries)
    return pulled


@dataclass(frozen=True, slots=True)
class _Pull:
    session: Session
    ledger: Ledger
    registry_name: str | None
    model: str
    selector: Selector
    on_begin: Callable[[int], None]

    def into(self, place: Place) -> tuple[Pulled, tuple[ManifestEntry, ...]]:
        """Return what was pulled, and each of its files, which are in the place and not published yet."""
        version = self._find()
        accepted = self._accepted(version)
        resolved = retried(partial(must_resolve, self.session, version))
        copy = self._read(resolved, accepted, place)
        differences = _differences(accepted, copy, version)
        _must_hold(resolved, copy, accepted, differences)
        self._must_still_be(version, accepted)
        entries = copy.reading.entries if copy.reading else ()
        pulled = Pulled(
            name=version.name,
            version=version.version,
            path=place.output,
            file_count=len(entries),
            byte_count=sum(entry.size for entry in entries),
            manifest=accepted.manifest.digest(),
            accepted_at=accepted.baseline.at,
            accepted_by=accepted.baseline.by,
            reason=accepted.baseline.reason,
            expected=differences,
        )
        return pulled, entries

    def _find(self) -> RegisteredVersion:
        return retried(partial(find_version, self.session.connection, self.model, self.selector))

    def _accepted(self, version: RegisteredVersion) -> Accepted:
        everything = versions_to_recognise(self.ledger, self.session, self.registry_name, (version,))
        return accepted_for(self.ledger, self.session.connection.identity, self.registry_name, version, everything)

    def _read(self, resolved: ResolvedVersion, accepted: Accepted, place: Place) -> ModelCopy:
        """Read the registry model and write its files to the place; read nothing if its listing differs."""
        listed = list_copy(self.session, Role.REG_MODEL, resolved.reg_model, place.files)
        if isinstance(listed, CopyFailure):
            raise _refused(resolved, listed, accepted)
        listing = listed.copy.listing
        differences = tuple(_listed_differences(accepted.manifest, listing))
        if differences or listing.unsafe:
            raise _refused(resolved, listed.copy, accepted, differences)
        sizes = {entry.path: entry.size for entry in accepted.manifest.entries}
        # Never read more than was accepted, even if a store leaves sizes out of its listing.
        files = tuple(
            file if file.size is not None else replace(file, size=sizes.get(file.path)) for file in listing.files
        )
        self.on_begin(sum(file.size or 0 for file in files))
        try:
            reading = read_all(
                listed.store,
                replace(listing, files=files),
                accepted.manifest.algorithm,
                pulse=self.session.pulse,
                keep_in=place.files,
            )
        except AuditError:
            raise
        except Exception as error:
            raise CouldNotVerify(reason_of(error)) from error
        return replace(listed.copy, reading=reading)

    def _must_still_be(self, version: RegisteredVersion, accepted: Accepted) -> None:
        """Check that nothing changed meanwhile. Raises: CouldNotVerify: the version or its baseline is another."""
        label = printable(version.label)
        try:
            now = self._find()
        except NotFound as error:
            raise CouldNotVerify(f"{label} was deleted while it was read: {error.message}") from error
        if now.label != version.label:
            raise CouldNotVerify(
                f"what was asked for was {label}, and is {printable(now.label)} since: pull again for that one"
            )
        if _lasting(now) != _lasting(version):
            raise CouldNotVerify(f"{label} was changed in the registry while it was read: pull again")
        if self._accepted(now).baseline != accepted.baseline:
            raise CouldNotVerify(f"other bytes were accepted for {label} while it was read: pull again")


def _lasting(version: RegisteredVersion) -> tuple[object, ...]:
    """Return what does not change while a version is in use. Tags, aliases and descriptions may."""
    return version.creation_time_ms, version.source, version.run_id, version.status


def _listed_differences(accepted: Manifest, listing: Listing) -> Iterator[Difference]:
    """Yield what the listing alone shows: files that are missing, that nobody accepted, or that have another size."""
    before = {entry.path: entry for entry in accepted.entries}
    now, unsafe = {file.path: file for file in listing.files}, set(listing.unsafe)
    for path in sorted(before.keys() | now.keys()):
        old, new = before.get(path), now.get(path)
        if listing.is_unknown(path) or path in unsafe or (old and new and new.size in (None, old.size)):
            continue
        sizes = (old.size if old else None, new.size if new else None)
        if explains_meta(path, [size for size, there in zip(sizes, (old, new), strict=True) if there]):
            continue  # its content will show whether MLflow wrote it
        kind = Kind.CONTENT if old and new else (Kind.ONLY_LEFT if old else Kind.ONLY_RIGHT)
        yield Difference(path, kind, sizes, (old.digest if old else None, None))


def _differences(accepted: Accepted, copy: ModelCopy, version: RegisteredVersion) -> tuple[Difference, ...]:
    """Compare what was read with the baseline. A file that could not be read is a problem, and no difference."""
    reading = copy.reading
    if reading is None:
        return ()

    unread = {file.path for file in copy.listing.files} - {entry.path for entry in reading.entries}
    was_mlflows = partial(accepted.baseline.had_mlflows_meta, version)
    is_mlflows = is_written_by_mlflow(reading.meta, reading.mlmodel)
    now = manifest_of(reading.entries)
    found = baseline_differences(accepted.manifest, now, was_mlflows=was_mlflows, is_mlflows=is_mlflows)
    return tuple(d for d in found if d.path not in unread and not copy.listing.is_unknown(d.path))


def _must_hold(
    resolved: ResolvedVersion, copy: ModelCopy, accepted: Accepted, differences: tuple[Difference, ...]
) -> None:
    """Refuse the copy unless everything was read and is as accepted: every partial result ends here."""
    unexpected = tuple(difference for difference in differences if difference.expected_by is None)
    if unexpected or copy.manifest is None or _blocking(resolved, copy, accepted):
        raise _refused(resolved, copy, accepted, unexpected)
    if resolved.version.status != "READY":
        raise CouldNotVerify(f"{printable(resolved.version.label)} is not ready: {printable(resolved.version.status)}")
    paths = {entry.path for entry in copy.manifest.entries} - {META_FILE}
    if paths != {entry.path for entry in accepted.manifest.entries} - {META_FILE}:
        raise CouldNotVerify(f"{printable(resolved.version.label)} was not read whole")


def _blocking(resolved: ResolvedVersion, copy: Copy, accepted: Accepted) -> list[tuple[str, str]]:
    """Return rule and message of problems that prevent verification, and were not accepted knowingly."""
    # Doubts about the run are no doubts about the bytes that the registry serves.
    problems = problems_of_copy(replace(resolved, problems=()), copy)
    return [(p.rule, p.message) for p in problems if p.blocks and p.rule not in accepted.baseline.despite]


def _refused(
    resolved: ResolvedVersion, copy: Copy, accepted: Accepted, differences: tuple[Difference, ...] = ()
) -> AuditError:
    """Return why nothing is left: a difference takes precedence over what could not be read."""
    label, blocking = printable(resolved.version.label), _blocking(resolved, copy, accepted)
    certain = [message for rule, message in blocking if rule in _CERTAIN]
    if differences or certain:
        who = f"{printable(accepted.baseline.by)} accepted on {accepted.baseline.at[:10]}"
        return NotAsAccepted(f"{label} is not what {who}: {certain[0] if certain else _how(differences)}", differences)
    why = blocking[0][1] if blocking else "it was not read whole"
    return CouldNotVerify(f"{label} could not be verified: {why}")


def _how(differences: tuple[Difference, ...]) -> str:
    words = {Kind.ONLY_LEFT: "is missing", Kind.ONLY_RIGHT: "was added"}
    first = "; ".join(f"'{printable(d.path)}' {words.get(d.kind, 'differs')}" for d in differences[:3])
    return first + (f"; and {len(differences) - 3} more" if len(differences) > 3 else "")
