"""Configures Alembic to run on the connection that `connecting.py` passes, and never on a URL of its own."""

from alembic import context

from registry_audit.ledger.store import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="registry_audit_ledger",
)
context.run_migrations()
