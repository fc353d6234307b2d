"""Copies of recent runs on disk, bounded: what a version is warmed with where nobody asks.

Messages follow each other, each after its length, in two files of half the room each. When the newer one is full, the
older one makes way. A message that was cut off by a crash is the end of its file.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from router.serving.mirror import LENGTH

log = structlog.get_logger()

MAX_BYTES: Final = 16 << 20
"""Of one model."""


class Samples:
    """The recorded runs of one model, in a folder that all models share. One process writes, from any thread."""

    def __init__(self, folder: Path, model: str, most: int = MAX_BYTES) -> None:
        name = hashlib.sha256(model.encode()).hexdigest()[:32]  # a model's name may be no file's
        self._model = model
        self._folder = folder
        self._newer, self._older = folder / f"{name}.newer", folder / f"{name}.older"
        self._most = most // 2
        self._failed = False
        self._lock = threading.Lock()
        self._next_at = -math.inf

    def offer(self, message: bytes, now: float, every_s: float) -> None:
        """Keep one that came at `now` (seconds), and then none of those that are offered for `every_s`."""
        with self._lock:
            if now < self._next_at:
                return
            self._next_at = now + every_s
        self.add(message)

    def add(self, message: bytes) -> None:
        """Keep one. A disk that takes no more ends the recording, with one line in the log."""
        framed = LENGTH.pack(len(message)) + message
        with self._lock:
            if not self._failed and len(framed) <= self._most:
                self._write(framed)

    def _write(self, framed: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if self._newer.exists() and self._newer.stat().st_size + len(framed) > self._most:
                self._newer.replace(self._older)
            file = os.open(self._newer, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, framed)
            finally:
                os.close(file)
        except OSError as error:
            self._failed = True
            log.warning("requests are recorded no more", model=self._model, reason=error.strerror)

    def messages(self) -> Iterator[bytes]:
        """All that are kept, the oldest first."""
        for path in (self._older, self._newer):
            try:
                with path.open("rb") as file:
                    while len(head := file.read(LENGTH.size)) == LENGTH.size:
                        (length,) = LENGTH.unpack(head)
                        if length > self._most or len(message := file.read(length)) < length:
                            break
                        yield message
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("recorded requests cannot be read", model=self._model, reason=error.strerror)
