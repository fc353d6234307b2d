"""CPU time of a server: of the process that was started and of all its descendants."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Ticks used since a process began, in user and system mode (proc(5), /proc/PID/stat, fields 14 and 15)."""

    user: int
    system: int


def parse_stat(text: str) -> CpuTime:
    """Read one /proc/PID/stat. The program's name may hold blanks and brackets: count from the last bracket."""
    fields = text.rpartition(")")[2].split()
    # What follows the bracket is field 3.
    return CpuTime(user=int(fields[14 - 3]), system=int(fields[15 - 3]))


def family(pids: list[int]) -> list[int]:
    """The processes and their descendants that are alive now."""
    found: dict[int, None] = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            for each in (process, *process.children(recursive=True)):
                found[each.pid] = None
        except psutil.NoSuchProcess:
            continue
    return list(found)


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """What each process of a family had used when the meter was read."""

    used: dict[int, CpuTime]

    @classmethod
    def read(cls, pids: list[int]) -> CpuMeter:
        """Read the family of `pids` now."""
        used = {}
        for pid in family(pids):
            try:
                used[pid] = parse_stat(Path(f"/proc/{pid}/stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
        return cls(used)

    def seconds_since(self, earlier: CpuMeter) -> float:
        """CPU seconds between two readings. A process that ended in between is not counted."""
        ticks = 0
        for pid, now in self.used.items():
            then = earlier.used.get(pid, CpuTime(0, 0))
            ticks += now.user - then.user + now.system - then.system
        return ticks / TICKS_PER_SECOND
