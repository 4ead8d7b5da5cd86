"""The chain of entries, the manifests that entries name by their digest, and the work of audits under way."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

# One row for everything that ever happened. What is current is asked of the newest entry of a kind.
entries = Table(
    "entries",
    metadata,
    # Not autoincremented: the number is part of what is chained.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),  # UTC, ISO 8601
    Column("kind", String(32), nullable=False),
    Column("registry", Text, nullable=False),
    Column("name", Text, nullable=False),  # of a registered model, or empty
    Column("version", String(32), nullable=False),
    Column("audit_id", String(128), nullable=False),
    Column("body", Text, nullable=False),  # JSON with sorted keys
    Column("previous", String(64), nullable=False),  # digest of the entry before; of the first, zeros
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

# What the workers of an audit share while it runs; gone with its end.
shared_work = Table(
    "shared_work",
    metadata,
    Column("audit_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),  # of the batch
    Column("versions", LargeBinary, nullable=False),  # see registry_audit.ledger.shared_work
    Column("rows", LargeBinary),  # None until it is audited
    Column("worker", String(128), nullable=False),  # who has it; empty: nobody
    Column("seen_at", Float, nullable=False),  # seconds since the epoch: when that worker was last heard of
)
