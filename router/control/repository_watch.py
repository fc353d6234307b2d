"""Tells when something in the repository has changed, so that nobody has to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

log = structlog.get_logger()

GATHER_MS: Final = 500
"""Changes within this time of each other are told together."""
AGAIN_S: Final = 10.0
"""A repository that cannot be watched (it is gone, or the system allows no more watches) is tried again after this."""


async def changes(root: Path, stop: asyncio.Event) -> AsyncIterator[None]:
    """Once for each burst of changes below `root`, until `stop` is set.

    Where the file system tells nothing (some network shares) set WATCHFILES_FORCE_POLLING=1 in the environment.
    """
    while not stop.is_set():
        try:
            async for _ in awatch(root, stop_event=stop, step=100, debounce=GATHER_MS, rust_timeout=1000):
                yield
        except (OSError, RuntimeError) as error:
            log.warning("the repository cannot be watched", reason=str(error), again_in_s=AGAIN_S)
            try:
                await asyncio.wait_for(stop.wait(), AGAIN_S)
            except TimeoutError:
                yield  # it may be back, with other contents
