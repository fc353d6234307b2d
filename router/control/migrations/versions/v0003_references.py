"""What models' rows were like when all was well: the references of drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "references",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("side", sa.Text, primary_key=True),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
