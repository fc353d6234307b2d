"""What can be wrong with the ledger's file, and what helps."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from router.control.database_errors import trouble

log = structlog.get_logger()

FAILED: Final = (DBAPIError, sqlite3.Error, OSError)
"""What the file raises when it fails."""


class OtherLayout(Exception):
    """The file has tables, which are not those of this program."""


def move_aside(path: Path, why: str) -> None:
    """Let another file be begun. The last one that was moved aside makes room. Raises OSError."""
    log.warning("the ledger is moved aside and begun anew", reason=why, name=path.name + ".damaged")
    path.replace(path.with_name(path.name + ".damaged"))
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)


def beyond_repair(error: Exception) -> str:
    """Why nothing but another file helps; empty where something else does."""
    if isinstance(error, OtherLayout):
        return "it is of another layout"
    if isinstance(error, DBAPIError | sqlite3.Error):
        found = trouble(error)
        return found.reason if found.damaged else ""
    return ""


def reason_of(error: DBAPIError | sqlite3.Error | OSError) -> tuple[str, str]:
    """What went wrong, and the mend."""
    if isinstance(error, OSError):
        return error.strerror or "the system refuses", "look at the state directory, then try again"
    found = trouble(error)
    return found.reason, found.mend
