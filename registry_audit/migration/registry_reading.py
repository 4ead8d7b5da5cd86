"""Lists and reads one of the two registries completely."""

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from registry_audit.audit.copies import META_FILE, Copy, ModelCopy, is_written_by_mlflow
from registry_audit.audit.judging import VersionAudit, unresolvable
from registry_audit.audit.pipeline import AuditedVersion, audit_with_copies, in_a_row, must_resolve
from registry_audit.audit.runner import each_version
from registry_audit.audit.scope import notes_on_workspaces
from registry_audit.audit.session import Session
from registry_audit.audit.time_limits import in_time
from registry_audit.errors import AuditError, CouldNotVerify
from registry_audit.migration.differences import UNLISTED
from registry_audit.migration.facts import Inner, VersionFacts, content_of, decode_facts, decoded, encode_facts, encoded
from registry_audit.migration.filestore import Unlisted, unlisted_versions
from registry_audit.model.listing import ListedFile
from registry_audit.model.manifest import manifest_of
from registry_audit.model.mlmodel import MLMODEL
from registry_audit.net.origin import urlsplit
from registry_audit.net.retry import retried
from registry_audit.printable import printable
from registry_audit.refs import Number
from registry_audit.registry.address import AddressKind
from registry_audit.registry.connection import server_version
from registry_audit.registry.queries import finds_in_any_case, too_many
from registry_audit.registry.registered_models import RegisteredModel, list_models, list_tagged_models, models_by_name
from registry_audit.registry.resolve import ResolvedVersion
from registry_audit.registry.runs import RunState
from registry_audit.registry.storage import NotOnThisMachine, StorageIdentity, Surroundings, storage_identity
from registry_audit.registry.version import Key, RegisteredVersion
from registry_audit.registry.versions import find_version, list_versions
from registry_audit.spool import Spool
from registry_audit.stores.base import Store
from registry_audit.stores.local import inode
from registry_audit.stores.store_for_location import open_store

_LOGGED_MODEL = re.compile(r"(^|/)m-[0-9a-f]")  # the id of one, as a directory
_MAX_INNER = 8  # maximum number of models looked at below a root
_MAX_TEXT_BYTES = 1 << 20
_FACTS_IN_MEMORY = 50  # versions, each with the list of its files
_BY_DIRECTORIES = (
    "MLflow cannot list this file store, because a file in it is damaged: the directories of its versions were listed, "
    "and what it says of registered models was not compared"
)
_MODELS_CUT = (
    "the list of registered models is not the same from its end as from its beginning: it is cut short, or changed "
    "meanwhile"
)
_NOT_DESCRIBED = "these registered models could not be asked for, and what is said of them was not compared: {}"


@dataclass(slots=True)
class Listed:
    """This is a registry's listing."""

    tracking_uri: str
    registry_uri: str
    mlflow_server: str | None
    versions: Sequence[RegisteredVersion]  # sorted by name, then number
    models: dict[str, RegisteredModel]
    prompts: tuple[str, ...] | None  # names; None if the registry does not say
    whole: bool  # whether every version is listed
    notes: tuple[str, ...] = ()
    reasons: dict[Key, str] = field(default_factory=dict)  # of versions found only in the store's directories
    any_case: bool = False  # whether model names are case-insensitive
    gaps: bool = False  # whether anything else that should be compared is not known
    hidden: frozenset[str] = frozenset()  # unlisted models that a request by name did not show to be gone

    def shows(self, names: Iterable[str]) -> bool:
        """Say whether every version of models with these names is listed, if there are any."""
        return self.whole and self.hidden.isdisjoint(names)

    @property
    def is_known(self) -> bool:
        """Say whether nothing that should be compared is missing."""
        return self.whole and not self.gaps

    @property
    def names(self) -> set[str]:
        return {version.name for version in self.versions} | set(self.models)


def list_registry(session: Session) -> Listed:
    """List a registry within its time limit.

    Raises:
        UsageError: the server refuses the credentials.
        CouldNotVerify: the server cannot be read.
    """
    return in_time(session, lambda: _list_registry(session), deadline=session.listing_deadline())


