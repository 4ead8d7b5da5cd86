"""Ledgers of one's own: rows to record in them, and what somebody with access to the database could do to them."""

import contextlib
import io
import signal
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import sqlalchemy
from sqlalchemy.pool import NullPool

from registry_audit.audit.copies import META_FILE, ModelCopy, Reading, Role, summary_of
from registry_audit.audit.judging import VersionAudit, findings_of
from registry_audit.audit.options import AuditOptions
from registry_audit.audit.scope import Scope
from registry_audit.ledger.audit_entries import Resolved
from registry_audit.ledger.chain import Draft, Entry
from registry_audit.ledger.entry_bodies import RegistryNamed
from registry_audit.ledger.memory import Memory, learn, load_findings
from registry_audit.ledger.record import Recorded, Tell, begin, finish, registry_of
from registry_audit.ledger.store import Ledger, LedgerReader, entries
from registry_audit.ledger.transfer import fill, read_export
from registry_audit.model.listing import ListedFile, Listing, Problem, make_listing
from registry_audit.model.manifest import Manifest, ManifestEntry, digest_text, new_hasher
from registry_audit.registry.resolve import Location
from registry_audit.registry.storage import StorageIdentity
from registry_audit.registry.version import KeySet, RegisteredVersion
from registry_audit.verdict import Storage, Verdict

REGISTRY_URI = "http://mlflow.example:5000"
REGISTRY = registry_of(REGISTRY_URI)
FILES: Mapping[str, bytes] = {"MLmodel": b"flavors: {}\n", "data/weights.bin": b"\x00\x01", "model.pkl": b"noise"}
LOADABLE: Mapping[str, bytes] = {**FILES, "MLmodel": b"flavors: {x: {}}\n"}

_SQLITE_TRIGGERS = [
    f"DROP TRIGGER {table}_no_{act}" for table in ("entries", "manifests") for act in ("update", "delete")
]
_POSTGRES_TRIGGERS = [f"DROP TRIGGER {table}_append_only ON {table}" for table in ("entries", "manifests")]


def manifest_of(files: Mapping[str, bytes], algorithm: str = "sha256") -> Manifest:
    entries = (ManifestEntry(path, len(data), _digest(data, algorithm)) for path, data in files.items())
    return Manifest(tuple(sorted(entries)), algorithm)


def _digest(data: bytes, algorithm: str) -> str:
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return digest_text(algorithm, hasher)


def row(
    name: str = "wine",
    version: str = "1",
    files: Mapping[str, bytes] = FILES,
    *,
    problems: tuple[Problem, ...] = (),
    verdict: Verdict = Verdict.SAME_STORAGE,
    change_token: str = "etag",
    created: int = 1_000,
    run_files: Mapping[str, bytes] | None = None,
    listed: bool = True,
    algorithm: str = "sha256",
) -> VersionAudit:
    """What an audit says of a version that holds these bytes, before the ledger is asked.

    Args:
        run_files: of the run model, where it is another storage than the registry model.
        listed: whether the storage could be listed and read at all.
    """
    registered = RegisteredVersion(name, version, "READY", None, (), None, f"s3://models/{name}/{version}", created)
    copy_of = partial(_copy, change_token=change_token, algorithm=algorithm)
    reg = copy_of(Role.REG_MODEL, registered.source, files)
    run = copy_of(Role.RUN_MODEL, registered.source + "/run", run_files) if run_files is not None else reg
    storage = Storage.SHARED if run is reg else Storage.SEPARATE
    findings = findings_of(registered, list(problems))
    copies = (summary_of(run), summary_of(reg)) if listed else (None, None)
    return VersionAudit(registered, verdict, None, storage, *copies, None, findings)


def listing_of(files: Mapping[str, bytes], change_token: str) -> Listing:
    return make_listing(
        [ListedFile(path, len(data), change_token and f"{change_token}-{path}") for path, data in files.items()]
    )


def storage_at(uri: str) -> StorageIdentity:
    return StorageIdentity("fake", path=uri)


def _copy(role: Role, uri: str, files: Mapping[str, bytes], change_token: str, algorithm: str) -> ModelCopy:
    listing = listing_of(files, change_token)
    count, size = len(files), sum(map(len, files.values()))
    meta = files.get(META_FILE)
    entries = manifest_of(files, algorithm).entries
    reading = Reading(entries, files.get("MLmodel"), files_read=count, bytes_read=size, meta=meta)
    return ModelCopy(role, Location(uri, (uri,), (storage_at(uri),)), storage_at(uri), listing, reading)


