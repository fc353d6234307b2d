"""The store's schema, from one release to the next: a revision a file in `versions`, made with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HEAD: Final = "0006"
"""The newest revision. They are numbered: a store with a higher one was written by a newer program."""


def config(connection: Connection) -> Config:
    """What Alembic has to know; there is no alembic.ini."""
    from alembic.config import Config  # noqa: PLC0415  # 150 ms, and hardly any start migrates

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection) -> None:
    """Bring a store up to `HEAD`, in the transaction that the connection is in."""
    from alembic import command  # noqa: PLC0415  # as above

    command.upgrade(config(connection), "head")
