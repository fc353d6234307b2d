"""What goes wrong with the store's file, in words for a person."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError

from router.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, and how to mend it. `damaged`: nothing but another file helps."""

    reason: str
    mend: str
    damaged: bool = False


_KNOWN: Final = {
    sqlite3.SQLITE_FULL: Trouble("the disk is full", "make room for the state directory, then try again"),
    sqlite3.SQLITE_BUSY: Trouble("another program holds the store", "let it finish or end it, then try again"),
    sqlite3.SQLITE_LOCKED: Trouble("another program holds the store", "let it finish or end it, then try again"),
    sqlite3.SQLITE_READONLY: Trouble("the store can only be read", "let this user write the state directory"),
    sqlite3.SQLITE_PERM: Trouble("the store cannot be opened", "let this user write the state directory"),
    sqlite3.SQLITE_CANTOPEN: Trouble("the store cannot be opened", "let this user write the state directory"),
    sqlite3.SQLITE_IOERR: Trouble("the disk does not take it", "look at the disk and its quotas, then try again"),
    sqlite3.SQLITE_CORRUPT: Trouble("the store is damaged", "stop the server and put back a copy of it", damaged=True),
    sqlite3.SQLITE_NOTADB: Trouble("it is no store", "stop the server and put back a copy of it", damaged=True),
}
"""By SQLite's primary result code."""
_UNKNOWN: Final = Trouble("the store failed", "the log of the server has the details")


def trouble(error: DBAPIError | sqlite3.Error) -> Trouble:
    """What an error of the database means."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return _UNKNOWN if code is None else _KNOWN.get(code & 0xFF, _UNKNOWN)


def damaged(path: Path, finding: str) -> SettingsError:
    """The error of a file that cannot be used as it is."""
    return SettingsError(
        f"the store {path} is damaged ({finding}); put back a copy of it, or move it away to begin with an empty one:"
        " what serves, the reports and the audit log are in it"
    )
