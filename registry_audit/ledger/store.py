"""Stores the ledger in a database. Entries are checked before they are used, and appended under a lock."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    CursorResult,
    Engine,
    Executable,
    Float,
    Function,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from registry_audit.errors import AuditError, LedgerError
from registry_audit.ledger.chain import TIME_FORMAT, Draft, Entry, Kind, check_row, link, row_of
from registry_audit.ledger.entry_bodies import Accepted, Read, StatedBaselines, any_body_of
from registry_audit.ledger.verified_chain import CheckedChain
from registry_audit.model.manifest import Manifest, parse_manifest
from registry_audit.printable import printable
from registry_audit.redact import redact, without_sign_in

# The tables: the chain of entries, the manifests that entries name by digest, and the shared work of running audits.

metadata = MetaData()

# One row per event. The current state is given by the newest entry of a kind.
entries = Table(
    "entries",
    metadata,
    # Not autoincremented, because the number is part of the chained digest.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),  # UTC, ISO 8601
    Column("kind", String(32), nullable=False),
    Column("registry", Text, nullable=False),
    Column("name", Text, nullable=False),  # of the registered model, or empty
    Column("version", String(32), nullable=False),
    Column("audit_id", String(128), nullable=False),
    Column("body", Text, nullable=False),  # JSON with sorted keys
    Column("previous", String(64), nullable=False),  # digest of the entry before; zeros for the first entry
    Column("digest", String(64), nullable=False),
    Index("entries_of_version", "registry", "name", "version", "kind", "seq"),
    Index("entries_of_kind", "kind", "registry", "seq"),
)

manifests = Table(
    "manifests",
    metadata,
    Column("digest", String(96), primary_key=True),
    Column("text", Text, nullable=False),  # see registry_audit.model.manifest
)

# The workers of an audit share this while it runs. It is deleted when the audit ends.
shared_work = Table(
    "shared_work",
    metadata,
    Column("audit_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),  # of the batch
    Column("versions", LargeBinary, nullable=False),  # see registry_audit.ledger.shared_work
    Column("rows", LargeBinary),  # None until it is audited
    Column("worker", String(128), nullable=False),  # the worker that holds the batch; empty if none does
    Column("seen_at", Float, nullable=False),  # time of the worker's last heartbeat, in seconds since the epoch
)


_LOCK = 0x4D4C5241  # key of the PostgreSQL advisory lock: the same for every ledger in a database
_CHUNK = 500  # rows in one statement
_PAGE = 1_000  # rows fetched at a time


class Ledger:
    """An open ledger, whose schema was checked. It is safe to use from several processes at once."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine = engine
        self.url = url  # without credentials
        self._checked: CheckedChain | None = None  # checked by this process; never changed, only replaced

    @contextlib.contextmanager
    def reading(self, *, again: bool = False) -> Iterator["LedgerReader"]:
        """Open one consistent view of a checked chain.

        The first view in a process checks every entry; later views check what was appended since.

        Args:
            again: whether to check every entry once more.

        Raises:
            LedgerError: the chain is broken, or the database cannot be read.
        """
        with _database_errors("read", self._engine.url), self._engine.connect() as connection:
            # All statements must see the same snapshot; neither database does that by default.
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            self._checked = _checked_chain(connection, self._checked, again=again)
            yield LedgerReader(connection, self._checked)

    @contextlib.contextmanager
    def writing(self, *, again: bool = False) -> Iterator["LedgerWriter"]:
        """Open the ledger as its only writer. Everything appended is committed at the end, or nothing is.

        Args:
            again: whether to check every entry once more, for instance if this process last did so long ago.

        Raises:
            LedgerError: the chain is broken, or the database cannot be written.
        """
        with _database_errors("written", self._engine.url), self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            try:
                chain = _checked_chain(connection, self._checked, again=again).copy()
                yield LedgerWriter(connection, chain)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            self._checked = chain

    @contextlib.contextmanager
    def beside_the_chain(self, *, only_look: bool = False) -> Iterator["BesideTheChain"]:
        """Open a short transaction on the other tables.

        It waits for writers of the chain only if the database requires it.

        Raises:
            LedgerError: the database cannot be read or written.
        """
        with (
            _database_errors("read" if only_look else "written", self._engine.url),
            self._engine.connect() as connection,
        ):
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN" if only_look else "BEGIN IMMEDIATE")
            yield BesideTheChain(connection)
            connection.commit()

    def append(self, drafts: Iterable[Draft]) -> Entry:
        with self.writing() as writer:
            return writer.append(drafts)

    def verify(self) -> Entry | None:
        """Recompute every entry and every manifest, and return the head.

        Raises:
            LedgerError: the chain is broken, or a manifest does not match its digest.
        """
        with self.reading(again=True) as reader:
            reader.check_manifests()
            return reader.head()

    def page(self, after: Entry | None, up_to: int) -> list[Entry]:
        """Return the entries after one entry up to a number, checked to follow it. This serves slow readers.

        Raises:
            LedgerError: the chain is broken, or the database cannot be read.
        """
        with _database_errors("read", self._engine.url), self._engine.connect() as connection:
            chain, found = CheckedChain(after), list(_rows(connection, after.seq if after else None, up_to))
            chain.continue_with(found)
            return [Entry(*row) for row in found]

    @property
    def first_digest(self) -> str | None:
        """Return the digest of the first entry as this process checked it; None before any check."""
        return self._checked.first_digest if self._checked else None

    def close(self) -> None:
        self._engine.dispose()


