"""Alembic's environment: runs on the connection that `opening.py` hands over, never on a URL of its own."""

from alembic import context

from registry_audit.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="registry_audit_ledger",
)
context.run_migrations()
