"""Whose turn it is: changes one after another, each to its end even if whoever asked for it goes away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from router.errors import RouterError

log = structlog.get_logger()

Answer = TypeVar("Answer")


class Turns:
    """Nobody has a turn before `started` is set."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.started = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def alone(self, change: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make a change while nobody else does. Raises what it raises."""

        async def turn() -> Answer:
            await self.started.wait()
            async with self.lock:
                return await change()

        return await self.shielded(turn())

    async def shielded(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Work that goes on when whoever waits for it is cancelled."""
        task = self._begun(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_told_nobody)
            raise

    def keep(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Work that nobody has to wait for."""
        task = self._begun(work)
        task.add_done_callback(_told_nobody)
        return task

    def _begun(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _told_nobody(task: asyncio.Task[Any]) -> None:
    """The end of work for which nobody waits any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        if isinstance(error, RouterError):
            log.warning("what nobody waited for has failed", reason=str(error))
        else:
            log.error("what nobody waited for has failed", exc_info=error)
