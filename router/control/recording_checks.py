"""Whether the files of recordings can be read: what cannot is told once, before somebody trains on what is left."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import parquet

from router.control.artefact import shown
from router.control.recorded_schema import SUFFIX

AT_ONCE: Final = 100
"""Files that are looked at in one turn."""
NAMED: Final = 3
"""Files that are named in a line."""
NAME: Final = 100
"""Characters of a name."""
MOST: Final = 1000
"""Damaged files that are remembered as told."""
NOTES: Final = "told.json"
"""Where they are, in the folder."""

Mark = tuple[str, int, int]
"""Of a file as it is: its name, its bytes, and when it was changed, in nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that cannot be read. `reason` is that of the system, empty where the file itself is damaged."""

    name: str
    reason: str = ""


class Checks:
    """Of one model's folder, for one thread. A file is looked at when it is new and when it was changed.

    What was told is noted in the folder, so that no later process tells it again.
    """

    def __init__(self) -> None:
        self._upto = 0
        """Of what was looked at the latest change, in nanoseconds since 1970."""
        self._told: dict[Mark, None] | None = None

    def look(self, folder: Path) -> list[Damage]:
        """What cannot be read and was not told before. Only the ends of files are read: they say where the rows lie.

        Raises OSError where the folder cannot be read.
        """
        found = []
        if self._told is None:
            self._told = dict.fromkeys(_noted(folder / NOTES))
        for looked, (changed, size, path) in enumerate(_changed(folder, self._upto)):
            if looked >= AT_ONCE and changed > self._upto:
                break
            self._upto = changed
            damage, mark = _damage(path), (path.name, size, changed)
            if damage is not None and mark not in self._told:
                self._told[mark] = None
                found.append(damage)
        while len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        if found:
            with contextlib.suppress(OSError):  # it may be told once more, then
                (folder / NOTES).write_text(json.dumps(list(self._told)), encoding="utf-8")
        return found


def told(found: Sequence[Damage]) -> str:
    """In one line, with the mend."""
    named = ", ".join(f"{shown(each.name, NAME)} ({each.reason or 'damaged'})" for each in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    mends = ["remove what is damaged or put back a copy"] if any(not each.reason for each in found) else []
    mends += ["let the server's user read it"] if any(each.reason for each in found) else []
    what = f"a file of the recordings cannot be read: {named}"
    if len(found) > 1:
        what = f"{len(found)} files of the recordings cannot be read: {named}{more}"
    return f"{what}; whoever reads them leaves {'it' if len(found) == 1 else 'them'} out: {', and '.join(mends)}"


def _noted(file: Path) -> list[Mark]:
    """Nothing where there are no notes, or none that we have written."""
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        return [(str(name), int(size), int(changed)) for name, size, changed in noted[-MOST:]]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return []


def _changed(folder: Path, since: int) -> list[tuple[int, int, Path]]:
    """Files that were changed since then, or at that very instant: when, their bytes, and where. The oldest first."""
    seen = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                try:
                    about = entry.stat()
                except FileNotFoundError:  # its time was over
                    continue
                if about.st_ctime_ns >= since:
                    seen.append((about.st_ctime_ns, about.st_size, folder / entry.name))
    return sorted(seen)


def _damage(path: Path) -> Damage | None:
    try:
        parquet.read_metadata(path)
    except FileNotFoundError:
        return None
    except pa.ArrowException:
        return Damage(path.name)
    except OSError as error:  # of Arrow too, for what has no end that could be one
        return Damage(path.name, error.strerror or "")
    return None
