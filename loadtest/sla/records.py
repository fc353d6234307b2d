"""What became of every request: columns of numbers in mapped files, written by a sender and read by everybody.

A row is written by the process that sends the request and by nobody else; a reader may see a row half done, whose
`state` is then still OPEN. Times are nanoseconds since the start of the run.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

COLUMNS: Final[dict[str, Literal["q", "Q", "B"]]] = {
    "sent": "q",  # when it was really sent
    "done": "q",  # when its answer or error was here
    "generation": "Q",
    "age": "q",  # of a remembered answer, in milliseconds; -1 where it does not say
    "state": "B",
    "code": "B",  # the gRPC status
    "source": "B",  # who answered: a place in the sender's list of sources
    "marks": "B",
}


class State(IntEnum):
    """How far a request has come."""

    DUE = 0
    """Not sent (yet)."""
    OPEN = 1
    """Sent; nothing has come back (yet)."""
    DONE = 2
    UNSENT = 3
    """Given up before it was sent: too many were open, or the run had ended."""


class Mark(IntFlag):
    """What is to be said of an answer."""

    CHECKED = 1
    """Compared with what a reference gives."""
    WRONG = 2
    DUPLICATE = 4
    """It bears the id of a request of the same sender that was answered before."""
    MISDIRECTED = 8
    """It bears the id of another request, or none."""
    OWN_DEADLINE = 16
    """The client itself gave up; the server has not said DEADLINE_EXCEEDED."""
    DEGRADED = 32
    EMPTY = 64
    """The server has said OK and sent no message."""


class Writer:
    """The columns of one sender, made before: `sent[i] = …`. Plain memory: a row costs a fraction of a microsecond."""

    def __init__(self, folder: Path) -> None:
        self.views: dict[str, memoryview] = {}
        for name, code in COLUMNS.items():
            with (folder / f"{name}.column").open("r+b") as file:
                self.views[name] = memoryview(mmap.mmap(file.fileno(), 0)).cast(code)

    def __getattr__(self, name: str) -> memoryview:
        try:
            return self.views[name]
        except KeyError:
            raise AttributeError(name) from None


def create(folder: Path, rows: int) -> None:
    """Make the columns, once and before their sender is started: whoever reads them finds them whole."""
    for name, code in COLUMNS.items():
        with (folder / f"{name}.column").open("wb") as file:
            file.truncate(max(rows, 1) * np.dtype(code).itemsize)


def read(folder: Path, rows: int) -> dict[str, npt.NDArray[Any]]:
    """The columns of one sender as they are now: mapped, not copied."""
    return {
        name: np.memmap(folder / f"{name}.column", dtype=np.dtype(code), mode="r", shape=(max(rows, 1),))[:rows]
        for name, code in COLUMNS.items()
    }


@dataclass(frozen=True, slots=True)
class Source:
    """Who answered, as replies say it."""

    served_by: str
    version: str


@dataclass(frozen=True, slots=True)
class Records:
    """All requests of a run in the order in which they were due, from all senders.

    `columns` has the names of COLUMNS and `due`, `kind`, `key`; `source` is a place in `sources`.
    """

    columns: dict[str, npt.NDArray[Any]]
    sources: tuple[Source, ...]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns["due"])

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Rows that stand for a request: all that were due, and those of closed phases that were sent."""
        used: npt.NDArray[np.bool_] = self.columns["used"]
        return used
