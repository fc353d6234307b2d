"""The board: one small mapped file through which the processes of a server see each other without a message.

    word 0       the generation word: the number of the table of routes that serves now
    word 1       the process id of the supervisor that made the board
    word 8 …     a slot of eight words per child: slot 0 is the controller, slot 1 + i is worker i, the last one the
                 warm-up worker

A word is eight aligned bytes. Each is written by one process only and read or written through
`memoryview(mmap).cast("Q")[i]`, which is one machine instruction (`struct.pack_into` clears before it writes, so
that a reader may see 0). A slot fills one cache line: a beat does not disturb those who read the generation.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from pathlib import Path

CONTROLLER = 0
"""The controller's slot."""

_LINE = 8  # words in a cache line of 64 bytes
_GENERATION, _SUPERVISOR = 0, 1
_BEAT, _PHASE, _PID, _RESTARTS, _WORN, _WANTED = range(6)


def worker_slot(index: int) -> int:
    """The slot of worker `index` (0, 1, …)."""
    return CONTROLLER + 1 + index


def warmup_slot(workers: int) -> int:
    """The slot of the warm-up worker of a server with so many workers."""
    return worker_slot(workers)


class Phase(IntEnum):
    """What a child is doing."""

    STARTING = 0
    SERVING = 1
    DRAINING = 2


class Slot:
    """One child's line. The child writes `beat`, `phase`, `worn`, the controller `wanted`, the supervisor the rest."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: memoryview, at: int) -> None:
        self._words = words
        self._at = at

    def beat(self) -> None:
        """Say "I am alive". One thread of the child calls this, some ten times a second; never two threads."""
        self._words[self._at + _BEAT] += 1

    @property
    def beats(self) -> int:
        """How often the child has beaten since it was started; 0 until it stands."""
        return self._words[self._at + _BEAT]

    @property
    def phase(self) -> Phase:
        """What the child says it is doing."""
        return Phase(self._words[self._at + _PHASE])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._words[self._at + _PHASE] = phase

    @property
    def serves(self) -> bool:
        """Whether the child says that it is serving; whatever else stands there is False."""
        return self._words[self._at + _PHASE] == Phase.SERVING

    @property
    def pid(self) -> int:
        """The child's process id; 0 while there is none."""
        return self._words[self._at + _PID]

    @property
    def restarts(self) -> int:
        """How often the child has been started again."""
        return self._words[self._at + _RESTARTS]

    @property
    def worn(self) -> bool:
        """Whether the child asks to be relieved by a fresh one."""
        return self._words[self._at + _WORN] != 0

    def wear_out(self) -> None:
        """Ask for it. For the child."""
        self._words[self._at + _WORN] = 1

    @property
    def wanted(self) -> bool:
        """Whether a child that runs only on demand is asked for."""
        return self._words[self._at + _WANTED] != 0

    @wanted.setter
    def wanted(self, wanted: bool) -> None:
        self._words[self._at + _WANTED] = wanted

    def vacate(self) -> None:
        """The child has gone, and what it wrote with it. For the supervisor, which has reaped it."""
        self._words[self._at + _PID] = 0
        self._words[self._at + _PHASE] = Phase.STARTING
        self._words[self._at + _BEAT] = 0
        self._words[self._at + _WORN] = 0

    def occupy(self, pid: int, restarts: int) -> None:
        """A child has been started. For the supervisor."""
        self._words[self._at + _RESTARTS] = restarts
        self._words[self._at + _PID] = pid


class Board:
    """The mapped file. `words` is the whole of it, for those who read `words[0]` on a hot path."""

    __slots__ = ("_map", "slots", "words")

    def __init__(self, mapped: mmap.mmap) -> None:
        self._map = mapped
        self.words = memoryview(mapped).cast("Q")
        self.slots = len(self.words) // _LINE - 1

    @classmethod
    def create(cls, path: Path, slots: int) -> Board:
        """A new board of zeros in the place of what was at `path`; those who mapped the old one keep the old one.

        Raises OSError.
        """
        fresh = path.with_name(path.name + ".new")
        # Real zeros, not a hole: a full disk is an error here and not a SIGBUS at the first write.
        fresh.write_bytes(bytes((slots + 1) * _LINE * 8))
        fresh.chmod(0o600)
        fresh.replace(path)
        board = cls.open(path)
        board.words[_SUPERVISOR] = os.getpid()
        return board

    @classmethod
    def open(cls, path: Path) -> Board:
        """The board that the supervisor has made. Raises OSError."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), 0))

    @property
    def generation(self) -> int:
        """The number of the table of routes that serves now; 0 until the controller has set it."""
        return self.words[_GENERATION]

    @generation.setter
    def generation(self, generation: int) -> None:
        self.words[_GENERATION] = generation

    @property
    def supervisor(self) -> int:
        """The process id of the supervisor that made the board."""
        return self.words[_SUPERVISOR]

    def slot(self, index: int) -> Slot:
        """The line of one child: CONTROLLER or `worker_slot(i)`. Raises IndexError."""
        if not 0 <= index < self.slots:
            raise IndexError(f"slot {index}: this board has {self.slots}")
        return Slot(self.words, (index + 1) * _LINE)

    def close(self) -> None:
        """Let go of the mapping; no slot works after it."""
        self.words.release()
        self._map.close()
