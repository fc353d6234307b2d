"""Work that blocks, on threads of a part's own: what other parts wait for does not stand behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Value = TypeVar("Value")


class Aside:
    """At most `most` things at once; others wait for their turn."""

    def __init__(self, most: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def do(self, work: Callable[..., Value], *arguments: Any) -> Value:
        """Do it, and raise what it raises. Cancelling this does not end it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    async def finish(self, work: Callable[..., Value], *arguments: Any) -> Value:
        """The same; whoever is cancelled waits for its end first, and tidies up behind nobody."""
        doing = asyncio.ensure_future(self.do(work, *arguments))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            await asyncio.wait([doing])
            if not doing.cancelled():
                doing.exception()  # nobody wants to know
            raise
