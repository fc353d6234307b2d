"""The files of recordings: written whole or not at all, and no more of them than a model may have."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from router.control.recorded_schema import SUFFIX

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HALF: Final = ".part"
"""How the name of a file ends while it is being written."""


class Disk:
    """Files in the folders of models. All methods raise OSError."""

    def begin(self, recordings: Path) -> None:
        """Remove what a process that was killed left half written."""
        for half in recordings.glob(f"*/*{_HALF}"):
            half.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Write a file: it is there as a whole, on the disk, when this returns, and not before."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + _HALF)
        try:
            with half.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            half.rename(path)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def make_room(self, folder: Path, wanted: int, most: int, before: float) -> None:
        """Remove what was written before an instant (seconds since 1970), and of the rest the oldest files, until
        `wanted` more bytes make no more than `most`."""
        found = []
        for path in folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # somebody tidies as well
                found.append((path.stat(), path))
        found.sort(key=lambda each: (each[0].st_mtime, each[1].name))
        used = sum(stat.st_size for stat, _ in found) + wanted
        for stat, path in found:
            if stat.st_mtime >= before and used <= most:
                break
            path.unlink(missing_ok=True)
            used -= stat.st_size
