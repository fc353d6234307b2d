"""What drift has seen so far: windows, and the rows of references that are still being made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "drift",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("side", sa.Text, primary_key=True),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("saved", sa.Float, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