class BesideTheChain:
    """Gives access to the tables outside the chain, which hold no history."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: Executable) -> CursorResult[Any]:
        return self._connection.execute(statement)


class LedgerReader:
    """Shows only the entries of a checked chain. Only `Ledger` creates one."""

    def __init__(self, connection: Connection, chain: CheckedChain) -> None:
        self._connection, self._chain = connection, chain

    def head(self) -> Entry | None:
        return self._chain.head

    def baselines(self) -> StatedBaselines:
        """Return the state of all baselines as of the head."""
        return self._chain.baselines()

    def has(self, seq: int, digest: str) -> bool:
        """Say whether the entry with this number has this digest."""
        return self._connection.execute(self._select(entries.c.digest).where(entries.c.seq == seq)).scalar() == digest

    def beginning_with(self, digits: str) -> list[Entry]:
        """Return up to 3 entries whose digest begins with these digits, in the order of the chain."""
        statement = self._select(entries).where(entries.c.digest.like(digits + "%")).order_by(entries.c.seq)
        return [_checked(row) for row in self._connection.execute(statement.limit(3))]

    def all_entries(self) -> Iterator[Entry]:
        """Stream all entries in the order of the chain."""
        statement = self._select(entries).order_by(entries.c.seq).execution_options(yield_per=_PAGE)
        return (_checked(row) for row in self._connection.execute(statement))

    def of_kind(self, *kinds: Kind, registry: str | None = None) -> Iterator[Entry]:
        """Stream the entries of these kinds, in the order of the chain."""
        statement = self._select(entries).where(entries.c.kind.in_(kinds)).order_by(entries.c.seq)
        if registry is not None:
            statement = statement.where(entries.c.registry == registry)
        return map(_checked, self._connection.execute(statement.execution_options(yield_per=_PAGE)))

    def of_version(self, registry: str, name: str, version: str, *kinds: Kind) -> list[Entry]:
        """List the entries of a version in the order of the chain. If no kind is given, list all kinds."""
        statement = self._select(entries).where(
            entries.c.registry == registry, entries.c.name == name, entries.c.version == version
        )
        if kinds:
            statement = statement.where(entries.c.kind.in_(kinds))
        return [_checked(row) for row in self._connection.execute(statement.order_by(entries.c.seq))]

    def of_versions(self, registry: str, keys: Collection[tuple[str, str]], *kinds: Kind) -> Iterator[Entry]:
        """Stream the entries of some hundreds of versions of a registry, in the order of the chain."""
        names, numbers = ({key[part] for key in keys} for part in (0, 1))
        statement = self._select(entries).where(
            entries.c.registry == registry,
            entries.c.name.in_(sorted(names)),
            entries.c.version.in_(sorted(numbers)),
            entries.c.kind.in_(kinds),
        )
        found = self._connection.execute(statement.order_by(entries.c.seq).execution_options(yield_per=_PAGE))
        return (_checked(row) for row in found if (row.name, row.version) in keys)

    def latest_of_versions(
        self, kind: Kind, registry: str, keys: Collection[tuple[str, str]] | None = None
    ) -> Iterator[Entry]:
        """Stream the newest entry of a kind for each version of a registry.

        Args:
            keys: names and numbers of some hundreds of versions; None is all versions.
        """
        return self._one_of_each(func.max(entries.c.seq), kind, registry, keys)

    def first_of_versions(
        self, kind: Kind, registry: str, keys: Collection[tuple[str, str]] | None = None
    ) -> Iterator[Entry]:
        """Stream the oldest entry of a kind for each version of a registry.

        Args:
            keys: names and numbers of some hundreds of versions; None is all versions.
        """
        return self._one_of_each(func.min(entries.c.seq), kind, registry, keys)

    def _one_of_each(
        self, which: Function[int], kind: Kind, registry: str, keys: Collection[tuple[str, str]] | None
    ) -> Iterator[Entry]:
        question = self._select(which.label("seq"))
        question = question.where(entries.c.kind == kind, entries.c.registry == registry)
        if keys is not None:
            # Filter each column separately, which an index supports. Callers have few distinct names or few numbers.
            names, numbers = ({key[part] for key in keys} for part in (0, 1))
            question = question.where(entries.c.name.in_(sorted(names)), entries.c.version.in_(sorted(numbers)))
        chosen = question.group_by(entries.c.name, entries.c.version).subquery()
        statement = select(entries).join(chosen, entries.c.seq == chosen.c.seq).order_by(entries.c.seq)
        return map(_checked, self._connection.execute(statement.execution_options(yield_per=_PAGE)))

    def registries(self) -> list[str]:
        found = self._connection.execute(self._select(entries.c.registry).distinct().order_by(entries.c.registry))
        return [row[0] for row in found if row[0]]

    def manifest(self, digest: str) -> Manifest:
        """Return a manifest. Raises: LedgerError: it is not in the ledger, or does not match its digest."""
        row = self._connection.execute(select(manifests.c.text).where(manifests.c.digest == digest)).first()
        if row is None:
            raise LedgerError(f"the ledger has lost the manifest {digest}")
        return checked_manifest(digest, row[0])

    def manifests(self, digests: Iterable[str]) -> dict[str, Manifest]:
        """Return those of these manifests that the ledger has, by digest. Raises: LedgerError: one is damaged."""
        wanted, found = sorted(digests), dict[str, Manifest]()
        for start in range(0, len(wanted), _CHUNK):
            chosen = select(manifests).where(manifests.c.digest.in_(wanted[start : start + _CHUNK]))
            for digest, text in self._connection.execute(chosen):
                found[digest] = checked_manifest(digest, text)
        return found

    def manifest_rows(self) -> Iterator[tuple[str, str]]:
        statement = select(manifests).order_by(manifests.c.digest).execution_options(yield_per=_PAGE)
        return ((row[0], row[1]) for row in self._connection.execute(statement))

    def check_manifests(self) -> None:
        """Check all manifests and that none is missing.

        Raises:
            LedgerError: a manifest was changed, a manifest that an entry names is missing, or an entry cannot be read.
        """
        present = set()
        for digest, text in self.manifest_rows():
            checked_manifest(digest, text)
            present.add(digest)
        for entry in self.all_entries():
            for wanted in manifests_named(entry):
                if wanted not in present:
                    raise LedgerError(f"the ledger has lost the manifest of entry {entry.seq}: {wanted}")

    def _select(self, *what: Any) -> Select[Any]:
        """Select only from the checked entries: numbers below 1 or above the head are not part of the chain."""
        return select(*what).where(entries.c.seq.between(1, self._chain.seq))


class LedgerWriter(LedgerReader):
    def __init__(self, connection: Connection, chain: CheckedChain) -> None:
        super().__init__(connection, chain)
        now = datetime.now(UTC).strftime(TIME_FORMAT)
        self.at = max(now, chain.head.at) if chain.head else now  # the time of everything that it appends, UTC

    def append(self, drafts: Iterable[Draft]) -> Entry:
        """Append drafts to the chain, and return the new head. At least one draft is needed."""
        return self._insert(link(drafts, after=self.head(), at=self.at))

    def append_verbatim(self, copied: Iterable[Entry]) -> Entry:
        """Append entries of another ledger, and return the new head.

        Raises:
            LedgerError: they do not continue this one.
        """
        return self._insert(copied)

    def _insert(self, linked: Iterable[Entry]) -> Entry:
        rows = list[dict[str, Any]]()
        head: Entry | None = None
        for head in linked:
            # Continue one entry at a time: an audit's last entry states the baselines that the entries before it result
            # in.
            self._chain.continue_with((row_of(head),))
            rows.append({column.name: getattr(head, column.name) for column in entries.columns})
            if len(rows) == _CHUNK:
                self._connection.execute(entries.insert(), rows)
                rows.clear()
        if rows:
            self._connection.execute(entries.insert(), rows)
        if head is None:
            raise ValueError("at least one entry is needed")
        return head

    def keep_manifests(self, kept: dict[str, Manifest]) -> None:
        """Store manifests by digest. Manifests that are already stored stay as they are."""
        wanted = sorted(kept)
        for start in range(0, len(wanted), _CHUNK):
            digests = wanted[start : start + _CHUNK]
            present = set(
                self._connection.execute(select(manifests.c.digest).where(manifests.c.digest.in_(digests))).scalars()
            )
            rows = [{"digest": digest, "text": kept[digest].text()} for digest in digests if digest not in present]
            if rows:
                self._connection.execute(manifests.insert(), rows)


def manifests_named(entry: Entry) -> set[str]:
    """Return the digests of all manifests that an entry refers to. Raises: LedgerError: the entry cannot be read."""
    match any_body_of(entry):
        case Accepted(manifest=manifest):
            named = {manifest}
        case Read() as read:
            named = {read.manifest, read.run_manifest, *(storage[2] for storage in read.storages)}
        case _:
            named = set()
    return {digest for digest in named if digest is not None}


def checked_manifest(digest: Any, text: Any) -> Manifest:
    """Parse the stored text of a manifest. Raises: LedgerError: the text does not match the digest."""
    if not (isinstance(digest, str) and isinstance(text, str)):  # SQLite accepts a value of any type in any column
        raise LedgerError("the ledger holds a manifest that is no text: it was changed after it was written")
    try:
        manifest = parse_manifest(text, digest.partition(":")[0])
        unchanged = manifest.text() == text and manifest.digest() == digest
    except AuditError as error:
        raise LedgerError(f"the manifest {printable(digest)} cannot be read: {error.message}") from error
    if not unchanged:
        raise LedgerError(f"the manifest {printable(digest)} was changed after it was written")
    return manifest


def _checked(row: Any) -> Entry:
    """Check an entry's digest before an audit relies on it."""
    check_row(row)
    return Entry(*row)


