"""What is still to be told to a webhook, and how far the audit log has been told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("told", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("refusals", sa.Integer, nullable=False),
        sa.Column("next_try", sa.Float, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.UniqueConstraint("event"),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_state", "outbox", ["state", "tries", "id"])
    op.create_index("outbox_told", "outbox", ["told"])
    op.create_table(
        "outbox_head",
        sa.Column("one", sa.Integer, primary_key=True),
        sa.Column("audit", sa.Integer, nullable=False),
        sa.Column("delivered", sa.Integer, nullable=False),
        sa.Column("dropped", sa.Integer, nullable=False),
        sa.Column("last_delivered", sa.Float, nullable=False),
        sa.Column("last_error", sa.Float, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
