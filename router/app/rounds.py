"""Work that is done again and again for as long as the server runs, whatever becomes of it once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from router.errors import RouterError

log = structlog.get_logger()

REST_S: Final = 1.0
"""After one that failed: what is always due would be tried without a pause else."""


async def rounds(
    work: Callable[[], Awaitable[None]],
    pause_s: Callable[[], float],
    stop: asyncio.Event,
    what: str,
    rest_s: float = REST_S,
) -> None:
    """Do the work after each pause, in seconds, until `stop` is set. `what` tells the log what has failed, in words.

    A fault of ours is logged with all that is known of it, and costs one round: neither the process nor other work.
    """
    while not stop.is_set():
        try:
            await asyncio.sleep(pause_s())
            await work()
        except RouterError as error:
            log.error(what, reason=str(error))
            await asyncio.sleep(rest_s)
        except Exception:
            log.exception(what)
            await asyncio.sleep(rest_s)
