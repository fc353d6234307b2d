"""What happens to models and versions, told to whoever watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

PENDING: Final = 1000
"""Events that a watcher may be behind; one that is further behind is told so and let go."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `seconds` since 1970; `text` is one line for a person."""

    seconds: float
    kind: str
    model: str = ""
    number: str = ""
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0


class Events:
    """Takes events, on the event loop's thread, and hands them to all who watch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._watchers: set[asyncio.Queue[Event | None]] = set()
        self._followers: list[Callable[[Event], None]] = []
        self.closed = False
        """Nothing more will be told."""

    def tell(
        self, kind: str, /, model: str = "", number: str = "", text: str = "", generation: int = 0, **facts: object
    ) -> None:
        """Something has happened."""
        told = {name: str(value) for name, value in facts.items()}
        event = Event(self._clock(), kind, model, number, text, told, generation)
        for follow in self._followers:
            follow(event)
        for watcher in list(self._watchers):
            if watcher.qsize() < PENDING:
                watcher.put_nowait(event)
            else:
                self._watchers.discard(watcher)
                watcher.put_nowait(None)

    def follow(self, follower: Callable[[Event], None]) -> None:
        """Have it called with every event from now on, for good. It returns at once and raises nothing."""
        self._followers.append(follower)

    def close(self) -> None:
        """Nothing more will be told: all watches end when they have given what is still to be given."""
        self.closed = True
        for watcher in self._watchers:
            watcher.put_nowait(None)

    async def watch(self, model: str = "") -> AsyncGenerator[Event, None]:
        """Everything from now on, of one model or of all; what concerns all models comes to everybody.

        The first event is `hello`: what is done after it has come will be told. Ends when this watcher is too slow, and
        when the server stops (`closed`).
        """
        watcher: asyncio.Queue[Event | None] = asyncio.Queue()
        self._watchers.add(watcher)
        try:
            yield Event(self._clock(), "hello", model)
            while not (self.closed and watcher.empty()) and (event := await watcher.get()) is not None:
                if not model or event.model in {"", model}:
                    yield event
        finally:
            self._watchers.discard(watcher)
