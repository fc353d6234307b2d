"""What must outlive the processes: the table of routes. Durable before it is visible."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from router.core.table import VersionTable

TABLE: Final = "table.json"
"""The file's name in the state directory."""


class Store:
    """One file in the state directory, replaced as a whole."""

    def __init__(
        self, path: Path, encode: Callable[[VersionTable], str], decode: Callable[[str], VersionTable]
    ) -> None:
        self._path = path
        self._encode = encode
        self._decode = decode

    def load(self) -> VersionTable:
        """The stored table; an empty one of generation 0 when there is none. Raises RouterError, OSError."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return VersionTable(0, {})
        return self._decode(text)

    def save(self, table: VersionTable) -> None:
        """Write the table; when this returns it has reached the disk. Raises OSError."""
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(self._encode(table))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