def _list_registry(session: Session) -> Listed:
    connection = session.connection
    server = retried(lambda: server_version(connection))
    try:
        listing = list_versions(connection, whole_rows=True, max_versions=session.limits.max_versions)
    except CouldNotVerify:
        if connection.registry_address.kind is not AddressKind.DIRECTORY:
            raise
        return _by_directories(session)
    models_listed, models_agree = list_models(connection)
    models = {model.name: model for model in models_listed}
    # A prompt has versions with a text. A tagged model without versions may not be a prompt, so it is compared.
    tagged = list_tagged_models(connection)
    models |= {model.name: model for model in tagged or () if model.name not in listing.prompts}
    unlisted: tuple[Unlisted, ...] = ()
    if connection.registry_address.kind is AddressKind.DIRECTORY:
        directory = Path(connection.registry_address.path)
        unlisted = tuple(unlisted_versions(directory, listing.keys, listing.prompts))
    versions: Sequence[RegisteredVersion] = listing.versions
    if unlisted:
        more = (RegisteredVersion(one.name, one.version, UNLISTED, None, (), None, "") for one in unlisted)
        versions = sorted((*listing.versions, *more), key=lambda version: version.key)
    unlisted_models = {version.name for version in listing.versions} - models.keys()
    more_models, failed = models_by_name(connection, sorted(unlisted_models))
    models |= {model.name: model for model in more_models}
    notes = [*notes_on_workspaces(connection, server, "compared"), *listing.notes]
    if failed:
        notes.append(_NOT_DESCRIBED.format(", ".join(map(printable, failed[:10]))))
    if not models_agree:
        notes.append(_MODELS_CUT)
    return Listed(
        connection.tracking_uri,
        connection.registry_uri,
        server,
        versions,
        models,
        None if tagged is None else tuple(sorted(listing.prompts)),
        listing.whole,
        tuple(notes),
        {(one.name, one.version): one.reason for one in unlisted},
        any_case=finds_in_any_case(connection),
        gaps=bool(failed) or not models_agree,
    )


def _by_directories(session: Session) -> Listed:
    """List a file store that MLflow cannot list because one of its files is damaged: read each version by itself."""
    connection = session.connection
    versions, reasons = list[RegisteredVersion](), dict[Key, str]()
    for one in unlisted_versions(Path(connection.registry_address.path), frozenset()):
        try:
            versions.append(find_version(connection, one.name, Number(one.version)))
        except AuditError as error:
            versions.append(RegisteredVersion(one.name, one.version, UNLISTED, None, (), None, ""))
            reasons[one.name, one.version] = f"{one.reason}; {error.message}"
        if len(versions) > session.limits.max_versions:
            raise too_many(session.limits.max_versions)
    return Listed(
        connection.tracking_uri,
        connection.registry_uri,
        None,
        sorted(versions, key=lambda version: version.key),
        {},
        None,
        whole=True,
        notes=(_BY_DIRECTORIES,),
        gaps=True,
        reasons=reasons,
    )


class Storages:
    """Holds many storages as digests: a hundred thousand take some megabytes."""

    def __init__(self) -> None:
        self._digests, self._paths, self._parts = set[bytes](), set[int](), set[int]()
        self._has_logged_models = False

    def update(self, storages: Iterable[StorageIdentity]) -> None:
        for storage in storages:
            self._digests.add(_digest(storage))
            self._paths.add(hash(storage.path.strip("/")))
            self._parts.update(map(hash, storage.path.split("/")))
            self._has_logged_models |= _LOGGED_MODEL.search(storage.path) is not None

    def add_file(self, place: str) -> None:
        """Add one file of a version, by its `inode`."""
        self._digests.add(_digest(place))

    def __contains__(self, storage: object) -> bool:
        """Say whether a storage, or a file that was added, is one of these."""
        return _digest(storage) in self._digests

    def may_hold(self, version: RegisteredVersion, around: Surroundings, listed: Container[str] = ()) -> bool:
        """Say whether the version may lie in one of these storages, judged by the listing alone, without a request.

        Law: it may if its source leads there. If that cannot be known without a request, it may.

        Args:
            around: the server that lists the version.
            listed: names of models whose versions are asked for, too. A source that names such a model leads to the
                storage of one of them, or nowhere.
        """
        # A registry's own copy has the version's name, and the directory of a run has the run's id.
        if hash(version.run_id) in self._parts or hash(f"{version.name}/{version.version}") in self._paths:
            return True
        scheme = version.source.partition(":")[0].lower()
        if scheme not in ("runs", "models"):
            return bool(version.source) and self._may_be_at(version.source, around)
        try:
            parts = urlsplit(version.source, allow_fragments=False)
        except ValueError:  # it leads nowhere
            return False
        path = parts.path.lstrip("/")
        if scheme == "models":  # the directory of a LoggedModel has its id; the place of a version can be anywhere
            name, by_name, _ = path.partition("/") if "/" in path else path.rpartition("@")
            is_elsewhere = bool(parts.netloc) or name not in listed  # perhaps in another workspace's registry
            return is_elsewhere if by_name else hash(path) in self._parts
        # In the source's run there may be a LoggedModel of that name, whose directory does not have the run's id.
        return self._has_logged_models or hash(path.partition("/")[0]) in self._parts

    def _may_be_at(self, source: str, around: Surroundings) -> bool:
        try:
            storage = storage_identity(source, around)
        except NotOnThisMachine as error:
            if error.relative is None:
                return False
            storage = StorageIdentity.of_directory(error.relative)
        except CouldNotVerify:  # read in two ways, or in none: both begin with these directories
            named = re.split("[?#;]", source)[0].split("/")[1:]
            return ".." in named or self._parts.issuperset(
                hash(unquote(part)) for part in named if part not in ("", ".")
            )
        return hash(storage.path.strip("/")) in self._paths