def scope_of(*rows: VersionAudit, unlisted: tuple[VersionAudit, ...] = (), registry: str = REGISTRY) -> Scope:
    """An audit of these versions, in a registry that also lists the `unlisted` ones.

    Args:
        registry: the identity of the address.
    """
    listed = KeySet()
    for r in (*rows, *unlisted):
        listed.add((r.version.name, r.version.version))
    versions = tuple(r.version for r in rows)
    everything = tuple(sorted((*versions, *(r.version for r in unlisted)), key=lambda version: version.key))
    return Scope(
        versions,
        REGISTRY_URI,
        REGISTRY_URI,
        None,
        len(listed),
        listed=listed,
        everything=everything,
        registry=registry,
    )


def options(**chosen: object) -> AuditOptions:
    return AuditOptions.model_validate({"tracking_uri": REGISTRY_URI, "ledger": "sqlite:///unused.db", **chosen})


def note(number: int = 0) -> Draft:
    """An entry that changes nothing of what a ledger says."""
    return RegistryNamed(address=None, name=None).draft("", version=str(number))


@dataclass(frozen=True, slots=True)
class RecordedAudit:
    audits: tuple[VersionAudit, ...]  # assessed, with the versions that vanished, in the order of a report
    recorded: Recorded

    @property
    def head(self) -> Entry:
        return self.recorded.head

    @property
    def resolved(self) -> tuple[Resolved, ...]:
        return self.recorded.resolved

    @property
    def accepted_count(self) -> int:
        return self.recorded.accepted_count

    @property
    def previous_audit_at(self) -> str | None:
        return self.recorded.previous_audit_at


def record(
    ledger: Ledger,
    *rows: VersionAudit,
    audit_id: str = "audit",
    scope: Scope | None = None,
    tell: Tell | None = None,
    hidden: Mapping[tuple[str, str], str] = MappingProxyType({}),
    **chosen: object,
) -> RecordedAudit:
    """One whole audit that saw these rows, in the ledger."""
    opts, scope = options(**chosen), scope or scope_of(*rows)
    scope, _ = begin(ledger, scope, opts, audit_id)
    assessed: list[VersionAudit] = []
    ordered = sorted(rows, key=lambda row: row.version.key)
    recorded = finish(ledger, scope, opts, audit_id, ordered, assessed.append, hidden, tell=tell)
    return RecordedAudit(tuple(assessed), recorded)


@contextlib.contextmanager
def database(url: str) -> Iterator[sqlalchemy.Connection]:
    """The database as its administrator has it; committed at the end."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def execute(url: str, *statements: str) -> None:
    with database(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def tamper(url: str, *statements: str) -> None:
    """Change the past: without the triggers that would refuse it."""
    execute(url, *(_SQLITE_TRIGGERS if url.startswith("sqlite") else _POSTGRES_TRIGGERS), *statements)


def insert(url: str, *forged: Entry) -> None:
    """Rows that nobody checks, as whoever may write to the database can add them."""
    with database(url) as connection:
        connection.execute(entries.insert(), [asdict(entry) for entry in forged])


def sqlite_file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def checkpointed_copy(url: str, target: Path) -> None:
    """A copy of an SQLite ledger as it is now."""
    with (
        contextlib.closing(sqlite3.connect(sqlite_file(url))) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


@dataclass(frozen=True, slots=True)
class Said:
    exit_status: int
    stdout: str
    stderr: str


def registry_audit(*arguments: str) -> Said:
    """Any command of `registry-audit`, in this process."""
    from registry_audit.cli import boundary
    from registry_audit.cli.main import registry_audit as program

    said, stderr = io.BytesIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with io.TextIOWrapper(said, encoding="utf-8", write_through=True) as stdout:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                status = boundary.run(program, "registry-audit", arguments)
            content = said.getvalue()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Said(int(status), content.decode("utf-8", "surrogateescape"), stderr.getvalue())


def load_memory(reader: LedgerReader, registry: str) -> Memory:
    """Everything that a ledger says of one registry now."""
    memory = load_findings(reader, registry)
    learn(memory, reader, registry, None)
    return memory


def import_lines(ledger: Ledger, lines: Iterable[str]) -> Entry:
    """Fill an empty ledger with an export; the head."""
    return fill(ledger, read_export(lines))
