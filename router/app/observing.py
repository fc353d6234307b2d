"""What workers have looked at, on its way to the parts of the controller that want it: decoded on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from router.core.observation import Observation
from router.edge.observations import from_message
from router.errors import InvalidRequest
from router.pb.observation_pb2 import Observations

log = structlog.get_logger()

MOST_WAITING: Final = 64
"""Messages that wait for the thread; with more than that the parts are behind, and the newest are dropped."""


class Observing:
    """Takes messages on the event loop; `observed` is called there with each observation in them, in their order."""

    def __init__(self, observed: Callable[[Observation], None]) -> None:
        self._observed = observed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="observing")
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0
        """Rows that found no place."""

    def take(self, message: Observations) -> None:
        """A worker has sent this. Returns at once."""
        if len(self._tasks) >= MOST_WAITING:
            if not self.dropped:
                log.warning("what came by is not looked at: more comes than this machine takes")
            self.dropped += sum(len(each.ids) for each in message.observed)
            return
        task = asyncio.ensure_future(self._pass_on(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, message: Observations) -> None:
        for each in await asyncio.get_running_loop().run_in_executor(self._thread, _decoded, message):
            self._observed(each)
            await asyncio.sleep(0)  # of many models: what else the loop has to do goes on


def _decoded(message: Observations) -> Sequence[Observation]:
    found = []
    for each in message.observed:
        try:
            found.append(from_message(each))
        except InvalidRequest as error:
            log.warning("what came by cannot be read", reason=str(error))
    return found