def _digest(storage: object) -> bytes:
    return hashlib.blake2b(repr(storage).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Side:
    """Holds the compared versions of one registry after they were read, one model at a time in memory."""

    def __init__(self, listed: Listed, versions: Sequence[RegisteredVersion], directory: Path | None = None) -> None:
        """Prepare to hold the facts about these versions.

        Args:
            versions: sorted by name, then number.
            directory: where facts are kept if they do not fit in memory.
        """
        self.listed, self.versions = listed, versions
        self.count = len(versions)
        self.storages = Storages()  # all storages that hold one of the versions
        self._facts: Spool[VersionFacts] = Spool(
            encode_facts, decode_facts, directory=directory, in_memory=_FACTS_IN_MEMORY
        )
        self._ranges: dict[str, range] = {}
        start, name = 0, None
        for position, version in enumerate(versions):
            if version.name != name:
                start, name = position, version.name
            self._ranges[version.name] = range(start, position + 1)

    def put(self, position: int, facts: VersionFacts) -> None:
        """Keep the facts about one version. This is safe from any thread."""
        self.storages.update(facts.storages)
        for place in facts.places[:1]:  # one file is enough to recognise a directory of links to another version
            self.storages.add_file(place)
        self._facts.put(position, facts)

    @property
    def names(self) -> Iterator[str]:
        """Return the model names in the order of the registry's listing."""
        return iter(self._ranges)

    def positions(self, name: str) -> range:
        return self._ranges.get(name, range(0))

    def at(self, position: int) -> VersionFacts:
        return self._facts.at(position)

    def has(self, position: int) -> bool:
        return self._facts.has(position)

    def is_read(self, name: str) -> bool:
        """Say whether every version of a model was read."""
        return all(self._facts.has(position) for position in self.positions(name))

    @property
    def read_count(self) -> int:
        return len(self._facts)


def fill_side(
    session: Session,
    side: Side,
    *,
    workers: int,
    on_done: Callable[[VersionFacts], None] = lambda facts: None,
    positions: Sequence[int] | None = None,
) -> None:
    """Read versions in full into a side. The caller keeps what was read if reading is interrupted.

    A version that cannot be read becomes a row with its reason.

    Args:
        positions: the positions of the versions to read, for a caller that itself retries them; None reads them all.
    """
    listed = side.listed

    def step(session: Session, version: RegisteredVersion) -> VersionFacts:
        reason = listed.reasons.get((version.name, version.version))
        if reason is not None:
            return _facts(session, AuditedVersion(unresolvable(version, reason)))
        found = in_a_row(version, lambda: _facts(session, audit_with_copies(session, version)))
        return _facts(session, AuditedVersion(found)) if isinstance(found, VersionAudit) else found

    def late(version: RegisteredVersion, reason: str) -> VersionFacts:
        return _facts(session, AuditedVersion(unresolvable(version, reason)))

    def keep(index: int, facts: VersionFacts) -> None:
        side.put(index if positions is None else positions[index], facts)

    versions = side.versions if positions is None else [side.versions[position] for position in positions]
    once = positions is not None
    each_version(session, versions, step, keep, late=late, workers=workers, on_done=on_done, once=once)


def _facts(session: Session, audited: AuditedVersion) -> VersionFacts:
    audit, resolved, reg = audited.audit, audited.resolved, audited.reg
    summary = audit.reg_model or audit.run_model
    manifest = summary.manifest if summary else None
    copy = reg if isinstance(reg, ModelCopy) else audited.run if isinstance(audited.run, ModelCopy) else None
    reading = copy.reading if copy else None
    mlmodel = decoded(reading.mlmodel) if reading and reading.mlmodel is not None else None
    meta_is_mlflows = reading is not None and is_written_by_mlflow(reading.meta, reading.mlmodel)
    return VersionFacts(
        audit=audit,
        run=_run(audit.version, resolved),
        storages=tuple(sorted({*resolved.run_model.storages, *resolved.reg_model.storages})) if resolved else (),
        manifest=manifest,
        mlmodel=mlmodel,
        content=content_of(manifest, mlmodel, meta_is_mlflows=meta_is_mlflows) if manifest else None,
        meta_is_mlflows=meta_is_mlflows,
        places=_places(copy),
        inner=_inner(session, copy) if copy and not copy.has_mlmodel else (),
        retryable=audit.retryable,
    )


def _run(version: RegisteredVersion, resolved: ResolvedVersion | None) -> RunState | None:
    """Return the state of a version's run; None if the version names a run whose state is not known."""
    state = resolved.run if resolved else RunState.NONE
    return None if version.run_id and state is RunState.NONE else state


def _places(copy: Copy | None) -> tuple[str, ...]:
    """Return the inodes of the files: files with one inode are one file, so a directory of hard links is no copy."""
    if not isinstance(copy, ModelCopy) or not copy.identity.is_directory:
        return ()
    return tuple(inode(file) for file in copy.listing.files if file.change_token)


def _inner(session: Session, copy: ModelCopy) -> tuple[Inner, ...]:
    """Return the complete models below the root of a copy that has no MLmodel at its root.

    For a `runs:/` source some migration tools register the run's artifact root, so the model is one directory down.
    """
    if copy.manifest is None:
        return ()
    entries, found = copy.manifest.entries, []
    files = {file.path: file for file in copy.listing.files}
    for listed in [file for file in copy.listing.files if file.path.endswith(f"/{MLMODEL}")][:_MAX_INNER]:
        directory = listed.path.removesuffix(MLMODEL)
        inside = tuple(
            type(entry)(entry.path.removeprefix(directory), entry.size, entry.digest)
            for entry in entries
            if entry.path.startswith(directory)
        )
        text = _read_small(session, copy, listed)
        meta = _read_small(session, copy, files.get(f"{directory}{META_FILE}"))
        theirs = is_written_by_mlflow(encoded(meta) if meta is not None else None, encoded(text) if text else None)
        content = content_of(manifest_of(inside), text, meta_is_mlflows=theirs) if text is not None else None
        if content is not None:
            found.append(Inner(directory.rstrip("/"), content, len(inside)))
    return tuple(found)


def _read_small(session: Session, copy: ModelCopy, file: ListedFile | None) -> str | None:
    try:
        return _text_of(open_store(session.connection, copy.location), file)
    except AuditError:
        return None


def small_file(session: Session, facts: VersionFacts, path: str) -> str | None:
    """Read the text of a small file of a version once more, to say what differs in it; None if that fails."""
    try:
        resolved = must_resolve(session, facts.version)
        store = open_store(session.connection, resolved.reg_model)
        files = store.listing(session.limits).files
        return _text_of(store, next((file for file in files if file.path == path), None))
    except Exception:  # noqa: BLE001 - it is known that the two differ; a failure here must not end the comparison
        return None


def _text_of(store: Store, file: ListedFile | None) -> str | None:
    """Read a file as text; None if it is missing or too large."""
    if file is None or (file.size or 0) > _MAX_TEXT_BYTES:
        return None
    read = bytearray()
    with closing(store.read(file)) as chunks:
        for chunk in chunks:
            read += chunk
            if len(read) > _MAX_TEXT_BYTES:
                return None
    return decoded(bytes(read))


def shown(version: RegisteredVersion) -> str:
    return printable(version.label)
