"""Creates the table of work that the workers of one audit share. It is temporary, so it is not append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shared_work",
        sa.Column("audit_id", sa.String(128), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("versions", sa.LargeBinary, nullable=False),
        sa.Column("rows", sa.LargeBinary, nullable=True),
        sa.Column("worker", sa.String(128), nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
