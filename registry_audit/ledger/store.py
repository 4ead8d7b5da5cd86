"""The ledger as a database: append under a lock, read what is current, check the whole."""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Executable, func, select
from sqlalchemy.exc import SQLAlchemyError

from registry_audit.errors import AuditError, LedgerError
from registry_audit.ledger.chain import TIME_FORMAT, Draft, Entry, Kind, check_chain, check_entry, link
from registry_audit.ledger.schema import entries, manifests
from registry_audit.model.manifest import Manifest, parse_manifest
from registry_audit.printable import printable
from registry_audit.redact import redact

_LOCK = 0x4D4C5241  # of PostgreSQL's advisory locks: one number for every ledger in a database
_CHUNK = 500  # rows in one statement
_RECENT = 500_000  # entries that every audit checks, some three seconds


class Ledger:
    """An open ledger whose schema was checked. Safe to use from several processes at once."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine = engine
        self.url = url  # without credentials

    @contextlib.contextmanager
    def reading(self) -> Iterator["LedgerReader"]:
        """One consistent view. Raises: LedgerError: the database cannot be read."""
        with _database_errors("read"), self._engine.connect() as connection:
            # Several statements must see one moment: neither database gives that by itself.
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield LedgerReader(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator["LedgerWriter"]:
        """The only writer while it lasts; all it appended is there afterwards, or nothing is.

        Raises:
            LedgerError: the database cannot be written.
        """
        with _database_errors("written"), self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            try:
                yield LedgerWriter(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextlib.contextmanager
    def beside_the_chain(self) -> Iterator["LedgerReader"]:
        """A short transaction on other tables, which waits for who writes the chain only where the database must.

        Raises:
            LedgerError: the database cannot be written.
        """
        with _database_errors("written"), self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield LedgerReader(connection)
            connection.commit()

    def append(self, drafts: Iterable[Draft]) -> Entry:
        with self.writing() as writer:
            return writer.append(drafts)

    def verify(self) -> Entry | None:
        """The head, after every entry and every manifest was recomputed.

        Raises:
            LedgerError: the chain is broken, or a manifest is not what its digest says.
        """
        with self.reading() as reader:
            head = check_chain(reader.all_entries())
            reader.check_manifests()
            return head

    def close(self) -> None:
        self._engine.dispose()


class LedgerReader:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: Executable) -> CursorResult[Any]:
        """For tables beside the chain."""
        return self._connection.execute(statement)

    def head(self) -> Entry | None:
        row = self._connection.execute(select(entries).order_by(entries.c.seq.desc()).limit(1)).first()
        return Entry(*row) if row else None

    def has(self, seq: int, digest: str) -> bool:
        """Whether the entry of this number has this digest."""
        return self._connection.execute(select(entries.c.digest).where(entries.c.seq == seq)).scalar() == digest

    def check_recent(self) -> None:
        """Check the chain from its newest entry back, as far as an audit can afford; `verify` checks all of it.

        Raises:
            LedgerError: an entry was changed, removed or added.
        """
        head = self.head()
        if head is not None:
            check_chain(self.all_entries(after=max(0, head.seq - _RECENT)), whole=head.seq <= _RECENT)

    def all_entries(self, after: int = 0, up_to: int | None = None) -> Iterator[Entry]:
        """In the order of the chain, streamed; those with a number over `after`, and up to `up_to` included."""
        statement = select(entries).where(entries.c.seq > after)
        if up_to is not None:
            statement = statement.where(entries.c.seq <= up_to)
        statement = statement.order_by(entries.c.seq).execution_options(yield_per=1000)
        return (Entry(*row) for row in self._connection.execute(statement))

    def of_kind(self, *kinds: Kind, registry: str | None = None) -> Iterator[Entry]:
        """In the order of the chain."""
        statement = select(entries).where(entries.c.kind.in_(kinds)).order_by(entries.c.seq)
        if registry is not None:
            statement = statement.where(entries.c.registry == registry)
        return map(_checked, self._connection.execute(statement.execution_options(yield_per=1000)))

    def of_version(self, registry: str, name: str, version: str, *kinds: Kind) -> list[Entry]:
        """In the order of the chain; all kinds if none is named."""
        statement = select(entries).where(
            entries.c.registry == registry, entries.c.name == name, entries.c.version == version
        )
        if kinds:
            statement = statement.where(entries.c.kind.in_(kinds))
        return [_checked(row) for row in self._connection.execute(statement.order_by(entries.c.seq))]

    def latest_of_versions(
        self, kind: Kind, registry: str, keys: Collection[tuple[str, str]] | None = None
    ) -> Iterator[Entry]:
        """The newest entry of a kind for each version of a registry.

        Args:
            keys: names and numbers of some hundreds of versions to keep to; None is all.
        """
        question = select(func.max(entries.c.seq).label("seq"))
        question = question.where(entries.c.kind == kind, entries.c.registry == registry)
        if keys is not None:
            # Both columns on their own: an index knows what to do with that, and who asks has few of one or the other.
            names, numbers = ({key[part] for key in keys} for part in (0, 1))
            question = question.where(entries.c.name.in_(sorted(names)), entries.c.version.in_(sorted(numbers)))
        newest = question.group_by(entries.c.name, entries.c.version).subquery()
        statement = select(entries).join(newest, entries.c.seq == newest.c.seq).order_by(entries.c.seq)
        return map(_checked, self._connection.execute(statement.execution_options(yield_per=1000)))

    def registries(self) -> list[str]:
        found = self._connection.execute(select(entries.c.registry).distinct().order_by(entries.c.registry))
        return [row[0] for row in found if row[0]]

    def manifest(self, digest: str) -> Manifest:
        """Raises: LedgerError: it is not in the ledger, or not what its digest says."""
        row = self._connection.execute(select(manifests.c.text).where(manifests.c.digest == digest)).first()
        if row is None:
            raise LedgerError(f"the ledger has lost the manifest {digest}")
        return checked_manifest(digest, row[0])

    def manifests(self, digests: Iterable[str]) -> dict[str, Manifest]:
        """Those of them that are there. Raises: LedgerError: one is not what its digest says."""
        wanted, found = sorted(digests), dict[str, Manifest]()
        for start in range(0, len(wanted), _CHUNK):
            chosen = select(manifests).where(manifests.c.digest.in_(wanted[start : start + _CHUNK]))
            for digest, text in self._connection.execute(chosen):
                found[digest] = checked_manifest(digest, text)
        return found

    def manifest_rows(self) -> Iterator[tuple[str, str]]:
        statement = select(manifests).order_by(manifests.c.digest).execution_options(yield_per=1000)
        return ((row[0], row[1]) for row in self._connection.execute(statement))

    def check_manifests(self) -> None:
        """Raises: LedgerError: a manifest was changed, or one that a baseline names is gone."""
        present = set()
        for digest, text in self.manifest_rows():
            checked_manifest(digest, text)
            present.add(digest)
        for entry in self.of_kind(Kind.ACCEPTED, Kind.READING):
            for wanted in manifests_named(entry):
                if wanted not in present:
                    raise LedgerError(f"the ledger has lost the manifest of entry {entry.seq}: {wanted}")


class LedgerWriter(LedgerReader):
    def append(self, drafts: Iterable[Draft]) -> Entry:
        """Append to the chain; the new head. At least one draft is needed."""
        now = datetime.now(UTC).strftime(TIME_FORMAT)
        head, chunk = self.head(), list[dict[str, Any]]()
        for entry in link(drafts, after=head, at=now):
            head = entry
            chunk.append({column.name: getattr(entry, column.name) for column in entries.columns})
            if len(chunk) == _CHUNK:
                self._connection.execute(entries.insert(), chunk)
                chunk.clear()
        if chunk:
            self._connection.execute(entries.insert(), chunk)
        if head is None:
            raise ValueError("append() needs at least one draft")
        return head

    def append_verbatim(self, copied: Iterable[Entry]) -> None:
        """Entries of another ledger's whole chain, which the caller has checked."""
        rows = [{column.name: getattr(entry, column.name) for column in entries.columns} for entry in copied]
        for start in range(0, len(rows), _CHUNK):
            self._connection.execute(entries.insert(), rows[start : start + _CHUNK])

    def keep_manifests(self, kept: dict[str, Manifest]) -> None:
        """Manifests by their digest; those that are there already stay as they are."""
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
    """The digests of all manifests that an entry relies on."""
    body = entry.fields
    named = {body.get("manifest"), body.get("run_manifest"), *(storage[2] for storage in body.get("storages", ()))}
    return {digest for digest in named if digest is not None}


def checked_manifest(digest: str, text: str) -> Manifest:
    """The manifest of a stored text. Raises: LedgerError: the text is not what its digest says."""
    try:
        manifest = parse_manifest(text, digest.partition(":")[0])
        unchanged = manifest.text() == text and manifest.digest() == digest
    except AuditError as error:
        raise LedgerError(f"the manifest {printable(digest)} cannot be read: {error.message}") from error
    if not unchanged:
        raise LedgerError(f"the manifest {printable(digest)} was changed after it was written")
    return manifest


def _checked(row: Any) -> Entry:
    """What an audit is about to believe must at least be what was once written."""
    entry = Entry(*row)
    check_entry(entry)
    return entry


@contextlib.contextmanager
def _database_errors(what: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise LedgerError(f"the ledger cannot be {what}: {redact(cause)}") from error
