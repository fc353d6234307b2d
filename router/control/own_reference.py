"""The reference that a version comes with: `reference/inputs.json` in its directory, made by `router reference --out`.

It is data about the version and no part of it, written by whoever trains it. Plain JSON of a bounded size, so that the
controller may read it, unlike archives of arrays.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

FILE: Final = Path("reference", "inputs.json")
"""Where it lies in the version's directory."""
LIMIT_BYTES: Final = 4 << 20


def own_reference(directory: Path) -> str:
    """Its text, empty where there is none. Raises OSError for what cannot be read, or is not to be."""
    try:
        handle = os.open(directory / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with open(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("reference/inputs.json is not a regular file")
        if found.st_size > LIMIT_BYTES:
            raise OSError(f"reference/inputs.json has {found.st_size} bytes, {LIMIT_BYTES} are the most")
        return file.read(LIMIT_BYTES).decode("utf-8", "replace")