def _checked_chain(connection: Connection, known: CheckedChain | None, *, again: bool) -> CheckedChain:
    """Return the chain as this transaction sees it.

    Args:
        known: the chain as this process checked it before.
        again: whether to check every entry once more.

    Raises:
        LedgerError: the chain is broken.
    """
    last = select(func.max(entries.c.seq)).where(entries.c.kind == Kind.AUDIT_FINISHED)
    stated_at = connection.execute(last).scalar()
    lost = known is not None and not _holds(connection, known)
    if known is None or known.head is None or lost or again:
        chain = CheckedChain()
        chain.continue_with(_rows(connection), stated_at=stated_at)
        if lost:
            raise LedgerError("the ledger has lost entries that this process has read: it was replaced by another")
        return chain
    newer = list(_rows(connection, known.seq))
    if not newer:
        return known
    chain = known.copy()
    chain.continue_with(newer, stated_at=stated_at)
    return chain


def _holds(connection: Connection, chain: CheckedChain) -> bool:
    """Say whether the head of a chain is in the ledger."""
    if chain.head is None:
        return True
    return connection.execute(select(entries.c.digest).where(entries.c.seq == chain.seq)).scalar() == chain.head.digest


def _rows(connection: Connection, after: int | None = None, up_to: int | None = None) -> Iterator[Sequence[Any]]:
    """Stream the rows of entries in the order of their numbers.

    By default these are all rows, including numbers below 1.
    """
    statement = select(entries).order_by(entries.c.seq)
    if after is not None:
        statement = statement.where(entries.c.seq > after)
    if up_to is not None:
        statement = statement.where(entries.c.seq <= up_to)
    return iter(connection.execute(statement.execution_options(yield_per=_PAGE)))


@contextlib.contextmanager
def _database_errors(what: str, url: URL) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise LedgerError(f"the ledger cannot be {what}: {redact(without_sign_in(cause, url))}") from error
    except UnicodeEncodeError as error:  # raised by the driver
        raise LedgerError(
            f"the ledger cannot be {what}: its database cannot store every character; it needs the encoding UTF8"
        ) from error
